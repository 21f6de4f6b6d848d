"""Late fusion: one classifier per modality, probabilities averaged."""
