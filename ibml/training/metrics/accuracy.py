"""Accuracy of the joint logits and of the unimodal logits."""

from __future__ import annotations

from torch import Tensor

from ibml.training.metrics.base import Predictions


def accuracy(predictions: Predictions) -> Tensor:
    """Return the share of samples with a correct joint prediction, a scalar."""
    return (predictions.predicted == predictions.labels).double().mean()


def unimodal_accuracy(predictions: Predictions) -> Tensor:
    """Return the share of samples with a correct unimodal prediction by modality, (M,)."""
    return predictions.unimodal_accuracies
