"""Sum: one linear head per modality, logits added."""
