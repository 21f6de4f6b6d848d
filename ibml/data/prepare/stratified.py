"""Stratified draws for data sets that are distributed without a split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ibml.common.rng import stream_seed


def draw_stratified(labels: Sequence[str], count: int, *where: str) -> set[int]:
    """Draw exactly `count` samples with the class frequencies of all samples.

    Samples that are missing after rounding down are added to the classes with the largest
    remainders. The draw depends only on the labels in their order and on its name, so every user
    gets the same split.

    Args:
        labels: Labels of all samples.
        count: Number of samples to draw.
        *where: Name of the draw.

    Returns:
        Positions of the samples drawn.
    """
    members = Counter(labels)
    shares = {label: divmod(count * size, len(labels)) for label, size in members.items()}
    left = count - sum(whole for whole, _ in shares.values())
    rounded_up = sorted(shares, key=lambda label: (-shares[label][1], label))[:left]
    generator = np.random.default_rng(stream_seed(0, "split", *where))
    drawn: set[int] = set()
    for label in sorted(shares):
        positions = np.flatnonzero([other == label for other in labels])
        size = shares[label][0] + (label in rounded_up)
        drawn.update(generator.permutation(positions)[:size].tolist())
    return drawn
