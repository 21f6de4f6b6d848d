"""Configuration of UPMC Food-101."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.datasets import CaptionedConfig, CatalogueEntry


class Food101Config(CaptionedConfig):
    """UPMC Food-101 (Wang et al. 2015): images of 101 dishes and the titles of their web pages."""

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="image-text",
        title="UPMC Food-101",
        rows="62,971 / 5,000 / 22,715",
        source="visiir.isir.upmc.fr",
        licence="see its page",
    )
    layout: ClassVar[str] = "ibml.data.layouts.jsonl:list_samples"
    preparation: ClassVar[str] = "ibml.data.sets.food101.prepare:prepare"
    type: Literal["food101"] = "food101"
    """Name of the data set."""
