"""Measures of imbalance and robustness, one file each.

`ibml.config.metrics.registry` names their functions.
"""
