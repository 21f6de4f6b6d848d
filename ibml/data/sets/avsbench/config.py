"""Configuration of AVSBench."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.datasets import CatalogueEntry, ClipsConfig


class AVSBenchConfig(ClipsConfig):
    """AVSBench, single sounding source (Zhou et al. 2022)."""

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="audio-visual",
        title="AVSBench, one source (S4)",
        rows="from its files",
        source="opennlplab.github.io/AVSBench",
        licence="see its page",
    )
    layout: ClassVar[str] = "ibml.data.sets.avsbench.layout:list_samples"
    type: Literal["avsbench"] = "avsbench"
    """Name of the data set."""
