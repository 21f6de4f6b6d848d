"""Configurations of data sets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ibml.config.base import Config, Items

View = Literal["fou", "fac", "kar", "pix", "zer", "mor"]


Share = Annotated[float, Field(ge=0.01, le=0.99)]
"""A share of the samples; with 200 samples a class, at least two of each."""


class MfeatConfig(Config):
    """UCI Multiple Features: 2,000 handwritten digits, 10 classes, six views; ships with ibml.

    The split is stratified and drawn by the trial's seed; what is neither validation nor test is
    training data.
    """

    type: Literal["mfeat"] = "mfeat"
    views: Annotated[Items[View], Field(min_length=2)] = ("pix", "zer")
    validation: Share = 0.1
    test: Share = 0.3

    @field_validator("views")
    @classmethod
    def _each_view_once(cls, views: tuple[View, ...]) -> tuple[View, ...]:
        if len(set(views)) < len(views):
            raise ValueError("a view is listed twice")
        return views

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.views

    @property
    def kinds(self) -> dict[str, str]:
        """Modality -> what it is, which decides the encoders that fit."""
        return dict.fromkeys(self.views, "vector")

    def problems(self) -> list[tuple[tuple[str, ...], str]]:
        share = self.validation + self.test
        if share > 0.99:
            return [(("data", "test"), f"validation + test = {share:g} leaves too little to train on")]
        return []


DataConfig = MfeatConfig
