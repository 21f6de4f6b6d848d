"""Discriminated unions of built-in components and plug-ins, for the fields of `TrialConfig`.

The members are known at run time; type checkers see the base classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from ibml.config.base import Count
from ibml.config.components.registry import ENCODERS, FUSIONS, METHODS, create_default, load_union
from ibml.config.encoders import DEFAULT_ENCODER_TYPE, KINDS, BaseEncoderConfig
from ibml.config.fusion import BaseFusionConfig
from ibml.config.methods.base import BaseMethodConfig
from ibml.config.plugins.plugin_config import ComponentKind, PluginConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class MethodPluginConfig(PluginConfig, BaseMethodConfig):
    """A method of another package."""

    kind: ClassVar[ComponentKind] = "method"

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Return the canonical form with the entry point resolved to `module:Class`."""
        return super().build_canonical_form(trial) | {"target": self.resolved_target}


class FusionPluginConfig(PluginConfig, BaseFusionConfig):
    """A fusion of another package."""

    kind: ClassVar[ComponentKind] = "fusion"

    def build_canonical_form(self, trial: TrialConfig) -> dict[str, Any]:
        """Return the canonical form with the entry point resolved to `module:Class`."""
        return super().build_canonical_form(trial) | {"target": self.resolved_target}


class EncoderPluginConfig(BaseEncoderConfig, PluginConfig):
    """An encoder of another package."""

    takes = frozenset(KINDS)
    kind: ClassVar[ComponentKind] = "encoder"
    features: Count = 64
    """Number of output features, passed to the plug-in's constructor."""

    def build_canonical_form(self) -> dict[str, Any]:
        """Return the canonical form with the entry point resolved to `module:Class`."""
        return super().build_canonical_form() | {"target": self.resolved_target}

    def build_arguments(self, spec: Any) -> tuple[Any, ...]:
        """Return the plug-in's options, the shape of one sample and the number of features."""
        return self.typed_options, spec.shape, self.features


def _add_default_type(encoder: Any) -> Any:
    return {"type": DEFAULT_ENCODER_TYPE, **encoder} if isinstance(encoder, dict) else encoder


if TYPE_CHECKING:
    MethodConfig = BaseMethodConfig
    FusionConfig = BaseFusionConfig
    EncoderConfig = BaseEncoderConfig
else:
    MethodConfig = load_union(METHODS, MethodPluginConfig)
    FusionConfig = load_union(FUSIONS, FusionPluginConfig)
    EncoderConfig = Annotated[
        load_union(ENCODERS, EncoderPluginConfig), BeforeValidator(_add_default_type)
    ]

Encoders = Annotated[
    dict[str, EncoderConfig],
    Field(default_factory=lambda: {"default": create_default(ENCODERS, DEFAULT_ENCODER_TYPE)}),
]
"""Modality -> encoder; `default` is for modalities without an entry."""
