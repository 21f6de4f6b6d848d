"""Configuration of OGM-GE; see `ibml.methods.ogm_ge.method` for the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ibml.config.base import NonNegative
from ibml.config.methods.base import JOINT, ComparingMethodConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class OGMGEConfig(ComparingMethodConfig):
    """On-the-fly gradient modulation with generalization enhancement (Peng et al., CVPR 2022)."""

    implementation: ClassVar[str] = "ibml.methods.ogm_ge.method:OGMGE"
    type: Literal["ogm_ge"] = "ogm_ge"
    """OGM-GE (Peng et al., CVPR 2022)."""
    alpha: NonNegative = 0.3
    """Strength of the modulation: gradients of a leading encoder are scaled by
    1 - tanh(alpha ratio); 0 disables it."""
    ge: bool = True
    """Generalization enhancement: add Gaussian noise with the gradient's own standard deviation."""

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Return the canonical form; joint if neither modulation nor noise is on."""
        return super().build_canonical_form(trial) if self.ge or self.alpha else dict(JOINT)
