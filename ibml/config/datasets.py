"""Base classes of data set configurations; each data set has its own in `ibml.data.sets`."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field

from ibml.common.errors import format_suggestion
from ibml.common.hashing import hash_content
from ibml.common.paths import DATA_VARIABLE
from ibml.config.base import Items
from ibml.config.components.component import ComponentConfig
from ibml.config.preprocessing import (
    AudioConfig,
    FramesConfig,
    ImageConfig,
    ModalityKind,
    Preprocessing,
    TextConfig,
)

Family = Literal["audio-visual", "image-text", "2D-3D", "vectors", "your own"]


@dataclass(frozen=True)
class CatalogueEntry:
    """Catalogue entry of a data set, which `ibml data list` shows."""

    family: Family
    title: str
    rows: str
    """Samples of the papers' splits: train / val / test."""
    source: str
    """Address from which the data set is available."""
    licence: str


Share = Annotated[float, Field(ge=0.01, le=0.99)]


class BaseDataConfig(ComponentConfig):
    """Configuration of a data set.

    `implementation` names the `ibml.data.base.Source` that reads it.
    """

    about: ClassVar[CatalogueEntry]
    """Catalogue entry; plug-ins have none."""

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

    def find_field_errors(self) -> list[tuple[tuple[str, ...], str]]:
        """Fields that do not fit together, by their paths in the trial's configuration."""
        return []

    def build_canonical_form(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        """What of it determines the result of a trial that sees these modalities, beside its content."""
        raise NotImplementedError

    def for_inference(self) -> Self:
        """The configuration for a model whose weights are at hand, which needs no files beside them."""
        return self


class ModalitySubsetConfig(BaseDataConfig):
    """A data set that has more than a model need see."""

    use: Annotated[Items[str], Field(min_length=1)] | None = None
    """Modalities that the model sees, in this order; null: all of them."""

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.use or tuple(self.all_kinds)

    def find_field_errors(self) -> list[tuple[tuple[str, ...], str]]:
        known, used = self.all_kinds, self.use or ()
        unknown = [
            f"no modality is called {name!r}{format_suggestion(name, known)}"
            for name in used
            if name not in known
        ]
        twice = [f"{name!r} is listed twice" for name, times in Counter(used).items() if times > 1]
        return [(("data", "use"), message) for message in (*unknown, *twice)]


class FilesConfig(ModalitySubsetConfig):
    """A data set in files below a folder: a subclass names its layout, and a field per modality its preprocessing."""

    implementation: ClassVar[str] = "ibml.data.files.source:FilesSource"
    layout: ClassVar[str]
    """`module:function` that lists the samples: called with the configuration and an `ibml.data.listing.SampleListing`."""
    preparation: ClassVar[str | None] = None
    """`module:function` of `ibml data prepare`, called with an `ibml.data.prepare.preparation.Preparation`; None: no preparation."""
    type: str
    """Name of the data set."""
    root: str | None = None
    """Folder of the data set; null: the folder named like its type in IBML_DATA."""
    on_missing: Literal["stop", "skip"] = "stop"
    """Samples that cannot be used: `stop` trains nothing, `skip` trains without them and reports their number."""

    @property
    def parts(self) -> dict[str, Preprocessing]:
        """All modalities of the data set, with what they are made into."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: part for name, part in fields.items() if isinstance(part, Preprocessing)}

    @property
    def all_kinds(self) -> dict[str, ModalityKind]:
        return {name: part.kind for name, part in self.parts.items()}

    def find_folder(self) -> Path | None:
        """Where the data set is on this machine, if anything says so."""
        if self.root is not None:
            return Path(self.root)
        around = os.environ.get(DATA_VARIABLE)
        return Path(around) / self.type if around else None

    def for_inference(self) -> Self:
        return self.model_copy(
            update={name: part.without_files() for name, part in self.parts.items()}
        )

    def build_canonical_form(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        plain = self.model_dump(mode="json", exclude={"root", "on_missing", *self.parts})
        plain["use"] = list(modalities)
        return plain | {name: _build_part_form(self.parts[name]) for name in modalities}


def _build_part_form(part: Preprocessing) -> dict[str, Any]:
    return {
        **part.model_dump(mode="json"),
        **{field: hash_content(path) for field, path in part.files.items()},
    }


class HoldoutConfig(FilesConfig):
    """A data set without a validation split of its own: a stratified share of train, drawn by the trial's seed."""

    validation: Share = 0.1
    """Share of each class of train that becomes the validation split, drawn by the trial's seed. Without effect where
    the files have a validation split."""


class ClipsConfig(FilesConfig):
    """Clips with sound and frames."""

    audio: AudioConfig = AudioConfig()
    """Preprocessing of the sound."""
    video: FramesConfig = FramesConfig()
    """Preprocessing of the frames."""


class CaptionedConfig(FilesConfig):
    """Images with a text."""

    image: ImageConfig = ImageConfig()
    """Preprocessing of the image."""
    text: TextConfig = TextConfig()
    """Preprocessing of the text."""
