"""Configuration of UCI Multiple Features."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator

from ibml.config.base import Items
from ibml.config.datasets import BaseDataConfig, CatalogueEntry, Share
from ibml.config.preprocessing import ModalityKind

View = Literal["fou", "fac", "kar", "pix", "zer", "mor"]


class MfeatConfig(BaseDataConfig):
    """UCI Multiple Features: 2,000 handwritten digits, 10 classes, six views; ships with ibml.

    The split is stratified and drawn by the trial's seed. Samples that are not in validation or
    test are training data.
    """

    about: ClassVar[CatalogueEntry] = CatalogueEntry(
        family="vectors",
        title="UCI Multiple Features",
        rows="1,200 / 200 / 600",
        source="ships with ibml",
        licence="CC BY 4.0",
    )
    implementation: ClassVar[str] = "ibml.data.sets.mfeat.source:MfeatSource"
    type: Literal["mfeat"] = "mfeat"
    """Name of the data set."""
    views: Annotated[Items[View], Field(min_length=2)] = ("pix", "zer")
    """Views that the model sees, in this order, with their columns: `fou` Fourier coefficients
    (76), `fac` profile correlations (216), `kar` Karhunen-Loeve coefficients (64), `pix` pixel
    averages (240), `zer` Zernike moments (47), `mor` morphological features (6)."""
    validation: Share = 0.1
    """Share of each class in the validation split."""
    test: Share = 0.3
    """Share of each class in the test split."""

    @field_validator("views")
    @classmethod
    def _check_views(cls, views: tuple[View, ...]) -> tuple[View, ...]:
        if len(set(views)) < len(views):
            raise ValueError("a view is listed twice")
        return views

    @property
    def all_kinds(self) -> dict[str, ModalityKind]:
        """Kind of each view, always `vector`."""
        return dict.fromkeys(self.views, "vector")

    def find_field_errors(self) -> list[tuple[tuple[str, ...], str]]:
        """Return an error if validation and test leave too few samples for training."""
        share = self.validation + self.test
        if share <= 0.99:
            return []
        message = f"validation + test = {share:g} leaves too little to train on"
        return [(("data", "test"), message)]

    def build_canonical_form(self, modalities: tuple[str, ...]) -> dict[str, Any]:
        """Return the settings that determine the result of a trial with these modalities."""
        return {**self.model_dump(mode="json"), "views": list(modalities)}
