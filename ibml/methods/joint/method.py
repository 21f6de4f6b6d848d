"""Joint training, the baseline of every comparison.

L = CE(o, y): all encoders and the fusion are trained on the joint logits alone. No hyperparameters. Cost of a step: one
forward and one backward pass.
"""

from __future__ import annotations

from ibml.methods.base import Method


class Joint(Method):
    """What `Method` does, and nothing else."""

    def uses_unimodal(self, epoch: int) -> bool:
        return False
