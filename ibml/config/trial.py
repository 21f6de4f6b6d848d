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

    Raises pydantic's `ValidationError` for a field that is wrong or for fields that do not fit together.
    """

    data: DataConfig
    """The data set, its split and preprocessing."""
    encoders: Encoders
    """The encoder of each modality; `default` serves the modalities without their own."""
    fusion: FusionConfig = create_default(FUSIONS, "concat")
    """Combines the features of the modalities into logits."""
    method: MethodConfig = create_default(METHODS, "ibml")
    """The balancing method."""
    optimizer: OptimizerConfig = SGDConfig()
    """The optimizer of all parameters."""
    schedule: ScheduleConfig = ConstantScheduleConfig()
    """The schedule of the learning rate over epochs."""
    trainer: TrainerConfig = TrainerConfig()
    """The training loop."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of every random number of the trial: split, initialisation, order, noise, dropout."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """The modalities that the model sees, in the order of the data."""
        only = self.method.only_modality
        return self.data.modalities if only is None else (only,)

    @property
    def effective_method(self) -> MethodConfig:
        """The method that trains: plain joint training in place of a method that acts in no epoch."""
        acts = self.method.is_active_in(self.trainer.epochs)
        return self.method if acts else create_default(METHODS, "joint")

    @property
    def notes(self) -> list[str]:
        """What is allowed in the configuration, but probably not meant."""
        method, epochs = self.method, self.trainer.epochs
        if (
            not isinstance(method, WindowedMethodConfig)
            or method.is_active_in(epochs)
            or method.build_canonical_form(self) == JOINT
        ):
            return []
        begins = f"{method.type} acts from epoch {method.window.first_epoch} on (method.window.first_epoch, from 0)"
        return [
            f"{begins}, and training has {epochs} epoch{'s' if epochs > 1 else ''}; it is plain joint training"
        ]

    @property
    def head(self) -> BaseFusionConfig:
        """What makes logits of features: the method's own head, of one modality a linear one, else the fusion."""
        if len(self.modalities) > 1:
            return self.effective_method.head or self.fusion
        linear: BaseFusionConfig = create_default(FUSIONS, "concat")
        return linear

    @property
    def trained_epochs(self) -> int:
        """How many epochs it trains, those that its method needs beside its own included."""
        return self.count_trained_epochs(self.trainer.epochs)

    def count_trained_epochs(self, epochs: int) -> int:
        """The same when so many of its own are done."""
        return epochs + self.effective_method.count_extra_epochs(self, epochs)

    def get_encoder(self, modality: str) -> EncoderConfig:
        return self.encoders.get(modality) or self.encoders["default"]

    def for_inference(self) -> TrialConfig:
        """The configuration that builds the model again where its weights are at hand."""
        encoders = {name: part.for_inference() for name, part in self.encoders.items()}
        return self.model_copy(update={"data": self.data.for_inference(), "encoders": encoders})

    @model_validator(mode="before")
    @classmethod
    def _types_have_defaults(cls, data: Any) -> Any:
        """A component that is given without a `type` is of the type it would have if it were not given."""
        if not isinstance(data, dict):
            return data
        filled = dict(data)
        for name, field in cls.model_fields.items():
            part, usual = data.get(name), getattr(field.default, "type", None)
            if usual is not None and isinstance(part, dict) and "type" not in part:
                filled[name] = {"type": usual, **part}
        return filled

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        findings = self.data.find_field_errors() + _find_encoder_errors(self)
        findings += self.fusion.find_field_errors(self) + _find_plugin_errors(self)
        findings += self.method.find_field_errors(self) + _find_measure_errors(self)
        if findings:
            raise InconsistentConfig(findings)
        return self


def _find_encoder_errors(config: TrialConfig) -> FieldErrors:
    names = config.data.modalities
    known = (*config.data.all_kinds, "default")
    findings: FieldErrors = [
        (("encoders", name), f"no modality is called {name!r}{format_suggestion(name, known)}")
        for name in config.encoders
        if name not in known
    ]
    missing = [name for name in names if name not in config.encoders]
    if missing and "default" not in config.encoders:
        findings.append((("encoders",), f"no encoder for {', '.join(missing)}, and no default"))
        return findings
    for name, kind in config.data.kinds.items():
        place = ("encoders", name if name in config.encoders else "default")
        encoder = config.get_encoder(name)
        findings += [
            ((*place, *below), message) for below, message in encoder.find_field_errors(name, kind)
        ]
    return findings


def _find_measure_errors(config: TrialConfig) -> FieldErrors:
    if "shapley" in config.trainer.measures and len(config.modalities) > MAX_SUBSET_MODALITIES:
        message = f"shapley asks for every subset of the modalities, of which there may be {MAX_SUBSET_MODALITIES}"
        return [(("trainer", "measures"), message)]
    return []


def _find_plugins(config: TrialConfig) -> dict[tuple[str, ...], PluginConfig]:
    """The plug-ins that a trial uses, by the paths of their components."""
    parts: dict[tuple[str, ...], Any] = {
        ("encoders", name): part for name, part in config.encoders.items()
    }
    parts |= {("data",): config.data, ("method",): config.method}
    if config.head is config.fusion:
        parts[("fusion",)] = config.fusion
    return {path: part for path, part in parts.items() if isinstance(part, PluginConfig)}


def _find_plugin_errors(config: TrialConfig) -> FieldErrors:
    return [
        ((*path, "target"), problem)
        for path, part in _find_plugins(config).items()
        for problem in part.problems(config)
    ]


def build_canonical_form(config: TrialConfig) -> dict[str, Any]:
    """The configuration as plain data, without the parts that cannot influence the result.

    Two configurations with the same canonical form train the same model, bit for bit, on the same kind of machine: an
    `ibml` whose parts are off or that acts in no epoch is `joint`, one modality alone has no fusion, the name of an
    entry point is the class that it stands for, and a file is what is in it, wherever it is.
    """
    plain = config.model_dump(mode="json")
    plain["encoders"] = {
        name: config.get_encoder(name).build_canonical_form() for name in config.modalities
    }
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
    """Nested mappings as one of dotted paths: {"a": {"b": 1}} -> {"a.b": 1}."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat
