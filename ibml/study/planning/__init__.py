"""From a study file to its trials: designs, arms, cells, trials and their keys."""
