"""Configuration of low-rank multimodal fusion; see `ibml.models.fusions.lmf.fusion`."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.base import Count
from ibml.config.fusion import BaseFusionConfig


class LMFConfig(BaseFusionConfig):
    """Low-rank multimodal fusion: a bilinear head in factors (Liu et al. 2018)."""

    implementation: ClassVar[str] = "ibml.models.fusions.lmf.fusion:LowRank"
    type: Literal["lmf"] = "lmf"
    """Low-rank multimodal fusion (Liu et al. 2018)."""
    rank: Count = 16
    """Number of factors per modality."""
