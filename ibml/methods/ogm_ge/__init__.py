"""OGM-GE: on-the-fly gradient modulation with generalization enhancement."""
