"""Base class of fusions: features z_m of M modalities, (n, d_m) each, to logits, (n, C).

The fusions are in `ibml.models.fusions`. Each fusion also computes unimodal logits o_m, the
prediction of the fused model from one modality. For `concat` and `sum` they are exact shares of the
joint logits (Qin et al. 2026); for other fusions they are the joint logits with the features of the
other modalities set to zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from ibml.config.fusion import BaseFusionConfig

Features = Sequence[Tensor]
"""Features z_1 .. z_M, (n, d_m) each, in the order of the data's modalities."""


class Fusion(nn.Module):
    """Base class of fusions: a head over the features of all modalities.

    A subclass implements `forward`, which maps features to the joint logits, (n, C). It is built
    with `(options, modalities, widths, classes)`, see `build_fusion`. It may also override
    `unimodal_logits` and `both`.

    Attributes:
        splits_logits: True if the joint logits are the sum of the unimodal logits, which are linear
            functions of one modality each.

    Example:
        A fusion that multiplies one linear map per modality:

        >>> import torch
        >>> from torch import nn
        >>> from ibml.models.fusion import Fusion
        >>> class Product(Fusion):
        ...     def __init__(self, options, modalities, widths, classes):
        ...         super().__init__()
        ...         self.maps = nn.ModuleList(nn.Linear(width, classes) for width in widths)
        ...
        ...     def forward(self, features):
        ...         return torch.stack([f(z) for f, z in zip(self.maps, features)]).prod(0)

        Its logits for 8 samples of 4 classes:

        >>> fusion = Product(None, ("image", "text"), widths=(5, 3), classes=4)
        >>> joint, unimodal = fusion.both([torch.randn(8, 5), torch.randn(8, 3)])
        >>> joint.shape, unimodal.shape
        (torch.Size([8, 4]), torch.Size([2, 8, 4]))
    """

    splits_logits: ClassVar[bool] = False

    def unimodal_logits(self, features: Features) -> Tensor:
        """Compute the logits o_m of each modality.

        Args:
            features: z_1 .. z_M, (n, d_m) each.

        Returns:
            o_1 .. o_M, (M, n, C); here the joint logits with the other features set to zero.
        """
        return self._forward_blocks([_mask_others(features, m) for m in range(len(features))])

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        """Compute joint and unimodal logits in one pass, which is cheaper than two calls.

        Args:
            features: z_1 .. z_M, (n, d_m) each.

        Returns:
            Joint logits, (n, C), and unimodal logits, (M, n, C).
        """
        masked = [_mask_others(features, m) for m in range(len(features))]
        logits = self._forward_blocks([list(features), *masked])
        return logits[0], logits[1:]

    def subset_logits(
        self, features: Features, kept: Tensor, fill: Features | None = None
    ) -> Tensor:
        """Compute the joint logits from S subsets of the modalities.

        Args:
            features: z_1 .. z_M, (n, d_m) each.
            kept: True for the members of each subset, (S, M).
            fill: Features that replace those of the other modalities, (d_m,) each; zero if None.

        Returns:
            Joint logits, (S, n, C).
        """
        blocks = []
        for m, z in enumerate(features):
            other = torch.zeros_like(z) if fill is None else fill[m].to(z.dtype).expand_as(z)
            blocks.append(torch.where(kept[:, m, None, None], z, other).flatten(0, 1))
        logits: Tensor = self(blocks)
        return logits.view(len(kept), -1, logits.shape[1])

    def after_initialisation(self) -> None:
        """Correct the common initialization of layers for this fusion; here nothing."""

    def _forward_blocks(self, blocks: Sequence[Features]) -> Tensor:
        """Return the logits of B batches of the same size in one pass, (B, n, C)."""
        logits: Tensor = self([torch.cat(parts) for parts in zip(*blocks, strict=True)])
        return logits.view(len(blocks), -1, logits.shape[1])


def _mask_others(features: Features, index: int) -> Features:
    """Return the features with all but one set to zero."""
    return [z if m == index else torch.zeros_like(z) for m, z in enumerate(features)]


def split_features(features: Features, index: int) -> tuple[Tensor, Tensor]:
    """Separate the features of one modality from those of the others.

    Args:
        features: z_1 .. z_M, (n, d_m) each.
        index: Position of the modality.

    Returns:
        Features of the modality, (n, d), and those of the others concatenated, (n, sum of widths).
    """
    others = [z for m, z in enumerate(features) if m != index]
    if len(others) == 1:
        return features[index], others[0]
    return features[index], torch.cat(others, dim=1)


def build_fusion(
    config: BaseFusionConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
) -> Fusion:
    """Build a fusion, built-in or plug-in, or the head of a method that replaces the fusion.

    Args:
        config: Configuration of the fusion or head.
        modalities: Names of the M modalities.
        widths: Number of features of each modality; equal for a head that modalities share.
        classes: Number of classes, C.

    Returns:
        The fusion, with the initialization of its constructor.
    """
    fusion: Fusion = config.load_implementation()(config.typed_options, modalities, widths, classes)
    return fusion
