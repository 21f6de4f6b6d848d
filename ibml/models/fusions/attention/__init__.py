"""Attention over one token per modality (Vaswani et al. 2017)."""
