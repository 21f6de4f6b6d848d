"""Configurations of data sets that lie in files; `ibml.data.layouts` says how."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator

from ibml.common.errors import did_you_mean
from ibml.common.hashing import content_hash
from ibml.common.paths import DATA_VARIABLE
from ibml.config.base import Config, Items
from ibml.config.preprocessing import (
    AudioConfig,
    ColumnConfig,
    FramesConfig,
    ImageConfig,
    ModalityKind,
    PointsConfig,
    Preprocessing,
    RawImageConfig,
    TextConfig,
    ViewsConfig,
)

Share = Annotated[float, Field(ge=0.01, le=0.99)]


class DataPart(Config):
    """What every data set's configuration says of itself."""

    @property
    def all_kinds(self) -> dict[str, ModalityKind]:
        """Every modality that may have an encoder, used or not -> its kind."""
        raise NotImplementedError

    @property
    def modalities(self) -> tuple[str, ...]:
        """Those that the model sees, in this order."""
        return tuple(self.all_kinds)

    @property
    def kinds(self) -> dict[str, ModalityKind]:
        """Of the modalities that the model sees; one that there is not is among the inconsistencies."""
        every = self.all_kinds
        return {name: every[name] for name in self.modalities if name in every}

    def inconsistencies(self) -> list[tuple[tuple[str, ...], str]]:
        """Fields that do not fit together, by their paths in the trial's configuration."""
        return []

    def canonical(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        """What of it determines the result of a trial that sees these modalities, beside its content."""
        raise NotImplementedError

    def once_trained(self) -> Self:
        """The configuration for a model whose weights are at hand, which needs no files beside them."""
        return self


class ChosenModalities(DataPart):
    """A data set that has more than a model need see."""

    use: Annotated[Items[str], Field(min_length=1)] | None = None
    """Those of its modalities that the model sees, in this order; without it, all."""

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.use or tuple(self.all_kinds)

    def inconsistencies(self) -> list[tuple[tuple[str, ...], str]]:
        known, used = self.all_kinds, self.use or ()
        unknown = [f"no modality is called {name!r}{did_you_mean(name, known)}" for name in used if name not in known]
        twice = [f"{name!r} is listed twice" for name, times in Counter(used).items() if times > 1]
        return [(("data", "use"), message) for message in (*unknown, *twice)]


class FilesConfig(ChosenModalities):
    """What all data sets in files have."""

    type: str
    root: str | None = None
    """The data set's folder; without one, the folder of its type in IBML_DATA."""
    on_missing: Literal["stop", "skip"] = "stop"
    """What to do about samples that cannot be used: train nothing, or go on without them and say how many."""

    @property
    def parts(self) -> dict[str, Preprocessing]:
        """All modalities of the data set, with what they are made into."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: part for name, part in fields.items() if isinstance(part, Preprocessing)}

    @property
    def all_kinds(self) -> dict[str, ModalityKind]:
        return {name: part.kind for name, part in self.parts.items()}

    def folder(self) -> Path | None:
        """Where the data set is on this machine, if anything says so."""
        if self.root is not None:
            return Path(self.root)
        around = os.environ.get(DATA_VARIABLE)
        return Path(around) / self.type if around else None

    def once_trained(self) -> Self:
        return self.model_copy(update={name: part.without_files() for name, part in self.parts.items()})

    def canonical(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        plain = self.model_dump(mode="json", exclude={"root", "on_missing", *self.parts})
        plain["use"] = list(modalities)
        return plain | {name: _form(self.parts[name]) for name in modalities}


def _form(part: Preprocessing) -> dict[str, Any]:
    return {**part.model_dump(mode="json"), **{field: content_hash(path) for field, path in part.files.items()}}


class CarvedConfig(FilesConfig):
    """A data set without a validation split of its own: a stratified share of train, drawn by the trial's seed."""

    validation: Share = 0.1


class ClipsConfig(FilesConfig):
    """Clips with sound and frames."""

    audio: AudioConfig = AudioConfig()
    video: FramesConfig = FramesConfig()


class CaptionedConfig(FilesConfig):
    """Images with a text."""

    image: ImageConfig = ImageConfig()
    text: TextConfig = TextConfig()


class CremadConfig(ClipsConfig, CarvedConfig):
    """CREMA-D (Cao et al. 2014): 7,442 clips of actors who speak with one of 6 emotions."""

    type: Literal["cremad"] = "cremad"


class AVEConfig(ClipsConfig):
    """AVE (Tian et al. 2018): 4,143 clips of 28 audio-visual events."""

    type: Literal["ave"] = "ave"
    audio: AudioConfig = AudioConfig(rate=16_000, seconds=10.0, hop=159, spectrum="power", standardise=True)


class AVSBenchConfig(ClipsConfig):
    """AVSBench, single sounding source (Zhou et al. 2022)."""

    type: Literal["avsbench"] = "avsbench"


class VGGSoundConfig(ClipsConfig, CarvedConfig):
    """50 classes of VGGSound (Chen et al. 2020)."""

    type: Literal["vggsound"] = "vggsound"


class KineticsSoundsConfig(ClipsConfig, CarvedConfig):
    """Kinetics-Sounds (Arandjelovic & Zisserman 2017): clips of actions that can be seen and heard."""

    type: Literal["kinetics_sounds"] = "kinetics_sounds"


class UCF101Config(ClipsConfig, CarvedConfig):
    """UCF-101 (Soomro et al. 2012), those of its clips that have sound."""

    type: Literal["ucf101"] = "ucf101"
    fold: Literal[1, 2, 3] = 1
    """Which of the three official splits."""


class Food101Config(CaptionedConfig):
    """UPMC Food-101 (Wang et al. 2015): pictures of 101 dishes with the titles of the pages they are from."""

    type: Literal["food101"] = "food101"


class MVSAConfig(CaptionedConfig):
    """MVSA-Single (Niu et al. 2016): tweets with a picture, 3 sentiments."""

    type: Literal["mvsa"] = "mvsa"


class MNIST3DConfig(CarvedConfig):
    """3D MNIST: handwritten digits and point clouds made of them."""

    type: Literal["mnist3d"] = "mnist3d"
    image: RawImageConfig = RawImageConfig()
    points: PointsConfig = PointsConfig()


class ModelNet40Config(CarvedConfig):
    """ModelNet40 (Wu et al. 2015): 12,308 objects of 40 classes, as points and as rendered views."""

    type: Literal["modelnet40"] = "modelnet40"
    image: ViewsConfig = ViewsConfig()
    points: PointsConfig = PointsConfig(augment=True)


class FolderConfig(CarvedConfig):
    """Data of one's own: tables with a row per sample and a column per modality: CSV, whose header shows if the
    separator is a comma, a semicolon, a tab or a bar, or JSON lines. Paths in them are below the root."""

    type: Literal["folder"] = "folder"
    root: str
    tables: Annotated[dict[Literal["train", "val", "test"], str], Field(min_length=1)] | str
    """A table with a column that says the split, or a table per split; below the root."""
    split: str = "split"
    """The column that says the split: train, val (also dev, valid, validation) or test."""
    label: str = "label"
    id: str | None = None
    """The column that tells samples apart; without one, what a row's modalities are read from does."""
    columns: Annotated[dict[str, ColumnConfig], Field(min_length=1)]
    """Modality -> its kind, its column, and what it is made into."""

    @property
    def parts(self) -> dict[str, Preprocessing]:
        return dict(self.columns)

    def once_trained(self) -> Self:
        return self.model_copy(update={"columns": {name: part.without_files() for name, part in self.columns.items()}})

    @field_validator("columns")
    @classmethod
    def _names_are_plain(cls, columns: dict[str, ColumnConfig]) -> dict[str, ColumnConfig]:
        for name in columns:
            if not name.isidentifier():
                raise ValueError(f"{name!r} cannot name a modality; use letters, digits and '_'")
            if name in cls.model_fields:  # the canonical form has modalities beside these
                raise ValueError(f"{name!r} cannot name a modality, since it is a key of the data set itself")
        return columns

    def canonical(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        plain = super().canonical(modalities)
        for name in ("tables", "split", "label", "id", "columns"):  # what they find is in the fingerprint
            del plain[name]
        for name in modalities:
            del plain[name]["column"]
        return plain
