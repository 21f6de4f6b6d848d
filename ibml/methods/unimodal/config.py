"""Configuration of training on one modality; see `ibml.methods.unimodal.method`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ibml.common.errors import format_suggestion
from ibml.config.base import FieldErrors
from ibml.config.methods.base import BaseMethodConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class UnimodalConfig(BaseMethodConfig):
    """Training on one modality: its encoder and a linear head."""

    implementation: ClassVar[str] = "ibml.methods.unimodal.method:Unimodal"
    type: Literal["unimodal"] = "unimodal"
    """Training on one modality."""
    modality: str
    """Name of the modality to train on; the others are not read."""

    @property
    def only_modality(self) -> str:
        """Name of the modality to train on."""
        return self.modality

    def get_epoch_inputs(self, trial: TrialConfig, epoch: int) -> dict[str, Any]:
        """Return the canonical form, which affects every epoch."""
        return self.build_canonical_form(trial)

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        """Return an error if the data has no such modality."""
        known = trial.data.modalities
        if self.modality in known:
            return []
        suggestion = format_suggestion(self.modality, known)
        message = f"no modality is called {self.modality!r}{suggestion}"
        return [(("method", "modality"), message)]
