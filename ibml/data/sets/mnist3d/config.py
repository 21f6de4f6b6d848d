"""Configuration of 3D MNIST."""

from __future__ import annotations

from typing import ClassVar, Literal

from ibml.config.datasets import CatalogueEntry, HoldoutConfig
from ibml.config.preprocessing import PointsConfig, RawImageConfig


class MNIST3DConfig(HoldoutConfig):
    """3D MNIST: handwritten digits and point clouds made from them."""

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="2D-3D",
        title="3D MNIST",
        rows="5,000 / - / 1,000",
        source="kaggle.com/datasets/daavoo/3d-mnist",
        licence="see its page",
    )
    layout: ClassVar[str] = "ibml.data.sets.mnist3d.layout:list_samples"
    preparation: ClassVar[str] = "ibml.data.sets.mnist3d.prepare:prepare"
    type: Literal["mnist3d"] = "mnist3d"
    """Name of the data set."""
    image: RawImageConfig = RawImageConfig()
    """Preprocessing of the image."""
    points: PointsConfig = PointsConfig()
    """Preprocessing of the points."""
