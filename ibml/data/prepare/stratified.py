"""Splits of data sets that come without one."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from ibml.common.rng import stream_seed


def draw_stratified(labels: Sequence[str], count: int, *where: str) -> set[int]:
    """Exactly `count` positions, of every label its share. What rounding leaves goes to the largest remainders.

    The draw depends on the labels, in their order, and on its name alone: everybody gets the same.
    """
    members = Counter(labels)
    shares = {label: divmod(count * size, len(labels)) for label, size in members.items()}
    left = count - sum(whole for whole, _ in shares.values())
    raised = sorted(shares, key=lambda label: (-shares[label][1], label))[:left]
    generator = np.random.default_rng(stream_seed(0, "split", *where))
    found = set[int]()
    for label in sorted(shares):
        positions = np.flatnonzero([other == label for other in labels])
        found.update(
            generator.permutation(positions)[: shares[label][0] + (label in raised)].tolist()
        )
    return found
