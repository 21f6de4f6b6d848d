"""Access to MLflow stores: reading, writing, listing and caching of runs."""
