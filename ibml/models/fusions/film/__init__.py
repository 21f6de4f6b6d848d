"""FiLM: feature-wise linear modulation (Perez et al. 2018)."""
