"""Unions of the built-in components of each registry and the plug-ins, as annotations of `TrialConfig`'s fields.

The members are known at run time; type checkers see the base classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from ibml.config.base import Count
from ibml.config.encoders import KINDS, USUAL_TYPE, EncoderPart
from ibml.config.fusion import FusionPart
from ibml.config.methods.base import MethodPart
from ibml.config.plugins import Kind, PluginConfig
from ibml.config.registry import ENCODERS, FUSIONS, METHODS, create, load_union

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class MethodPluginConfig(PluginConfig, MethodPart):
    """A method of another package."""

    kind: ClassVar[Kind] = "method"

    def canonical(self, trial: TrialConfig) -> dict[str, Any]:
        return super().canonical(trial) | {"target": self.resolved_target}


class FusionPluginConfig(PluginConfig, FusionPart):
    """A fusion of another package."""

    kind: ClassVar[Kind] = "fusion"

    def canonical(self, trial: TrialConfig) -> dict[str, Any]:
        return super().canonical(trial) | {"target": self.resolved_target}


class EncoderPluginConfig(EncoderPart, PluginConfig):
    """An encoder of another package."""

    takes = frozenset(KINDS)
    kind: ClassVar[Kind] = "encoder"
    features: Count = 64
    """Number of features, which the plug-in is constructed with."""

    def canonical(self) -> dict[str, Any]:
        return super().canonical() | {"target": self.resolved_target}

    def arguments(self, spec: Any) -> tuple[Any, ...]:
        return self.typed_options, spec.shape, self.features


def _with_type(encoder: Any) -> Any:
    return {"type": USUAL_TYPE, **encoder} if isinstance(encoder, dict) else encoder


if TYPE_CHECKING:
    MethodConfig = MethodPart
    FusionConfig = FusionPart
    EncoderConfig = EncoderPart
else:
    MethodConfig = load_union(METHODS, MethodPluginConfig)
    FusionConfig = load_union(FUSIONS, FusionPluginConfig)
    EncoderConfig = Annotated[
        load_union(ENCODERS, EncoderPluginConfig), BeforeValidator(_with_type)
    ]

Encoders = Annotated[
    dict[str, EncoderConfig],
    Field(default_factory=lambda: {"default": create(ENCODERS, USUAL_TYPE)}),
]
"""An encoder per modality; `default` serves the modalities that have none of their own."""
