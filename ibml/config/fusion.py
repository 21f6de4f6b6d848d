"""Base classes of fusion configurations: features of M modalities -> logits.

The configurations are in `ibml.models.fusions.<name>.config`. Heads with which a method replaces
the fusion are in the folder of the method.
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
    """Base class of fusion configurations.

    The constructor of the implementation is called with (options, modalities, widths, classes),
    where `widths` maps each modality to its number of features.
    """

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        """Return the fields of the trial that this fusion cannot be combined with."""
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
            """`first`, `last` or the name of a modality; every subclass declares it as a field."""

    def find_position(self, modalities: Sequence[str]) -> int:
        """Return the position of the conditioning modality in `modalities`."""
        ends = {"first": 0, "last": len(modalities) - 1}
        if self.condition in ends:
            return ends[self.condition]
        return list(modalities).index(self.condition)

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        """Return an error if the conditioning modality does not exist."""
        names = trial.data.modalities
        if self.condition in ("first", "last", *names):
            return []
        hint = format_suggestion(self.condition, ["first", "last", *names])
        return [(("fusion", "condition"), f"no modality is called {self.condition!r}{hint}")]

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Return the canonical form with the name of the conditioning modality."""
        names = trial.data.modalities
        ends = {"first": names[0], "last": names[-1]}
        condition = ends.get(self.condition, self.condition)
        return super().build_canonical_form(trial) | {"condition": condition}
