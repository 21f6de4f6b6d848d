"""Configuration of a user's own tables."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, field_validator

from ibml.config.datasets import CatalogueEntry, HoldoutConfig
from ibml.config.preprocessing import ColumnConfig, Preprocessing


class FolderConfig(HoldoutConfig):
    """User's own data: tables with a row per sample and a column per modality.

    Tables are CSV files or JSON lines. The header of a CSV file determines if its delimiter is a
    comma, a semicolon, a tab or a bar. Paths in tables are below the root.
    """

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
    """One table with a column for the split, or one table per split; paths are relative to the
    root."""
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
        """Preprocessing of each modality."""
        return dict(self.columns)

    def for_inference(self) -> Self:
        """Return a copy without the files that a trained model does not need."""
        columns = {name: part.without_files() for name, part in self.columns.items()}
        return self.model_copy(update={"columns": columns})

    @field_validator("columns")
    @classmethod
    def _check_names(cls, columns: dict[str, ColumnConfig]) -> dict[str, ColumnConfig]:
        for name in columns:
            if not name.isidentifier():
                raise ValueError(f"{name!r} cannot name a modality; use letters, digits and '_'")
            # The canonical form has fields and modalities on one level.
            if name in cls.model_fields:
                raise ValueError(
                    f"{name!r} cannot name a modality, since it is a key of the data set itself"
                )
        return columns

    def build_canonical_form(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        """Return the settings that determine the result of a trial with these modalities."""
        plain = super().build_canonical_form(modalities)
        # The samples that these fields select are part of the fingerprint.
        for name in ("tables", "split", "label", "id", "columns"):
            del plain[name]
        for name in modalities:
            del plain[name]["column"]
        return plain
