"""Configuration of auxiliary losses. `ibml.methods.auxiliary.method` has the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Tag

from ibml.common.errors import format_suggestion
from ibml.config.base import FieldErrors, NonNegative
from ibml.config.methods.base import JOINT, Heads, WindowedMethodConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class AuxiliaryConfig(WindowedMethodConfig):
    """Every modality's own loss beside the joint one, weighted alike or by modality."""

    implementation: ClassVar[str] = "ibml.methods.auxiliary.method:Auxiliary"
    type: Literal["auxiliary"] = "auxiliary"
    """Auxiliary unimodal losses, the uniform baseline of Wei & Hu (ICML 2024)."""
    weights: Annotated[
        Annotated[dict[str, NonNegative], Tag("(by modality)")]
        | Annotated[NonNegative, Tag("(all)")],
        Discriminator(lambda value: "(by modality)" if isinstance(value, dict) else "(all)"),
    ] = 1.0
    """Weight of each modality's own loss: one number for all modalities, or by modality (0 for one not named)."""
    heads: Heads = "shared"
    """Logits of the own losses: `shared`, the model's unimodal logits; `separate`, a linear head per modality, which is
    trained along and not evaluated."""

    def get_weight(self, modality: str) -> float:
        """Return the weight of a modality's own loss."""
        return self.weights.get(modality, 0.0) if isinstance(self.weights, dict) else self.weights

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        known = trial.data.modalities
        named = self.weights if isinstance(self.weights, dict) else {}
        return super().find_field_errors(trial) + [
            (
                ("method", "weights", name),
                f"no modality is called {name!r}{format_suggestion(name, known)}",
            )
            for name in named
            if name not in known
        ]

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        weights = {name: self.get_weight(name) for name in trial.data.modalities}
        return (
            super().build_canonical_form(trial) | {"weights": weights}
            if any(weights.values())
            else dict(JOINT)
        )
