"""Hyperparameter search with Optuna, independent of where trials are trained."""
