"""Accuracy of the joint logits and of each modality's."""

from __future__ import annotations

from torch import Tensor

from ibml.training.metrics.base import Predictions


def accuracy(predictions: Predictions) -> Tensor:
    """Return the share of samples whose joint prediction is right."""
    return (predictions.predicted == predictions.labels).double().mean()


def unimodal_accuracy(predictions: Predictions) -> Tensor:
    """Return the share of samples that each modality's logits predict right, (M,)."""
    return predictions.unimodal_accuracies
