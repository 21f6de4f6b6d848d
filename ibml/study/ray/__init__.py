"""Ray backend: training on a cluster or on this machine, health checks, and jobs."""
