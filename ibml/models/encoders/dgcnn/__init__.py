"""Dynamic graph CNN over points (Wang et al. 2019)."""
