"""Configuration of UCF-101."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.datasets import CatalogueEntry, ClipsConfig, HoldoutConfig


class UCF101Config(ClipsConfig, HoldoutConfig):
    """UCF-101 (Soomro et al. 2012), those of its clips that have sound."""

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="audio-visual",
        title="UCF-101, clips with sound",
        rows="from its files",
        source="crcv.ucf.edu/data/UCF101.php",
        licence="none stated",
    )
    layout: ClassVar[str] = "ibml.data.sets.ucf101.layout:list_samples"
    type: Literal["ucf101"] = "ucf101"
    """Name of the data set."""
    fold: Literal[1, 2, 3] = 1
    """Number of the official split."""
