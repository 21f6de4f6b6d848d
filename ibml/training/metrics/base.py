"""Predictions of one split, as the functions of metrics get them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True)
class Predictions:
    """Logits of all samples of a split. What several metrics need is computed once.

    Attributes:
        joint: Joint logits, (n, C).
        unimodal: Unimodal logits, (M, n, C).
        labels: Class indices, (n,).
    """

    joint: Tensor
    unimodal: Tensor
    labels: Tensor

    @property
    def classes(self) -> int:
        return self.joint.shape[1]

    @cached_property
    def predicted(self) -> Tensor:
        """The classes with the largest joint logits, (n,)."""
        return self.joint.argmax(1)

    @cached_property
    def unimodal_accuracies(self) -> Tensor:
        """The accuracy of each modality's logits, (M,)."""
        return (self.unimodal.argmax(2) == self.labels).double().mean(1)
