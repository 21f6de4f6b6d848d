"""Cross-entropy of the joint logits."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from ibml.training.metrics.base import Predictions


def loss(predictions: Predictions) -> Tensor:
    """Return the mean cross-entropy of the joint logits in nats, a scalar."""
    return F.cross_entropy(predictions.joint, predictions.labels)
