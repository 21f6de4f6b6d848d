"""Local backend: training in the process of the command, or in a small pool of processes."""
