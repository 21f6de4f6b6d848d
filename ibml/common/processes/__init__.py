"""Process management: signals, child processes, and ownership of temporary files."""
