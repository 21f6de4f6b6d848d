"""Base class of fusions: features of M modalities, z_m of shape (n, d_m), to logits of shape (n, C).

The fusions are in `ibml.models.fusions`. Each also gives unimodal logits o_m, what the fused model says on one modality
alone: exact shares of the joint logits for `concat` and `sum` (Qin et al. 2026), and for the others the joint logits
with every other modality's feature set to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ibml.config.fusion import BaseFusionConfig

Features = Sequence[Tensor]
"""z_1 .. z_M in the order of the data's modalities."""


class Fusion(nn.Module):
    """A head over all modalities. `forward` gives the joint logits, shape (n, C)."""

    splits_logits: ClassVar[bool] = False
    """Whether the joint logits are the sum of linear functions of each modality, `unimodal_logits`."""

    def unimodal_logits(self, features: Features) -> Tensor:
        """o_1 .. o_M, shape (M, n, C)."""
        return self._forward_blocks([_mask_others(features, m) for m in range(len(features))])

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        """Joint logits (n, C) and unimodal logits (M, n, C); cheaper than the two calls."""
        blocks = self._forward_blocks(
            [list(features), *(_mask_others(features, m) for m in range(len(features)))]
        )
        return blocks[0], blocks[1:]

    def subset_logits(
        self, features: Features, kept: Tensor, fill: Features | None = None
    ) -> Tensor:
        """The joint logits, (S, n, C), for S subsets of the modalities, whose members are true in `kept`, (S, M). The
        features of the others are zero, or those of `fill`, (d_m,) each."""
        blocks = []
        for m, z in enumerate(features):
            other = torch.zeros_like(z) if fill is None else fill[m].to(z.dtype).expand_as(z)
            blocks.append(torch.where(kept[:, m, None, None], z, other).flatten(0, 1))
        logits: Tensor = self(blocks)
        return logits.view(len(kept), -1, logits.shape[1])

    def after_initialisation(self) -> None:
        """Undo what the common initialisation of layers gets wrong for this fusion."""

    def _forward_blocks(self, blocks: Sequence[Features]) -> Tensor:
        """The logits of several batches of the same size in one pass, shape (blocks, n, C)."""
        logits: Tensor = self([torch.cat(parts) for parts in zip(*blocks, strict=True)])
        return logits.view(len(blocks), -1, logits.shape[1])


def _mask_others(features: Features, index: int) -> Features:
    """The features with all but one set to zero."""
    return [z if m == index else torch.zeros_like(z) for m, z in enumerate(features)]


def split_features(features: Features, index: int) -> tuple[Tensor, Tensor]:
    """Return the features of one modality, (n, d), and those of the others concatenated, (n, sum of their widths)."""
    others = [z for m, z in enumerate(features) if m != index]
    return features[index], others[0] if len(others) == 1 else torch.cat(others, dim=1)


def build_fusion(
    config: BaseFusionConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
) -> Fusion:
    """Build a fusion, built-in or plug-in, or the head that a method brings in its place.

    Args:
        config: The configuration of the fusion or head.
        modalities: The names of the modalities.
        widths: The number of features of each modality; equal ones for a head that modalities share.
        classes: The number of classes.
    """
    fusion: Fusion = config.load_implementation()(config.typed_options, modalities, widths, classes)
    return fusion
