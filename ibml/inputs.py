"""What data sets give and encoders take: one modality's batch, and the form of its samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """n sequences, padded to the longest: token ids (n, L) or vectors (n, L, d), and how long each is, (n,).

    Ids are of the vocabulary, 0 being every word that it does not have; what is padded is 0 too. Lengths are at least 1
    and stay on the CPU, where packing needs them.
    """

    values: Tensor
    lengths: Tensor

    @property
    def are_ids(self) -> bool:
        return not self.values.is_floating_point()

    def map(self, change: Callable[[Tensor], Tensor]) -> Sequences:
        """The same sequences with other values."""
        return Sequences(change(self.values), self.lengths)

    def valid(self) -> Tensor:
        """True where a step is no padding, (n, L), on the values' device."""
        steps = torch.arange(self.values.shape[1], device=self.values.device)
        return steps < self.lengths.to(self.values.device, non_blocking=True)[:, None]


Input = Tensor | Sequences
"""One modality of a batch: (n, *shape), or sequences."""


@dataclass(frozen=True)
class InputSpec:
    """One modality's samples: the shape of one, and of text the words that token ids 1, 2, ... stand for.

    Spectrograms are (1, F, T), images (3, H, W), frames and views (3, count, H, W), points (count, 3), vectors (d,),
    texts (length,) with `length` the most tokens that one has. `vectors`, where words have given ones, is
    (words + 1, d) with the unknown word first. A text of another tokenizer has no vocabulary.
    """

    shape: tuple[int, ...]
    vocabulary: tuple[str, ...] = ()
    vectors: Tensor | None = None
