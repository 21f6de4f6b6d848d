"""Configuration of a user's own tables."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from ibml.config.datasets import CatalogueEntry, HoldoutConfig
from ibml.config.preprocessing import ColumnConfig, Preprocessing


class FolderConfig(HoldoutConfig):
    """Data of one's own: tables with a row per sample and a column per modality: CSV, whose header shows if the
    separator is a comma, a semicolon, a tab or a bar, or JSON lines. Paths in them are below the root."""

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="your own",
        title="tables, a column per modality",
        rows="from the tables",
        source="-",
        licence="-",
    )
    layout: ClassVar[str] = "ibml.data.sets.folder.layout:list_samples"
    type: Literal["folder"] = "folder"
    """Name of the data set."""
    root: str
    """Folder that contains the tables and the files that they name."""
    tables: Annotated[dict[Literal["train", "val", "test"], str], Field(min_length=1)] | str
    """One table with a column for the split, or one table per split; paths are relative to the root."""
    split: str = "split"
    """Column with the split: train, val (also dev, valid, validation) or test."""
    label: str = "label"
    """Column with the class."""
    id: str | None = None
    """Column that identifies a sample; null: the cells of its modalities identify it."""
    columns: Annotated[dict[str, ColumnConfig], Field(min_length=1)]
    """Modality -> its kind, its column and its preprocessing."""

    @property
    def parts(self) -> dict[str, Preprocessing]:
        return dict(self.columns)

    def for_inference(self) -> Self:
        return self.model_copy(
            update={"columns": {name: part.without_files() for name, part in self.columns.items()}}
        )

    @field_validator("columns")
    @classmethod
    def _names_are_plain(cls, columns: dict[str, ColumnConfig]) -> dict[str, ColumnConfig]:
        for name in columns:
            if not name.isidentifier():
                raise ValueError(f"{name!r} cannot name a modality; use letters, digits and '_'")
            if name in cls.model_fields:  # the canonical form has modalities beside these
                raise ValueError(
                    f"{name!r} cannot name a modality, since it is a key of the data set itself"
                )
        return columns

    def build_canonical_form(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        plain = super().build_canonical_form(modalities)
        for name in (
            "tables",
            "split",
            "label",
            "id",
            "columns",
        ):  # what they find is in the fingerprint
            del plain[name]
        for name in modalities:
            del plain[name]["column"]
        return plain
