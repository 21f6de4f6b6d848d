"""Measures of imbalance and robustness, one file each; `ibml.config.metric_registry` names their functions."""
