"""Configuration of modality valuation. `ibml.methods.modality_valuation.method` has the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ibml.config.base import NonNegative
from ibml.config.methods.base import ComparingMethodConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class ModalityValuationConfig(ComparingMethodConfig):
    """More of the samples, with the weak modality alone, by Shapley values (Wei et al., CVPR 2024)."""

    implementation: ClassVar[str] = "ibml.methods.modality_valuation.method:ModalityValuation"
    every_subset: ClassVar[bool] = True
    type: Literal["modality_valuation"] = "modality_valuation"
    """Sample-level modality valuation (Wei et al., CVPR 2024)."""
    level: Literal["sample", "modality"] = "sample"
    """What is valued: each sample, or each modality on average over a `part` of the samples."""
    warmup: Annotated[int, Field(ge=0)] = 5
    """Epochs of the window before the first valuation."""
    alpha: NonNegative = 0.5
    """Of the level `modality`: how many samples a gap between modalities adds; 0 adds none."""
    part: Annotated[float, Field(gt=0, le=1)] = 0.2
    """Of the level `modality`: the share of training samples that is valued, above 0, at most 1."""

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        unused = {"alpha", "part"} if self.level == "sample" else set()
        return {
            name: value
            for name, value in super().build_canonical_form(trial).items()
            if name not in unused
        }
