"""Configuration of PMR; see `ibml.methods.pmr.method` for the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from ibml.config.base import NonNegative
from ibml.config.methods.base import JOINT, ComparingMethodConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class PMRConfig(ComparingMethodConfig):
    """Prototypical modal rebalance (Fan et al., CVPR 2023)."""

    implementation: ClassVar[str] = "ibml.methods.pmr.method:PMR"
    type: Literal["pmr"] = "pmr"
    """PMR (Fan et al., CVPR 2023)."""
    alpha: NonNegative = 1.0
    """Weight of the prototype loss of lagging modalities; 0 is joint training."""
    momentum: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Share of the old prototypes in the new ones, from 0 to 1."""
    coefficient: Literal["paper", "release"] = "paper"
    """Weight of a lagging modality: `paper`, by its lag, at most 1; `release`, 1 as in the authors'
    program."""

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Return the canonical form; joint if alpha is 0."""
        return super().build_canonical_form(trial) if self.alpha else dict(JOINT)
