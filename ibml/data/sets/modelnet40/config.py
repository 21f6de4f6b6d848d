"""Configuration of ModelNet40."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.datasets import CatalogueEntry, HoldoutConfig
from ibml.config.preprocessing import PointsConfig, ViewsConfig


class ModelNet40Config(HoldoutConfig):
    """ModelNet40 (Wu et al. 2015): 12,308 objects of 40 classes as points and rendered views."""

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="2D-3D",
        title="ModelNet40, 180 views",
        rows="9,840 / - / 2,468",
        source="modelnet.cs.princeton.edu",
        licence="see its page",
    )
    layout: ClassVar[str] = "ibml.data.sets.modelnet40.layout:list_samples"
    preparation: ClassVar[str] = "ibml.data.sets.modelnet40.prepare:prepare"
    type: Literal["modelnet40"] = "modelnet40"
    """Name of the data set."""
    image: ViewsConfig = ViewsConfig()
    """Preprocessing of the rendered views."""
    points: PointsConfig = PointsConfig(augment=True)
    """Preprocessing of the points."""
