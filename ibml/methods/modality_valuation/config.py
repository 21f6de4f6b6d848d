"""Configuration of modality valuation; see `ibml.methods.modality_valuation.method`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ibml.config.base import NonNegative
from ibml.config.methods.base import ComparingMethodConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class ModalityValuationConfig(ComparingMethodConfig):
    """Repetition of samples with only their weak modality (Wei et al., CVPR 2024)."""

    implementation: ClassVar[str] = "ibml.methods.modality_valuation.method:ModalityValuation"
    every_subset: ClassVar[bool] = True
    type: Literal["modality_valuation"] = "modality_valuation"
    """Sample-level modality valuation (Wei et al., CVPR 2024)."""
    level: Literal["sample", "modality"] = "sample"
    """Valuation of each sample, or of each modality on average over a `part` of the samples."""
    warmup: Annotated[int, Field(ge=0)] = 5
    """Epochs of the window before the first valuation."""
    alpha: NonNegative = 0.5
    """For the level `modality`: factor of the number of samples that a gap adds; 0 adds none."""
    part: Annotated[float, Field(gt=0, le=1)] = 0.2
    """For the level `modality`: share of training samples to value, above 0, at most 1."""

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Return the canonical form without the fields that the level does not use."""
        form = super().build_canonical_form(trial)
        if self.level == "sample":
            del form["alpha"], form["part"]
        return form
