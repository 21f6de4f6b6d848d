"""Configuration of MMPareto; see `ibml.methods.mmpareto.method` for the formulas."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.base import Positive
from ibml.config.methods.base import ComparingMethodConfig, Heads


class MMParetoConfig(ComparingMethodConfig):
    """Pareto integration of joint and unimodal gradients (Wei & Hu, ICML 2024)."""

    implementation: ClassVar[str] = "ibml.methods.mmpareto.method:MMPareto"
    type: Literal["mmpareto"] = "mmpareto"
    """MMPareto (Wei & Hu, ICML 2024)."""
    gamma: Positive = 1.5
    """Factor of the integrated gradient of each encoder, above 0."""
    heads: Heads = "separate"
    """Logits of the unimodal losses: `shared`, the model's unimodal logits; `separate`, a linear
    head per modality, which is trained with the model and not evaluated."""
