"""Configuration of gated fusion; see `ibml.models.fusions.gated.fusion`."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.fusion import ConditionedFusionConfig


class GatedConfig(ConditionedFusionConfig):
    """The conditioning modality gates the others' features (Kiela et al. 2018)."""

    implementation: ClassVar[str] = "ibml.models.fusions.gated.fusion:Gated"
    type: Literal["gated"] = "gated"
    """Gated fusion (Kiela et al. 2018)."""
    condition: str = "first"
    """The modality that gates the others' features: `first`, `last` or a name."""
