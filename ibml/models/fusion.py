"""Fusions: features of M modalities, z_m of shape (n, d_m), to logits of shape (n, C).

Each also gives unimodal logits o_m, what the fused model says on one modality alone: exact shares of the
joint logits for `concat` and `sum` (Qin et al. 2026), and for the others the joint logits with every other
modality's feature set to zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.config.fusion import AttentionConfig, FusionConfig

Features = Sequence[Tensor]
"""z_1 .. z_M in the order of the data's modalities."""


class Fusion(nn.Module):
    """A head over all modalities. `forward` gives the joint logits, shape (n, C)."""

    def unimodal_logits(self, features: Features) -> Tensor:
        """o_1 .. o_M, shape (M, n, C)."""
        return self._blocks([_alone(features, m) for m in range(len(features))])

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        """Joint logits (n, C) and unimodal logits (M, n, C); cheaper than the two calls."""
        blocks = self._blocks([list(features), *(_alone(features, m) for m in range(len(features)))])
        return blocks[0], blocks[1:]

    def subset_logits(self, features: Features, kept: Tensor, fill: Features | None = None) -> Tensor:
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

    def _blocks(self, blocks: Sequence[Features]) -> Tensor:
        """The logits of several batches of the same size in one pass, shape (blocks, n, C)."""
        logits: Tensor = self([torch.cat(parts) for parts in zip(*blocks, strict=True)])
        return logits.view(len(blocks), -1, logits.shape[1])


def _alone(features: Features, index: int) -> Features:
    """The features with all but one set to zero."""
    return [z if m == index else torch.zeros_like(z) for m, z in enumerate(features)]


class Concat(Fusion):
    """o = W [z_1; ...; z_M] + b and o_m = W_m z_m + b / M, W_m the columns of W for z_m."""

    def __init__(self, widths: Sequence[int], classes: int):
        super().__init__()
        self.widths = tuple(widths)
        self.head = nn.Linear(sum(widths), classes)

    def forward(self, features: Features) -> Tensor:
        logits: Tensor = self.head(torch.cat(list(features), dim=1))
        return logits

    def unimodal_logits(self, features: Features) -> Tensor:
        bias = self.head.bias / len(self.widths)
        columns = self.head.weight.split(self.widths, dim=1)
        return torch.stack([F.linear(z, weight, bias) for z, weight in zip(features, columns, strict=True)])

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        parts = self.unimodal_logits(features)
        return parts.sum(0), parts


class Sum(Fusion):
    """o = sum_m (W_m z_m + b_m) and o_m = W_m z_m + b_m."""

    def __init__(self, widths: Sequence[int], classes: int):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def forward(self, features: Features) -> Tensor:
        return self.unimodal_logits(features).sum(0)

    def unimodal_logits(self, features: Features) -> Tensor:
        return torch.stack([head(z) for head, z in zip(self.heads, features, strict=True)])

    def both(self, features: Features) -> tuple[Tensor, Tensor]:
        parts = self.unimodal_logits(features)
        return parts.sum(0), parts


class FiLM(Fusion):
    """gamma, beta = split(Linear(z_c)); o = Linear(gamma * z_o + beta), z_c the conditioning modality and
    z_o the other (Perez et al. 2018). With more than two, z_o are the others' features side by side."""

    def __init__(self, widths: Sequence[int], classes: int, condition: int):
        super().__init__()
        self.condition = condition
        others = sum(widths) - widths[condition]
        self.modulation = nn.Linear(widths[condition], 2 * others)
        self.head = nn.Linear(others, classes)

    def forward(self, features: Features) -> Tensor:
        conditioning, others = _apart(features, self.condition)
        gamma, beta = self.modulation(conditioning).chunk(2, dim=1)
        logits: Tensor = self.head(gamma * others + beta)
        return logits


class Gated(Fusion):
    """o = Linear(sigmoid(Linear(z_c)) * Linear(z_o)) (Kiela et al. 2018), z_c and z_o as in `FiLM`."""

    def __init__(self, widths: Sequence[int], classes: int, condition: int):
        super().__init__()
        self.condition = condition
        others = sum(widths) - widths[condition]
        self.gate = nn.Linear(widths[condition], others)
        self.value = nn.Linear(others, others)
        self.head = nn.Linear(others, classes)

    def forward(self, features: Features) -> Tensor:
        conditioning, others = _apart(features, self.condition)
        logits: Tensor = self.head(torch.sigmoid(self.gate(conditioning)) * self.value(others))
        return logits


class Attention(Fusion):
    """One token per modality, Linear_m(z_m) + e_m with e_m learned; one pre-norm transformer encoder layer
    (Vaswani et al. 2017); o = Linear(mean over tokens)."""

    def __init__(self, widths: Sequence[int], classes: int, config: AttentionConfig):
        super().__init__()
        self.projections = nn.ModuleList(nn.Linear(width, config.width) for width in widths)
        self.positions = nn.Parameter(torch.empty(len(widths), config.width))
        self.layer = nn.TransformerEncoderLayer(
            config.width, config.heads, config.feedforward, dropout=0.0, batch_first=True, norm_first=True
        )
        self.head = nn.Linear(config.width, classes)
        nn.init.xavier_normal_(self.positions)

    def forward(self, features: Features) -> Tensor:
        tokens = [project(z) for project, z in zip(self.projections, features, strict=True)]
        logits: Tensor = self.head(self.layer(torch.stack(tokens, dim=1) + self.positions).mean(dim=1))
        return logits

    def after_initialisation(self) -> None:
        """The three maps to queries, keys and values are linear layers too, though torch keeps them in one."""
        assert self.layer.self_attn.in_proj_weight is not None
        for weight in self.layer.self_attn.in_proj_weight.data.chunk(3):
            nn.init.xavier_normal_(weight)


class LowRank(Fusion):
    """o = sum_r w_r * prod_m (W_m^r [z_m; 1]) + b, r = 1 .. rank (LMF, Liu et al. 2018).

    The constant's rows of W_m start at one: each factor then passes the other modalities' information on, and
    o_m has a gradient from the first step.
    """

    def __init__(self, widths: Sequence[int], classes: int, rank: int):
        super().__init__()
        self.factors = nn.ModuleList(nn.Linear(width, rank * classes) for width in widths)
        self.weights = nn.Parameter(torch.empty(1, rank))
        self.bias = nn.Parameter(torch.zeros(classes))
        self.rank = rank
        nn.init.xavier_normal_(self.weights)

    def forward(self, features: Features) -> Tensor:
        product = torch.stack([factor(z) for factor, z in zip(self.factors, features, strict=True)]).prod(0)
        logits: Tensor = (self.weights @ product.unflatten(1, (self.rank, -1))).squeeze(1) + self.bias
        return logits

    def after_initialisation(self) -> None:
        for factor in self.factors:
            assert isinstance(factor, nn.Linear)
            nn.init.ones_(factor.bias)


class Late(Fusion):
    """o = log mean_m softmax(W_m z_m + b_m): one classifier per modality, probabilities averaged."""

    def __init__(self, widths: Sequence[int], classes: int):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(width, classes) for width in widths)

    def forward(self, features: Features) -> Tensor:
        each = torch.stack([head(z).log_softmax(1) for head, z in zip(self.heads, features, strict=True)])
        return each.logsumexp(0) - math.log(len(self.heads))


def _apart(features: Features, index: int) -> tuple[Tensor, Tensor]:
    """The feature at an index, and the others side by side."""
    others = [z for m, z in enumerate(features) if m != index]
    return features[index], others[0] if len(others) == 1 else torch.cat(others, dim=1)


def build_fusion(config: FusionConfig, modalities: Sequence[str], widths: Sequence[int], classes: int) -> Fusion:
    """The fusion of a configuration for features of the given widths."""
    match config.type:
        case "concat":
            return Concat(widths, classes)
        case "sum":
            return Sum(widths, classes)
        case "film":
            return FiLM(widths, classes, _position(config.condition, modalities))
        case "gated":
            return Gated(widths, classes, _position(config.condition, modalities))
        case "attention":
            return Attention(widths, classes, config)
        case "lmf":
            return LowRank(widths, classes, config.rank)
        case "late":
            return Late(widths, classes)
        case "plugin":
            made: Fusion = config.implementation(config.typed_options, modalities, widths, classes)
            return made


def _position(condition: str, modalities: Sequence[str]) -> int:
    ends = {"first": 0, "last": len(modalities) - 1}
    return ends[condition] if condition in ends else list(modalities).index(condition)
