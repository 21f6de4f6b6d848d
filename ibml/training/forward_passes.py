"""Forward passes over a split without training."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ibml.data.feeds import Feed
from ibml.models.multimodal import MultimodalModel
from ibml.training.precision import Precision


def iterate_features(
    model: MultimodalModel,
    feed: Feed,
    batches: tuple[Tensor, ...],
    precision: Precision,
    *where: str | int,
) -> Iterator[tuple[Tensor, list[Tensor], Tensor]]:
    """Compute the features of a split in evaluation mode; restore the mode of the model at the end.

    Args:
        model: Model with the encoders.
        feed: The split.
        batches: Positions of each batch, (n,), on the CPU.
        precision: Number formats of the forward passes.
        *where: Random stream of the feed's augmentations.

    Yields:
        For each batch: positions, (n,), features z_1 .. z_M, (n, d_m) each, and labels, (n,).
    """
    training = model.training
    model.eval()
    try:
        for index, inputs, labels in feed.batches(batches, *where):
            with torch.no_grad(), precision.autocast:
                features = model.features(inputs)
            yield index, [z.to(precision.dtype) for z in features], labels
    finally:
        model.train(training)
