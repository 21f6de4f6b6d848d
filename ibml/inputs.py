"""Inputs of encoders: one modality of a batch, and the specification of its samples."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Sequences:
    """Batch of n sequences, padded to the length L of the longest.

    Attributes:
        values: Token ids (n, L) of an integer type, or vectors (n, L, d). Id 0 stands for words
            outside the vocabulary. Padding is 0.
        lengths: Lengths of the sequences (n,), at least 1; on the CPU, as
            `torch.nn.utils.rnn.pack_padded_sequence` requires.
    """

    values: Tensor
    lengths: Tensor

    @property
    def are_ids(self) -> bool:
        """True if the values are token ids."""
        return not self.values.is_floating_point()

    def map(self, change: Callable[[Tensor], Tensor]) -> Sequences:
        """Return sequences of the same lengths with `change` applied to the values."""
        return Sequences(change(self.values), self.lengths)

    def valid(self) -> Tensor:
        """Return the mask (n, L) of steps that are not padding, on the device of the values."""
        steps = torch.arange(self.values.shape[1], device=self.values.device)
        return steps < self.lengths.to(self.values.device, non_blocking=True)[:, None]


Input = Tensor | Sequences
"""One modality of a batch: a tensor (n, *shape), or sequences."""


@dataclass(frozen=True)
class InputSpec:
    """Specification of the samples of one modality.

    Attributes:
        shape: Shape of a sample: spectrogram (1, F, T), image (3, H, W), frames or views
            (3, count, H, W), points (count, 3), vector (d,), text (length,) with the maximum number
            of tokens.
        vocabulary: Words of the token ids 1, 2, ...; empty for other modalities and for the
            tokenizer of a pretrained model.
        vectors: Given word vectors (words + 1, d), the unknown word first, or None.
    """

    shape: tuple[int, ...]
    vocabulary: tuple[str, ...] = ()
    vectors: Tensor | None = None
