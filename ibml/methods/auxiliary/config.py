"""Configuration of auxiliary losses; see `ibml.methods.auxiliary.method` for the formulas."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Tag

from ibml.common.errors import format_suggestion
from ibml.config.base import FieldErrors, NonNegative
from ibml.config.methods.base import JOINT, Heads, WindowedMethodConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class AuxiliaryConfig(WindowedMethodConfig):
    """Joint loss plus a loss per modality, with one weight for all or one per modality."""

    implementation: ClassVar[str] = "ibml.methods.auxiliary.method:Auxiliary"
    type: Literal["auxiliary"] = "auxiliary"
    """Auxiliary unimodal losses, the uniform baseline of Wei & Hu (ICML 2024)."""
    weights: Annotated[
        Annotated[dict[str, NonNegative], Tag("(by modality)")]
        | Annotated[NonNegative, Tag("(all)")],
        Discriminator(lambda value: "(by modality)" if isinstance(value, dict) else "(all)"),
    ] = 1.0
    """Weight of each modality's loss: one number for all, or by modality (0 if not named)."""
    heads: Heads = "shared"
    """Logits of the unimodal losses: `shared`, the model's unimodal logits; `separate`, a linear
    head per modality, which is trained with the model and not evaluated."""

    def get_weight(self, modality: str) -> float:
        """Return the weight of a modality's loss; 0 if the weights do not name it."""
        return self.weights.get(modality, 0.0) if isinstance(self.weights, dict) else self.weights

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        """Return the errors of the base class, and one for each unknown modality in `weights`."""
        errors = super().find_field_errors(trial)
        known = trial.data.modalities
        named = self.weights if isinstance(self.weights, dict) else {}
        for name in named:
            if name not in known:
                message = f"no modality is called {name!r}{format_suggestion(name, known)}"
                errors.append((("method", "weights", name), message))
        return errors

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Return the canonical form with one weight per modality; joint if all are 0."""
        weights = {name: self.get_weight(name) for name in trial.data.modalities}
        if not any(weights.values()):
            return dict(JOINT)
        return super().build_canonical_form(trial) | {"weights": weights}
