"""Configuration of training on one modality. `ibml.methods.unimodal.method` has the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ibml.common.errors import format_suggestion
from ibml.config.base import Findings
from ibml.config.methods.base import MethodPart

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class UnimodalConfig(MethodPart):
    """One modality alone: its encoder and a linear head."""

    implementation: ClassVar[str] = "ibml.methods.unimodal.method:Unimodal"
    type: Literal["unimodal"] = "unimodal"
    """One modality alone."""
    modality: str
    """The name of the modality that the model sees; the others are not read."""

    @property
    def only_modality(self) -> str:
        return self.modality

    def acting(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        return self.canonical(trial)

    def inconsistencies(self, trial: TrialConfig) -> Findings:
        known = trial.data.modalities
        if self.modality in known:
            return []
        message = (
            f"no modality is called {self.modality!r}{format_suggestion(self.modality, known)}"
        )
        return [(("method", "modality"), message)]
