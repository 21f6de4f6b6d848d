"""`TrialConfig`: everything that determines one trial's result."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from ibml.common.errors import format_suggestion
from ibml.config.base import Config, FieldErrors, InconsistentConfig
from ibml.config.component_unions import EncoderConfig, Encoders, FusionConfig, MethodConfig
from ibml.config.components.registry import FUSIONS, METHODS, create_default
from ibml.config.data import DataConfig
from ibml.config.fusion import BaseFusionConfig
from ibml.config.methods.base import JOINT, MAX_SUBSET_MODALITIES, WindowedMethodConfig
from ibml.config.optimization import (
    ConstantScheduleConfig,
    OptimizerConfig,
    ScheduleConfig,
    SGDConfig,
    TrainerConfig,
)
from ibml.config.plugins.plugin_config import PluginConfig


class TrialConfig(Config):
    """One trial: data, model, method, optimisation and seed.

    The constructor raises pydantic's `ValidationError` for invalid fields and for fields that do
    not fit together.

    Example:
        >>> config = TrialConfig.model_validate({"data": {"type": "mfeat"}, "seed": 1})
        >>> config.modalities
        ('pix', 'zer')
        >>> config.method.type
        'ibml'
    """

    data: DataConfig
    """Data set, its split and preprocessing."""
    encoders: Encoders
    """Encoder of each modality; `default` is for modalities without an entry."""
    fusion: FusionConfig = create_default(FUSIONS, "concat")
    """Fusion, which combines the features of the modalities into logits."""
    method: MethodConfig = create_default(METHODS, "ibml")
    """Balancing method."""
    optimizer: OptimizerConfig = SGDConfig()
    """Optimizer of all parameters."""
    schedule: ScheduleConfig = ConstantScheduleConfig()
    """Schedule of the learning rate over epochs."""
    trainer: TrainerConfig = TrainerConfig()
    """Training loop."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of all random numbers of the trial: split, initialisation, order, noise, dropout."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that the model sees, in the order of the data."""
        only = self.method.only_modality
        return self.data.modalities if only is None else (only,)

    @property
    def effective_method(self) -> MethodConfig:
        """Method that trains; joint training in place of a method that acts in no epoch."""
        if self.method.is_active_in(self.trainer.epochs):
            return self.method
        joint: MethodConfig = create_default(METHODS, "joint")
        return joint

    @property
    def notes(self) -> list[str]:
        """Warnings about settings that are valid but probably unintended."""
        method = self.method
        epochs = self.trainer.epochs
        if (
            not isinstance(method, WindowedMethodConfig)
            or method.is_active_in(epochs)
            or method.build_canonical_form(self) == JOINT
        ):
            return []
        first = method.window.first_epoch
        unit = "epochs" if epochs > 1 else "epoch"
        return [
            f"{method.type} acts from epoch {first} on (method.window.first_epoch, from 0),"
            f" and training has {epochs} {unit}; it is plain joint training"
        ]

    @property
    def head(self) -> BaseFusionConfig:
        """Component that maps features to logits.

        This is the head of the method if it has one, else the fusion. Unimodal models have a linear
        head.
        """
        if len(self.modalities) > 1:
            return self.effective_method.head or self.fusion
        linear: BaseFusionConfig = create_default(FUSIONS, "concat")
        return linear

    @property
    def trained_epochs(self) -> int:
        """Number of epochs of the complete trial, including additional epochs of the method."""
        return self.count_trained_epochs(self.trainer.epochs)

    def count_trained_epochs(self, epochs: int) -> int:
        """Return the number of epochs trained so far, including additional epochs of the method.

        Args:
            epochs: Number of completed epochs of the trial.

        Returns:
            `epochs`, and the additional epochs of the method until then.
        """
        return epochs + self.effective_method.count_extra_epochs(self, epochs)

    def get_encoder(self, modality: str) -> EncoderConfig:
        """Return the encoder of a modality: its own, or the default."""
        return self.encoders.get(modality) or self.encoders["default"]

    def for_inference(self) -> TrialConfig:
        """Return this configuration without the files that only training needs."""
        encoders = {name: part.for_inference() for name, part in self.encoders.items()}
        return self.model_copy(update={"data": self.data.for_inference(), "encoders": encoders})

    @model_validator(mode="before")
    @classmethod
    def _fill_types(cls, data: Any) -> Any:
        """Add the default `type` to components without one."""
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        for name, field in cls.model_fields.items():
            part = data.get(name)
            default_type = getattr(field.default, "type", None)
            if default_type is not None and isinstance(part, dict) and "type" not in part:
                filled[name] = {"type": default_type, **part}
        return filled

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        findings = self.data.find_field_errors() + _find_encoder_errors(self)
        findings += self.fusion.find_field_errors(self) + _find_plugin_errors(self)
        findings += self.method.find_field_errors(self) + _find_measure_errors(self)
        if findings:
            raise InconsistentConfig(findings)
        return self


def _find_encoder_errors(config: TrialConfig) -> FieldErrors:
    known = (*config.data.all_kinds, "default")
    findings: FieldErrors = []
    for name in config.encoders:
        if name not in known:
            hint = format_suggestion(name, known)
            findings.append((("encoders", name), f"no modality is called {name!r}{hint}"))
    missing = [name for name in config.data.modalities if name not in config.encoders]
    if missing and "default" not in config.encoders:
        findings.append((("encoders",), f"no encoder for {', '.join(missing)}, and no default"))
        return findings
    for name, kind in config.data.kinds.items():
        place = ("encoders", name if name in config.encoders else "default")
        for below, message in config.get_encoder(name).find_field_errors(name, kind):
            findings.append(((*place, *below), message))
    return findings


def _find_measure_errors(config: TrialConfig) -> FieldErrors:
    if "shapley" in config.trainer.measures and len(config.modalities) > MAX_SUBSET_MODALITIES:
        message = (
            "shapley asks for every subset of the modalities,"
            f" of which there may be {MAX_SUBSET_MODALITIES}"
        )
        return [(("trainer", "measures"), message)]
    return []


def _find_plugins(config: TrialConfig) -> dict[tuple[str, ...], PluginConfig]:
    """Return the plug-ins that a trial uses, by the paths of their components."""
    parts: dict[tuple[str, ...], Any] = {}
    for name, encoder in config.encoders.items():
        parts[("encoders", name)] = encoder
    parts[("data",)] = config.data
    parts[("method",)] = config.method
    if config.head is config.fusion:
        parts[("fusion",)] = config.fusion
    return {path: part for path, part in parts.items() if isinstance(part, PluginConfig)}


def _find_plugin_errors(config: TrialConfig) -> FieldErrors:
    findings: FieldErrors = []
    for path, part in _find_plugins(config).items():
        findings += [((*path, "target"), problem) for problem in part.problems(config)]
    return findings


def build_canonical_form(config: TrialConfig) -> dict[str, Any]:
    """Return the configuration as plain data, without the parts that cannot influence the result.

    Two configurations with equal canonical forms train the same model, bit for bit, on the same
    kind of machine. In particular:

    - a method without effect, or that acts in no epoch, is `joint`;
    - a unimodal model has no fusion;
    - the name of an entry point is replaced by its class;
    - a file is replaced by the hash of its content.

    Args:
        config: The trial.

    Returns:
        The canonical form, which the trial key hashes.
    """
    plain = config.model_dump(mode="json")
    encoders = {}
    for name in config.modalities:
        encoders[name] = config.get_encoder(name).build_canonical_form()
    plain["encoders"] = encoders
    for name in config.trainer.without_effect:
        del plain["trainer"][name]
    plain["data"] = config.data.build_canonical_form(config.modalities)
    plain["method"] = config.effective_method.build_canonical_form(config)
    if config.head is config.fusion:
        plain["fusion"] = config.fusion.build_canonical_form(config)
    else:
        del plain["fusion"]
    return plain


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Flatten nested mappings to dotted paths.

    Args:
        tree: Nested mappings.
        prefix: Prefix of all paths.

    Returns:
        Dotted path -> value.

    Example:
        >>> flatten({"a": {"b": 1}})
        {'a.b': 1}
    """
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
