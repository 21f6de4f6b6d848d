"""Trains trials on this machine without Ray: in the process of the command, or in a small pool of processes."""
