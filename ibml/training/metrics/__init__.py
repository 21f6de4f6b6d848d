"""Metrics of one split, one file each; `ibml.config.metric_registry` names their functions."""
