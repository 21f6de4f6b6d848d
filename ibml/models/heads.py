"""Base class of heads that methods bring in place of a fusion. The heads are in the folders of their methods."""

from __future__ import annotations

from torch import Tensor

from ibml.models.fusion import Features, Fusion


class LateFusionHead(Fusion):
    """A head whose joint logits follow from the unimodal ones, `unimodal_logits`, (M, n, C), by `combine`."""

    def combine(self, parts: Tensor) -> Tensor:
        """Unimodal logits (M, n, C) -> joint logits (n, C)."""
        raise NotImplementedError

    def forward(self, features: Features) -> Tensor:
        return self.combine(self.unimodal_logits(features))

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        parts = self.unimodal_logits(features)
        return self.combine(parts), parts
