"""Heads that methods bring in place of a fusion; `ibml.models.fusion` has what they are called with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.config.fusion import OwnHeadConfig
from ibml.models.fusion import Features, Fusion

FLOOR = 1e-12
"""Norms are at least so large."""


class PartsHead(Fusion):
    """A head whose joint logits follow from the unimodal ones, `unimodal_logits`, (M, n, C), by `joined`."""

    def joined(self, parts: Tensor) -> Tensor:
        """Unimodal logits (M, n, C) -> joint logits (n, C)."""
        raise NotImplementedError

    def forward(self, features: Features) -> Tensor:
        return self.joined(self.unimodal_logits(features))

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        parts = self.unimodal_logits(features)
        return self.joined(parts), parts


class SharedHead(PartsHead):
    """o_m = h(z_m), h linear and shared; o = sum_m w_m o_m per sample, w_m = exp(max e - e_m) / sum, e_m the entropy of
    softmax(o_m): the surer modality weighs more (MLA, Zhang et al., CVPR 2024)."""

    def __init__(self, width: int, classes: int):
        super().__init__()
        self.head = nn.Linear(width, classes)

    def unimodal_logits(self, features: Features) -> Tensor:
        logits: Tensor = self.head(torch.stack(list(features)))
        return logits

    def joined(self, parts: Tensor) -> Tensor:
        return (certainty(parts)[..., None] * parts).sum(0)


def certainty(parts: Tensor) -> Tensor:
    """The softmax over modalities of the negative entropy of softmax(o_m), per sample: (M, n, C) -> (M, n)."""
    logs = parts.log_softmax(2)
    return (logs.exp() * logs).sum(2).softmax(0)


class MeanHead(PartsHead):
    """o_m = W_m z_m + b_m and o = mean_m o_m (LFM, Yang et al., NeurIPS 2024)."""

    def __init__(self, widths: Sequence[int], classes: int):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def unimodal_logits(self, features: Features) -> Tensor:
        return torch.stack([head(z) for head, z in zip(self.heads, features, strict=True)])

    def joined(self, parts: Tensor) -> Tensor:
        return parts.mean(0)


class BoostedHead(PartsHead):
    """o_m = f(z_m), f = Linear(d, hidden) ReLU Linear(hidden, C) shared; o = b sum_m o_m, b a learned number that
    starts at 1 (ReconBoost, Hua et al., ICML 2024)."""

    def __init__(self, width: int, hidden: int, classes: int):
        super().__init__()
        self.head = nn.Sequential(nn.Linear(width, hidden), nn.ReLU(), nn.Linear(hidden, classes))
        self.scale = nn.Parameter(torch.ones(()))

    def unimodal_logits(self, features: Features) -> Tensor:
        logits: Tensor = self.head(torch.stack(list(features)))
        return logits

    def joined(self, parts: Tensor) -> Tensor:
        return self.scale * parts.sum(0)


class CosineHead(PartsHead):
    """o_m = scale * cos(z_m, W_m[c]) for each class c, and o = sum_m o_m (MMCosine, Xu et al., ICASSP 2023).

    While `normalised` is false, plain inner products, o_m = W_m z_m. Which of the two is part of the state.
    """

    normalised: Tensor

    def __init__(self, widths: Sequence[int], classes: int, scale: float):
        super().__init__()
        self.widths, self.scale = tuple(widths), scale
        self.head = nn.Linear(sum(widths), classes, bias=False)
        self.register_buffer("normalised", torch.tensor(True))

    def unimodal_logits(self, features: Features) -> Tensor:
        return torch.stack(
            [
                self._logits(z, columns)
                for z, columns in zip(features, self.head.weight.split(self.widths, 1), strict=True)
            ]
        )

    def _logits(self, z: Tensor, weight: Tensor) -> Tensor:
        z = z.to(weight.dtype)  # half precision has no number as small as the floor
        cosines = F.linear(F.normalize(z, dim=1, eps=FLOOR), F.normalize(weight, dim=1, eps=FLOOR))
        return torch.where(self.normalised, self.scale * cosines, F.linear(z, weight))

    def joined(self, parts: Tensor) -> Tensor:
        return parts.sum(0)


def build_own_head(config: OwnHeadConfig, widths: Sequence[int], classes: int) -> Fusion:
    """What a method has in place of a fusion, for features of the given widths; a head that modalities share takes
    equal ones."""
    match config.type:
        case "shared":
            return SharedHead(widths[0], classes)
        case "mean":
            return MeanHead(widths, classes)
        case "boosted":
            return BoostedHead(widths[0], config.hidden, classes)
        case "cosine":
            return CosineHead(widths, classes, config.scale)
