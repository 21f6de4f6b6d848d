"""A trained model as measures get it; what several need is computed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ibml.config.trial import TrialConfig
from ibml.data.feeds import Feed
from ibml.models.multimodal import MultimodalModel
from ibml.training.forward_passes import features
from ibml.training.precision import Precision

FLOOR = 1e-8
"""Smallest sum of probabilities, and smallest deviation relative to a column's largest value."""


class MeasuredModel:
    """A model with its selected weights, in evaluation mode, and the splits of its data.

    Attributes:
        config: The trial.
        model: The model; its modalities give M.
        precision: Number formats of the forward passes.
        train: Training split.
        val: Validation split.
        test: Test split.
    """

    def __init__(
        self,
        config: TrialConfig,
        model: MultimodalModel,
        splits: tuple[Feed, Feed, Feed],
        precision: Precision,
    ):
        self.config, self.model, self.precision = config, model, precision
        self.train, self.val, self.test = splits

    def prepare_features(self) -> None:
        """Compute the features that several measures use, to the end."""
        _ = self.feature_means, self.test_features
        if self.test.labels.device.type == "cuda":
            torch.cuda.synchronize(
                self.test.labels.device
            )  # else the next measure would wait for them

    def compute_features(self, split: Feed) -> tuple[list[Tensor], Tensor]:
        """The features of a whole split, (N, d_m) each, and its labels, (N,)."""
        batches = torch.arange(len(split.labels)).split(self.config.trainer.eval_batch_size)
        made = list(features(self.model, split, batches, self.precision))
        return [
            torch.cat(parts) for parts in zip(*(z for _, z, _ in made), strict=True)
        ], split.labels

    @cached_property
    def train_features(self) -> tuple[list[Tensor], Tensor]:
        return self.compute_features(self.train)

    @cached_property
    def test_features(self) -> tuple[list[Tensor], Tensor]:
        return self.compute_features(self.test)

    @cached_property
    def feature_means(self) -> list[Tensor]:
        return [z.double().mean(0) for z in self.train_features[0]]

    def _iterate_test_features(self, size: int) -> Iterator[tuple[list[Tensor], Tensor]]:
        """The features and labels of the test split, so many samples at a time."""
        z, labels = self.test_features
        for *part, of_part in zip(
            *(values.split(size) for values in z), labels.split(size), strict=True
        ):
            yield part, of_part

    def compute_joint_logits(self) -> Tensor:
        """The joint logits of the test split, (N, C)."""
        made = []
        for part, _ in self._iterate_test_features(self.config.trainer.eval_batch_size):
            with self.precision.autocast:
                made.append(self.model.fusion(part))
        return torch.cat(made)

    def compute_subset_accuracies(self, kept: Sequence[Sequence[bool]]) -> Tensor:
        """The accuracy with each subset of the modalities, the others being their means, (S,)."""
        subsets = torch.tensor(kept, device=self.test.labels.device)
        right = torch.zeros(len(kept), device=subsets.device, dtype=torch.float64)
        # all subsets of a part go through the fusion at once, and take no more memory than an evaluation
        for part, labels in self._iterate_test_features(
            max(1, self.config.trainer.eval_batch_size // len(kept))
        ):
            with self.precision.autocast:
                logits = self.model.fusion.subset_logits(part, subsets, self.feature_means)
            right += (logits.argmax(2) == labels).double().sum(1)
        return (right / len(self.test.labels)).cpu()
