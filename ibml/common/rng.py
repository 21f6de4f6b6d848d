"""Random streams: every draw comes from a generator made from (seed, stream, where).

Streams are independent, so switching one part off does not shift another part's draws, and an epoch can
start from a checkpoint without replaying the ones before.
"""

from __future__ import annotations

import hashlib
from typing import Literal

Stream = Literal["split", "init", "order", "noise", "augment", "dropout", "search"]


def stream_seed(seed: int, stream: Stream, *where: str | int) -> int:
    """A seed in [0, 2**63) for one use of a stream: an epoch, or a part of the model by name."""
    text = "/".join(map(str, (seed, stream, *where)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
