"""ReconBoost: boosting of modalities that are reconciled with each other."""
