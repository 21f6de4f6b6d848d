"""Base class of heads with which methods replace the fusion.

The heads are in the folders of their methods.
"""

from __future__ import annotations

from torch import Tensor

from ibml.models.fusion import Features, Fusion


class LateFusionHead(Fusion):
    """Base class of heads that compute the joint logits from the unimodal ones.

    A subclass implements `unimodal_logits` and `combine`.
    """

    def combine(self, parts: Tensor) -> Tensor:
        """Combine unimodal logits, (M, n, C), into joint logits, (n, C)."""
        raise NotImplementedError

    def forward(self, features: Features) -> Tensor:
        """Return the joint logits, (n, C)."""
        return self.combine(self.unimodal_logits(features))

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        """Return joint logits, (n, C), and unimodal logits, (M, n, C)."""
        parts = self.unimodal_logits(features)
        return self.combine(parts), parts
