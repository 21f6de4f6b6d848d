"""ReconBoost: boosting modalities that are reconciled with each other."""
