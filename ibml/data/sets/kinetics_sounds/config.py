"""Configuration of Kinetics-Sounds."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.datasets import CatalogueEntry, ClipsConfig, HoldoutConfig


class KineticsSoundsConfig(ClipsConfig, HoldoutConfig):
    """Kinetics-Sounds (Arandjelovic & Zisserman 2017): clips of visible and audible actions."""

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="audio-visual",
        title="Kinetics-Sounds",
        rows="from its files",
        source="clips of Kinetics-400",
        licence="CC BY 4.0 (list)",
    )
    layout: ClassVar[str] = "ibml.data.sets.kinetics_sounds.layout:list_samples"
    type: Literal["kinetics_sounds"] = "kinetics_sounds"
    """Name of the data set."""
