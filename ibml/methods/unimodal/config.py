"""Configuration of training on one modality. `ibml.methods.unimodal.method` has the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ibml.common.errors import format_suggestion
from ibml.config.base import FieldErrors
from ibml.config.methods.base import BaseMethodConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class UnimodalConfig(BaseMethodConfig):
    """One modality alone: its encoder and a linear head."""

    implementation: ClassVar[str] = "ibml.methods.unimodal.method:Unimodal"
    type: Literal["unimodal"] = "unimodal"
    """One modality alone."""
    modality: str
    """The name of the modality that the model sees; the others are not read."""

    @property
    def only_modality(self) -> str:
        return self.modality

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        return self.build_canonical_form(trial)

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        known = trial.data.modalities
        if self.modality in known:
            return []
        message = (
            f"no modality is called {self.modality!r}{format_suggestion(self.modality, known)}"
        )
        return [(("method", "modality"), message)]
