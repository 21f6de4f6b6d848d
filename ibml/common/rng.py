"""Named random streams: every generator is seeded by (seed, stream, use).

Streams are independent. Disabling one component does not shift the random numbers of another, and
an epoch can start from a checkpoint without replaying the epochs before it.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Stream = Literal["split", "init", "order", "noise", "augment", "dropout", "search"]


def stream_seed(seed: int, stream: Stream, *where: str | int) -> int:
    """Return the seed of one use of a random stream.

    Args:
        seed: Seed of the trial.
        stream: Name of the stream.
        *where: Use of the stream, for example an epoch or the name of a model component.

    Returns:
        A seed in [0, 2**63).
    """
    text = "/".join(map(str, (seed, stream, *where)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
