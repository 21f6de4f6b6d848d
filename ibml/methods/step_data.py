"""Data of a training step: batches, outputs, logs, and the per-sample memory behind the rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.data.feeds import Feed
from ibml.inputs import Input

Inputs = Mapping[str, Input]
"""Inputs of a batch by modality, (n, ...) each."""


@dataclass(frozen=True)
class Batch:
    """Batch of n training samples, on the trainer's device.

    Attributes:
        index: Positions in the training set, (n,).
        inputs: Inputs by modality, (n, ...) each.
        labels: Class indices, (n,).
    """

    index: Tensor
    inputs: Inputs
    labels: Tensor


@dataclass(frozen=True)
class StepLog:
    """Log of one training step.

    All tensors stay on the device: reading one would wait for the device.

    Attributes:
        index: Positions of the batch in the training set, (n,).
        labels: Class indices of the batch, (n,).
        loss: Optimized loss, a scalar.
        joint: Joint logits, (n, C).
        unimodal: Unimodal logits, (M, n, C).
        rates: rho, (M,).
        noised: Number of samples whose input was changed, per modality, (M,).
    """

    index: Tensor
    labels: Tensor
    loss: Tensor
    joint: Tensor
    unimodal: Tensor
    rates: Tensor
    noised: Tensor


@dataclass(frozen=True)
class StepStatistics:
    """Measurements of S training steps.

    Attributes:
        loss: Optimized loss, (S,).
        correct: Number of correct predictions, joint first, then per modality, (S, 1 + M).
        rates: rho, (S, M).
        noised: Number of samples whose input was changed, (S, M).
        scores: s_m, the sum over the batch of modality m's probability of the label, (S, M).
    """

    loss: Tensor
    correct: Tensor
    rates: Tensor
    noised: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Outputs:
    """Result of a forward pass.

    Attributes:
        features: z_1 .. z_M in the number format of autocast, (n, d_m) each.
        joint: Joint logits, (n, C).
        unimodal: Unimodal logits, (M, n, C). They have a gradient if `Method.uses_unimodal` is
            true.
        labels: Class indices, (n,).
    """

    features: list[Tensor]
    joint: Tensor
    unimodal: Tensor
    labels: Tensor

    @cached_property
    def log_probability(self) -> Tensor:
        """Log-probability of each sample's label by modality, log p_m[i, y_i], (M, n)."""
        return label_log_probability(self.unimodal, self.labels)


@dataclass(frozen=True)
class Training:
    """Data and optimizer of the training that a method belongs to.

    Attributes:
        train: Training split.
        val: Validation split.
        optimizer: Optimizer with the learning rate of the current epoch.
    """

    train: Feed
    val: Feed
    optimizer: torch.optim.Optimizer


class PredictionMemory:
    """Per-sample memory of unimodal predictions, from the last visit to each training sample.

    Before a sample's first visit its probability is 1 and its prediction counts as correct.

    Args:
        modalities: Number of modalities, M.
        samples: Number of training samples, N.
        device: Device of the memory.
        dtype: Number format of the probabilities.

    Attributes:
        probability: Probability of the label, (M, N).
        correct: True if the prediction was correct, (M, N).
    """

    def __init__(self, modalities: int, samples: int, device: torch.device, dtype: torch.dtype):
        self.probability = torch.ones(modalities, samples, device=device, dtype=dtype)
        self.correct = torch.ones(modalities, samples, device=device, dtype=torch.bool)

    def write(self, index: Tensor, probability: Tensor, correct: Tensor) -> None:
        """Store the predictions of n samples.

        Args:
            index: Positions in the training set, (n,).
            probability: Probability of the label by modality, (M, n).
            correct: True if the prediction was correct, (M, n).
        """
        self.probability[:, index] = probability
        self.correct[:, index] = correct

    def state_dict(self) -> dict[str, Tensor]:
        """Return the memory for a checkpoint."""
        return {"probability": self.probability, "correct": self.correct}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Copy the memory from a checkpoint; other keys of `state` are ignored."""
        self.probability.copy_(state["probability"])
        self.correct.copy_(state["correct"])


def rates(scores: Tensor) -> Tensor:
    """Compute the rates rho_m = M s_m / (s_1 + ... + s_M) (Qin et al. 2026).

    Args:
        scores: s, each modality's probability of the labels, summed over the batch, (M,); or summed
            over the samples of each class, (M, C).

    Returns:
        rho, of the shape of `scores`. The mean over modalities is 1. If the sum is 0, all rates are
        1.
    """
    return (scores / scores.mean(0)).nan_to_num(nan=1.0)


def average_others(values: Tensor) -> Tensor:
    """Return the mean of the other M - 1 values for each of M values, (M,); 0 if M is 1."""
    return (values.sum() - values) / max(len(values) - 1, 1)


def label_log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """Compute log softmax(logits)[i, labels[i]] for each modality and sample.

    Args:
        logits: Logits, (M, n, C).
        labels: Class indices, (n,).

    Returns:
        Log-probabilities of the labels, (M, n).
    """
    repeated = labels.expand(len(logits), -1).flatten()
    losses = F.cross_entropy(logits.flatten(0, 1), repeated, reduction="none")
    return -losses.view(len(logits), -1)


def ensure_full_precision(logits: Tensor) -> Tensor:
    """Return logits in at least single precision, in which losses are computed."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
