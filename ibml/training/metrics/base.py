"""Predictions of one split, the argument of every metric."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor


@dataclass(frozen=True)
class Predictions:
    """Logits of all samples of a split; intermediate results that metrics share are cached.

    A metric is a function of `Predictions`. It returns a scalar, or one value per modality, and
    does not read the device. `ibml.config.metrics.registry` names it.

    Attributes:
        joint: Joint logits, (n, C).
        unimodal: Unimodal logits, (M, n, C).
        labels: Class indices, (n,).

    Example:
        A metric, the mean confidence of the joint predictions:

        >>> import torch
        >>> from ibml.training.metrics.base import Predictions
        >>> def confidence(predictions):
        ...     return predictions.joint.softmax(1).amax(1).mean()
        >>> joint = torch.tensor([[0.0, 0.0], [9.0, -9.0]])
        >>> predictions = Predictions(joint, joint[None], labels=torch.tensor([1, 0]))
        >>> round(float(confidence(predictions)), 2)
        0.75
        >>> predictions.predicted.tolist(), predictions.classes
        ([0, 0], 2)
    """

    joint: Tensor
    unimodal: Tensor
    labels: Tensor

    @property
    def classes(self) -> int:
        """Number of classes, C."""
        return self.joint.shape[1]

    @cached_property
    def predicted(self) -> Tensor:
        """Classes with the largest joint logits, (n,)."""
        return self.joint.argmax(1)

    @cached_property
    def unimodal_accuracies(self) -> Tensor:
        """Accuracy of the unimodal logits, (M,)."""
        return (self.unimodal.argmax(2) == self.labels).double().mean(1)
