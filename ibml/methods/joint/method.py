"""Joint training, the baseline of every comparison.

L = CE(o, y): all encoders and the fusion are trained on the joint logits only. No hyperparameters.
Cost per step: one forward and one backward pass.
"""

from __future__ import annotations

from ibml.methods.base import Method


class Joint(Method):
    """Train on the joint loss only."""

    def uses_unimodal(self, epoch: int) -> bool:
        """Return false: the loss has no gradient with respect to the unimodal logits."""
        return False
