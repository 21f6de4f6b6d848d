"""Base classes of data set configurations; the configurations are in `ibml.data.sets`."""

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
    """Catalogue entry of a data set, shown by `ibml data list`.

    Attributes:
        family: Group of the data set in the catalogue.
        title: Name and task of the data set.
        rows: Sample counts of the paper's splits: train / val / test.
        source: Address from which the data set is available.
        licence: Licence of the data.
    """

    family: Family
    title: str
    rows: str
    source: str
    licence: str


Share = Annotated[float, Field(ge=0.01, le=0.99)]


class BaseDataConfig(ComponentConfig):
    """Base class of data set configurations.

    `implementation` names the `ibml.data.base.Source` that reads the data set.
    """

    about: ClassVar[CatalogueEntry]
    """Catalogue entry; plug-ins have none."""

    @property
    def all_kinds(self) -> dict[str, ModalityKind]:
        """Kind of each modality of the data set, including unused modalities."""
        raise NotImplementedError

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that the model sees, in order."""
        return tuple(self.all_kinds)

    @property
    def kinds(self) -> dict[str, ModalityKind]:
        """Kind of each modality that the model sees.

        Unknown modalities are left out here; `find_field_errors` reports them.
        """
        every = self.all_kinds
        return {name: every[name] for name in self.modalities if name in every}

    def find_field_errors(self) -> list[tuple[tuple[str, ...], str]]:
        """Return the errors between fields, each with its path in the trial's configuration."""
        return []

    def build_canonical_form(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        """Return everything in this configuration that determines a trial's result.

        The content of the data set is not included; the trial key hashes it separately.

        Args:
            modalities: Modalities that the model sees.

        Returns:
            Plain data that can be written as JSON.
        """
        raise NotImplementedError

    def for_inference(self) -> Self:
        """Return this configuration without the files that only training needs."""
        return self


class ModalitySubsetConfig(BaseDataConfig):
    """Base class of data sets of which a model may use a subset of the modalities."""

    use: Annotated[Items[str], Field(min_length=1)] | None = None
    """Modalities that the model sees, in this order; null: all modalities."""

    @property
    def modalities(self) -> tuple[str, ...]:
        """Modalities that the model sees: those in `use`, or all."""
        return self.use or tuple(self.all_kinds)

    def find_field_errors(self) -> list[tuple[tuple[str, ...], str]]:
        """Return an error for each unknown or repeated modality in `use`."""
        known = self.all_kinds
        used = self.use or ()
        messages = []
        for name in used:
            if name not in known:
                hint = format_suggestion(name, known)
                messages.append(f"no modality is called {name!r}{hint}")
        for name, count in Counter(used).items():
            if count > 1:
                messages.append(f"{name!r} is listed twice")
        return [(("data", "use"), message) for message in messages]


class FilesConfig(ModalitySubsetConfig):
    """Base class of data sets stored as files in a folder.

    A subclass names the layout of the folder and has one field per modality, its preprocessing.
    """

    implementation: ClassVar[str] = "ibml.data.files.source:FilesSource"
    layout: ClassVar[str]
    """`module:function` that lists the samples.

    It is called with the configuration and an `ibml.data.listing.SampleListing`."""
    preparation: ClassVar[str | None] = None
    """`module:function` of `ibml data prepare`; None: no preparation.

    It is called with an `ibml.data.prepare.preparation.Preparation`."""
    type: str
    """Name of the data set."""
    root: str | None = None
    """Folder of the data set; null: the folder in IBML_DATA that has the name of `type`."""
    on_missing: Literal["stop", "skip"] = "stop"
    """Policy for unusable samples: `stop` refuses to train; `skip` trains without them and reports
    their number."""

    @property
    def parts(self) -> dict[str, Preprocessing]:
        """Preprocessing of each modality of the data set."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return {name: part for name, part in fields.items() if isinstance(part, Preprocessing)}

    @property
    def all_kinds(self) -> dict[str, ModalityKind]:
        """Kind of each modality, as its preprocessing states it."""
        return {name: part.kind for name, part in self.parts.items()}

    def find_folder(self) -> Path | None:
        """Return the folder of the data set on this machine.

        Returns:
            `root`, or the folder of this type in IBML_DATA; None if neither is set.
        """
        if self.root is not None:
            return Path(self.root)
        data_folder = os.environ.get(DATA_VARIABLE)
        return Path(data_folder) / self.type if data_folder else None

    def for_inference(self) -> Self:
        """Return this configuration without the files named by the preprocessing."""
        parts = {name: part.without_files() for name, part in self.parts.items()}
        return self.model_copy(update=parts)

    def build_canonical_form(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        """Return the canonical form, without paths and without unused modalities.

        Args:
            modalities: Modalities that the model sees.

        Returns:
            Plain data, in which the hash of its content replaces each file.
        """
        plain = self.model_dump(mode="json", exclude={"root", "on_missing", *self.parts})
        plain["use"] = list(modalities)
        return plain | {name: _build_part_form(self.parts[name]) for name in modalities}


def _build_part_form(part: Preprocessing) -> dict[str, Any]:
    hashes = {field: hash_content(path) for field, path in part.files.items()}
    return part.model_dump(mode="json") | hashes


class HoldoutConfig(FilesConfig):
    """Base class of data sets without a validation split.

    The validation split is a stratified share of train, drawn with the trial's seed.
    """

    validation: Share = 0.1
    """Share of each class of train that becomes the validation split, drawn with the trial's seed.
    No effect if the files have a validation split."""


class ClipsConfig(FilesConfig):
    """Clips with audio and frames."""

    audio: AudioConfig = AudioConfig()
    """Preprocessing of the audio."""
    video: FramesConfig = FramesConfig()
    """Preprocessing of the frames."""


class CaptionedConfig(FilesConfig):
    """Images with text."""

    image: ImageConfig = ImageConfig()
    """Preprocessing of the image."""
    text: TextConfig = TextConfig()
    """Preprocessing of the text."""
