"""Command line of ibml: commands, options and consoles."""
