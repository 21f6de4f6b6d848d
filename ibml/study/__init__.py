"""Studies, searches and single trials: planning, scheduling, training and reproduction."""
