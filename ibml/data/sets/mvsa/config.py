"""Configuration of MVSA-Single."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.datasets import CaptionedConfig, CatalogueEntry


class MVSAConfig(CaptionedConfig):
    """MVSA-Single (Niu et al. 2016): tweets with an image, 3 sentiments."""

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="image-text",
        title="MVSA-Single, 3 sentiments",
        rows="1,554 / 517 / 518",
        source="mcrlab.net",
        licence="see its page",
    )
    layout: ClassVar[str] = "ibml.data.layouts.jsonl:list_samples"
    preparation: ClassVar[str] = "ibml.data.sets.mvsa.prepare:prepare"
    type: Literal["mvsa"] = "mvsa"
    """Name of the data set."""
