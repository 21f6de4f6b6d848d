"""Fusions, one folder each: `config.py` without torch, and `fusion.py`."""
