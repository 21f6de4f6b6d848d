"""Configurations of data sets."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from ibml.config.base import Config, Items, did_you_mean
from ibml.config.datasets import (
    AVEConfig,
    AVSBenchConfig,
    CremadConfig,
    FilesConfig,
    FolderConfig,
    Food101Config,
    KineticsSoundsConfig,
    MNIST3DConfig,
    ModelNet40Config,
    MVSAConfig,
    Share,
    UCF101Config,
    VGGSoundConfig,
)
from ibml.config.plugins import Kind, PluginConfig, resolved

View = Literal["fou", "fac", "kar", "pix", "zer", "mor"]


class MfeatConfig(Config):
    """UCI Multiple Features: 2,000 handwritten digits, 10 classes, six views; ships with ibml.

    The split is stratified and drawn by the trial's seed; what is neither validation nor test is
    training data.
    """

    type: Literal["mfeat"] = "mfeat"
    views: Annotated[Items[View], Field(min_length=2)] = ("pix", "zer")
    validation: Share = 0.1
    test: Share = 0.3

    @field_validator("views")
    @classmethod
    def _each_view_once(cls, views: tuple[View, ...]) -> tuple[View, ...]:
        if len(set(views)) < len(views):
            raise ValueError("a view is listed twice")
        return views

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.views

    @property
    def all_modalities(self) -> tuple[str, ...]:
        """Those that may have an encoder."""
        return self.views

    @property
    def kinds(self) -> dict[str, str]:
        """Modality -> what it is, which decides the encoders that fit."""
        return dict.fromkeys(self.views, "vector")

    def once_trained(self) -> Self:
        """The configuration for a model whose weights are at hand."""
        return self

    def inconsistencies(self) -> list[tuple[tuple[str, ...], str]]:
        share = self.validation + self.test
        if share > 0.99:
            return [(("data", "test"), f"validation + test = {share:g} leaves too little to train on")]
        return []

    def canonical(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        """What of it determines the result of a trial that sees these modalities, beside its content."""
        return {**self.model_dump(mode="json"), "views": list(modalities)}


class DataPluginConfig(PluginConfig):
    """A data set of another package."""

    kind: ClassVar[Kind] = "dataset"
    use: Annotated[Items[str], Field(min_length=1)] | None = None
    """Those of its modalities that the model sees, in this order; without it, all."""

    @property
    def _all(self) -> dict[str, str]:
        return dict(self.implementation(self.typed_options).kinds)

    @property
    def all_modalities(self) -> tuple[str, ...]:
        """Those that may have an encoder, whether they are used or not."""
        return tuple(self._all)

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.use or self.all_modalities

    @property
    def kinds(self) -> dict[str, str]:
        """Modality -> what it is, which decides the encoders that fit."""
        known = self._all
        return {name: known[name] for name in self.modalities if name in known}

    def once_trained(self) -> Self:
        """The configuration for a model whose weights are at hand."""
        return self

    def inconsistencies(self) -> list[tuple[tuple[str, ...], str]]:
        known = self.all_modalities
        unknown = [name for name in self.use or () if name not in known]
        return [(("data", "use"), f"no modality is called {name!r}{did_you_mean(name, known)}") for name in unknown]

    def canonical(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        """What of it determines the result of a trial that sees these modalities, beside its content."""
        target = resolved(self.kind, self.target)
        return {**self.model_dump(mode="json"), "target": target, "use": list(modalities)}


DataConfig = Annotated[
    MfeatConfig
    | CremadConfig
    | AVEConfig
    | AVSBenchConfig
    | VGGSoundConfig
    | KineticsSoundsConfig
    | UCF101Config
    | Food101Config
    | MVSAConfig
    | MNIST3DConfig
    | ModelNet40Config
    | FolderConfig
    | DataPluginConfig,
    Field(discriminator="type"),
]

__all__ = ["DataConfig", "DataPluginConfig", "FilesConfig", "MfeatConfig"]
