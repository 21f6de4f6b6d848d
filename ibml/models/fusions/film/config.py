"""Configuration of FiLM; see `ibml.models.fusions.film.fusion`."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.fusion import ConditionedFusionConfig


class FiLMConfig(ConditionedFusionConfig):
    """The conditioning modality scales and shifts the others' features (Perez et al. 2018)."""

    implementation: ClassVar[str] = "ibml.models.fusions.film.fusion:FiLM"
    type: Literal["film"] = "film"
    """FiLM (Perez et al. 2018)."""
    condition: str = "first"
    """The modality that scales and shifts the others' features: `first`, `last` or a name."""
