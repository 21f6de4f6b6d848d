"""Training of one trial: trainer, checkpoints, devices, metrics and measures."""
