"""Configurations of data sets."""

from __future__ import annotations

from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import Field, field_validator, model_validator

from ibml.common.errors import did_you_mean
from ibml.config.base import Items
from ibml.config.datasets import (
    AVEConfig,
    AVSBenchConfig,
    ChosenModalities,
    CremadConfig,
    DataPart,
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
from ibml.config.failures import in_a_line
from ibml.config.plugins import Kind, PluginConfig, resolved
from ibml.config.preprocessing import ModalityKind

View = Literal["fou", "fac", "kar", "pix", "zer", "mor"]


class MfeatConfig(DataPart):
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
    def all_kinds(self) -> dict[str, ModalityKind]:
        return dict.fromkeys(self.views, "vector")

    def inconsistencies(self) -> list[tuple[tuple[str, ...], str]]:
        share = self.validation + self.test
        if share > 0.99:
            return [(("data", "test"), f"validation + test = {share:g} leaves too little to train on")]
        return []

    def canonical(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        return {**self.model_dump(mode="json"), "views": list(modalities)}


class DataPluginConfig(ChosenModalities, PluginConfig):
    """A data set of another package."""

    kind: ClassVar[Kind] = "dataset"

    @cached_property
    def all_kinds(self) -> dict[str, ModalityKind]:  # kept, since each look makes the plug-in's object anew
        try:
            return dict(self.load_implementation()(self.typed_options).kinds)
        except Exception as error:  # noqa: BLE001
            raise ValueError(f"{self.target}.kinds fails: {in_a_line(error)}") from None

    @model_validator(mode="after")
    def _kinds_are_known(self) -> Self:
        known = get_args(ModalityKind)
        for name, kind in self.all_kinds.items():
            if kind not in known:
                raise ValueError(f"{self.target} has {name!r} of kind {kind!r}{did_you_mean(str(kind), known)}")
        return self

    def canonical(self, modalities: tuple[str, ...]) -> dict[str, Any]:
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
