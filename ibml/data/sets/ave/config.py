"""Configuration of AVE."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.datasets import CatalogueEntry, ClipsConfig
from ibml.config.preprocessing import AudioConfig


class AVEConfig(ClipsConfig):
    """AVE (Tian et al. 2018): 4,143 clips of 28 audio-visual events."""

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="audio-visual",
        title="AVE, 28 events",
        rows="3,339 / 402 / 402",
        source="github.com/YapengTian/AVE-ECCV18",
        licence="see its page",
    )
    layout: ClassVar[str] = "ibml.data.sets.ave.layout:list_samples"
    preparation: ClassVar[str] = "ibml.data.sets.ave.prepare:prepare"
    type: Literal["ave"] = "ave"
    """Name of the data set."""
    audio: AudioConfig = AudioConfig(
        rate=16_000, seconds=10.0, hop=159, spectrum="power", standardise=True
    )
    """Preprocessing of the sound."""
