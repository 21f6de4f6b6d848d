"""Base classes of the configurations of fusions: features of M modalities -> logits.

The configurations are in `ibml.models.fusions.<name>.config`; heads that a method brings in place of a fusion are in
the method's folder.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ibml.common.errors import format_suggestion
from ibml.config.base import FieldErrors
from ibml.config.components.component import ComponentConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class BaseFusionConfig(ComponentConfig):
    """Base class of the configurations of fusions. The implementation is called with (options, modalities, widths,
    classes), `widths` of the features by modality."""

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        """Return what of the trial the fusion cannot be used with."""
        return []

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Return everything in this configuration that determines the result, as plain data."""
        plain: dict[str, Any] = self.model_dump(mode="json")
        return plain


class ConditionedFusionConfig(BaseFusionConfig):
    """A fusion in which one modality, the `condition`, acts on the features of the others."""

    if TYPE_CHECKING:

        @property
        def condition(self) -> str:
            """`first`, `last` or the name of a modality. Each class has it as a field."""

    def find_position(self, modalities: Sequence[str]) -> int:
        """Return the position of the conditioning modality."""
        ends = {"first": 0, "last": len(modalities) - 1}
        return (
            ends[self.condition]
            if self.condition in ends
            else list(modalities).index(self.condition)
        )

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        names = trial.data.modalities
        if self.condition in ("first", "last", *names):
            return []
        hint = format_suggestion(self.condition, ["first", "last", *names])
        return [(("fusion", "condition"), f"no modality is called {self.condition!r}{hint}")]

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        names = trial.data.modalities
        ends = {"first": names[0], "last": names[-1]}
        return super().build_canonical_form(trial) | {
            "condition": ends.get(self.condition, self.condition)
        }
