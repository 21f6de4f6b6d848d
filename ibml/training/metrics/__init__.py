"""Metrics of one split, one file each.

`ibml.config.metrics.registry` names their functions.
"""
