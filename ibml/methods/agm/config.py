"""Configuration of AGM; see `ibml.methods.agm.method` for the formulas."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.base import NonNegative
from ibml.config.methods.base import ComparingMethodConfig


class AGMConfig(ComparingMethodConfig):
    """Adaptive gradient modulation by Shapley values of the logits (Li et al., ICCV 2023)."""

    implementation: ClassVar[str] = "ibml.methods.agm.method:AGM"
    every_subset: ClassVar[bool] = True
    type: Literal["agm"] = "agm"
    """AGM (Li et al., ICCV 2023)."""
    alpha: NonNegative = 1.0
    """Strength of the modulation: gradients are scaled by exp(alpha (tau - r)); 0 disables it."""
