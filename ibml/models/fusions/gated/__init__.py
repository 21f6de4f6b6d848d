"""Gated fusion (Kiela et al. 2018)."""
