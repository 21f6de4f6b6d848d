"""Configuration of CREMA-D."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.datasets import CatalogueEntry, ClipsConfig, HoldoutConfig


class CremadConfig(ClipsConfig, HoldoutConfig):
    """CREMA-D (Cao et al. 2014): 7,442 clips of actors who express one of 6 emotions."""

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="audio-visual",
        title="CREMA-D, 6 emotions",
        rows="6,698 / - / 744",
        source="github.com/CheyneyComputerScience/CREMA-D",
        licence="ODbL 1.0",
    )
    layout: ClassVar[str] = "ibml.data.sets.cremad.layout:list_samples"
    preparation: ClassVar[str] = "ibml.data.sets.cremad.prepare:prepare"
    type: Literal["cremad"] = "cremad"
    """Name of the data set."""
