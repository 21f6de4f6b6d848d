"""Configuration of searches: space, samplers and schedulers."""
