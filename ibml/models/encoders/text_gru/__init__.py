"""Word vectors and a bidirectional GRU (Cho et al. 2014)."""
