"""Training on one modality, the reference for the utilisation of that modality."""
