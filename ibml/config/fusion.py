"""Configurations of fusions: features of M modalities -> logits. `ibml.models.fusion` has the formulas."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field

from ibml.config.base import Config, Count, Positive
from ibml.config.plugins import Kind, PluginConfig


class ConcatConfig(Config):
    """One linear head over the concatenated features."""

    type: Literal["concat"] = "concat"


class SumConfig(Config):
    """One linear head per modality; the logits are added."""

    type: Literal["sum"] = "sum"


class FiLMConfig(Config):
    """The conditioning modality scales and shifts the others' features (Perez et al. 2018)."""

    type: Literal["film"] = "film"
    condition: str = "first"
    """`first`, `last` or the name of a modality."""


class GatedConfig(Config):
    """The conditioning modality gates the others' features (Kiela et al. 2018)."""

    type: Literal["gated"] = "gated"
    condition: str = "first"
    """`first`, `last` or the name of a modality."""


class AttentionConfig(Config):
    """One transformer encoder layer over one token per modality (Vaswani et al. 2017)."""

    type: Literal["attention"] = "attention"
    width: Count = 64
    heads: Count = 4
    feedforward: Count = 128


class LMFConfig(Config):
    """Low-rank multimodal fusion: a bilinear head in factors (Liu et al. 2018)."""

    type: Literal["lmf"] = "lmf"
    rank: Count = 16


class LateConfig(Config):
    """One classifier per modality; their probabilities are averaged."""

    type: Literal["late"] = "late"


class FusionPluginConfig(PluginConfig):
    """A fusion of another package."""

    kind: ClassVar[Kind] = "fusion"


FusionConfig = Annotated[
    ConcatConfig | SumConfig | FiLMConfig | GatedConfig | AttentionConfig | LMFConfig | LateConfig | FusionPluginConfig,
    Field(discriminator="type"),
]


class SharedHeadConfig(Config):
    """One linear head for every modality; the surer a modality, the more its logits weigh."""

    type: Literal["shared"] = "shared"


class MeanHeadConfig(Config):
    """One linear head per modality; the logits are averaged."""

    type: Literal["mean"] = "mean"


class BoostedHeadConfig(Config):
    """One perceptron for every modality; the sum of the logits is scaled by a learned number."""

    type: Literal["boosted"] = "boosted"
    hidden: Count = 256


class CosineHeadConfig(Config):
    """Cosines of each modality's features and its part of a class's weights, added and scaled."""

    type: Literal["cosine"] = "cosine"
    scale: Positive = 10.0


OwnHeadConfig = SharedHeadConfig | MeanHeadConfig | BoostedHeadConfig | CosineHeadConfig
HeadConfig = FusionConfig | OwnHeadConfig
"""What makes logits of features: a fusion, or what a method has in its place."""
