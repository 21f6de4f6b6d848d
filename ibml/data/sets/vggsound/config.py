"""Configuration of VGGSound."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.datasets import CatalogueEntry, ClipsConfig, HoldoutConfig


class VGGSoundConfig(ClipsConfig, HoldoutConfig):
    """50 classes of VGGSound (Chen et al. 2020)."""

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="audio-visual",
        title="VGGSound, 50 classes",
        rows="from its files",
        source="robots.ox.ac.uk/~vgg/data/vggsound",
        licence="CC BY 4.0 (list)",
    )
    layout: ClassVar[str] = "ibml.data.sets.vggsound.layout:list_samples"
    type: Literal["vggsound"] = "vggsound"
    """Name of the data set."""
