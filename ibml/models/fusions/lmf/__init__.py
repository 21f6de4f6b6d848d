"""LMF: low-rank multimodal fusion (Liu et al. 2018)."""
