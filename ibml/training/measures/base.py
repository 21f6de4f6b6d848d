"""Trained model that measures are computed from; shared intermediate results are cached."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property

import torch
from torch import Tensor

from ibml.config.trial import TrialConfig
from ibml.data.feeds import Feed
from ibml.models.multimodal import MultimodalModel
from ibml.training.forward_passes import iterate_features
from ibml.training.precision import Precision

FLOOR = 1e-8
"""Lower bound of sums of probabilities, and of standard deviations relative to the maximum."""


class MeasuredModel:
    """Model with its selected weights, in evaluation mode, and the splits of its data.

    A measure is a function that maps a `MeasuredModel` to the values of its metrics.

    Args:
        config: Configuration of the trial.
        model: Model with M modalities.
        splits: Training, validation and test split.
        precision: Number formats of the forward passes.

    Attributes:
        train: Training split.
        val: Validation split.
        test: Test split.

    Example:
        A measure, computed from an untrained model:

        >>> from ibml.config.trial import TrialConfig
        >>> from ibml.training.measures.base import MeasuredModel
        >>> from ibml.training.trainer import Trainer
        >>> def feature_norms(measured):
        ...     features, labels = measured.test_features
        ...     return [float(z.norm(dim=1).mean()) for z in features]
        >>> config = {"data": {"type": "mfeat", "views": ["fou", "zer"]}}
        >>> trainer = Trainer(TrialConfig.model_validate(config))
        >>> splits = (trainer.train_split, trainer.val_split, trainer.test_split)
        >>> measured = MeasuredModel(trainer.config, trainer.model, splits, trainer.precision)
        >>> len(feature_norms(measured))
        2
    """

    def __init__(
        self,
        config: TrialConfig,
        model: MultimodalModel,
        splits: tuple[Feed, Feed, Feed],
        precision: Precision,
    ):
        self.config = config
        self.model = model
        self.precision = precision
        self.train, self.val, self.test = splits

    def prepare_features(self) -> None:
        """Compute the features that several measures use, and wait for the device."""
        _ = self.feature_means, self.test_features
        if self.test.labels.device.type == "cuda":
            # otherwise the time of the next measure would include them
            torch.cuda.synchronize(self.test.labels.device)

    def compute_features(self, split: Feed) -> tuple[list[Tensor], Tensor]:
        """Compute the features of a whole split.

        Args:
            split: Split of N samples.

        Returns:
            Features z_1 .. z_M, (N, d_m) each, and labels, (N,).
        """
        batches = torch.arange(len(split.labels)).split(self.config.trainer.eval_batch_size)
        passes = iterate_features(self.model, split, batches, self.precision)
        by_batch = [z for _, z, _ in passes]
        features = [torch.cat(parts) for parts in zip(*by_batch, strict=True)]
        return features, split.labels

    @cached_property
    def train_features(self) -> tuple[list[Tensor], Tensor]:
        """Features and labels of the training split; see `compute_features`."""
        return self.compute_features(self.train)

    @cached_property
    def test_features(self) -> tuple[list[Tensor], Tensor]:
        """Features and labels of the test split; see `compute_features`."""
        return self.compute_features(self.test)

    @cached_property
    def feature_means(self) -> list[Tensor]:
        """Mean features of the training split by modality, (d_m,) each, in double precision."""
        return [z.double().mean(0) for z in self.train_features[0]]

    def _iterate_test_features(self, size: int) -> Iterator[tuple[list[Tensor], Tensor]]:
        """Yield the features and labels of the test split, `size` samples at a time."""
        z, labels = self.test_features
        chunks = [values.split(size) for values in z]
        for *part, part_labels in zip(*chunks, labels.split(size), strict=True):
            yield part, part_labels

    def compute_joint_logits(self) -> Tensor:
        """Return the joint logits of the test split, (N, C)."""
        logits = []
        for part, _ in self._iterate_test_features(self.config.trainer.eval_batch_size):
            with self.precision.autocast:
                logits.append(self.model.fusion(part))
        return torch.cat(logits)

    def compute_subset_accuracies(self, kept: Sequence[Sequence[bool]]) -> Tensor:
        """Compute the test accuracy of S subsets of the modalities.

        The features of the other modalities are replaced by their mean over the training split.

        Args:
            kept: True for the members of each subset, (S, M).

        Returns:
            Accuracies, (S,), in double precision on the CPU.
        """
        subsets = torch.tensor(kept, device=self.test.labels.device)
        correct = torch.zeros(len(kept), device=subsets.device, dtype=torch.float64)
        # One pass for all subsets of a part, which needs no more memory than an evaluation.
        size = max(1, self.config.trainer.eval_batch_size // len(kept))
        for part, labels in self._iterate_test_features(size):
            with self.precision.autocast:
                logits = self.model.fusion.subset_logits(part, subsets, self.feature_means)
            correct += (logits.argmax(2) == labels).double().sum(1)
        return (correct / len(self.test.labels)).cpu()
