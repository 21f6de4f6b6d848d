"""Passes over a split that train nothing."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from ibml.data.feeds import Feed
from ibml.models.multimodal import MultimodalModel
from ibml.training.precision import Precision


def features(
    model: MultimodalModel,
    feed: Feed,
    batches: tuple[Tensor, ...],
    precision: Precision,
    *where: str | int,
) -> Iterator[tuple[Tensor, list[Tensor], Tensor]]:
    """For each batch of positions these, the features z_1 .. z_M, each (n, d_m), and the labels (n,), with the model in
    evaluation mode; afterwards it is in the mode in which it was. What the feed draws belongs to `where`."""
    training = model.training
    model.eval()
    try:
        for index, inputs, labels in feed.batches(batches, *where):
            with torch.no_grad(), precision.autocast:
                made = model.features(inputs)
            yield index, [z.to(precision.dtype) for z in made], labels
    finally:
        model.train(training)
