"""Configurations of data sets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ibml.config.base import Config, Items
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

    def problems(self) -> list[tuple[tuple[str, ...], str]]:
        share = self.validation + self.test
        if share > 0.99:
            return [(("data", "test"), f"validation + test = {share:g} leaves too little to train on")]
        return []

    def canonical(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        """What of it determines the result of a trial that sees these modalities, beside its content."""
        return {**self.model_dump(mode="json"), "views": list(modalities)}


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
    | FolderConfig,
    Field(discriminator="type"),
]

__all__ = ["DataConfig", "FilesConfig", "MfeatConfig"]
