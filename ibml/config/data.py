"""Configurations of data sets."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ibml.config.base import Config, Items

View = Literal["fou", "fac", "kar", "pix", "zer", "mor"]


class MfeatConfig(Config):
    """UCI Multiple Features: 2,000 handwritten digits, 10 classes, six views; ships with ibml.

    The split is stratified and drawn by the trial's seed; what is neither validation nor test is
    training data.
    """

    type: Literal["mfeat"] = "mfeat"
    views: Annotated[Items[View], Field(min_length=2)] = ("pix", "zer")
    validation: Annotated[float, Field(gt=0, lt=1)] = 0.1
    test: Annotated[float, Field(gt=0, lt=1)] = 0.3

    @field_validator("views")
    @classmethod
    def _each_view_once(cls, views: tuple[View, ...]) -> tuple[View, ...]:
        if len(set(views)) < len(views):
            raise ValueError("a view is listed twice")
        return views

    @property
    def modalities(self) -> tuple[str, ...]:
        return self.views

    def problems(self) -> list[tuple[tuple[str, ...], str]]:
        if self.validation + self.test >= 1:
            share = self.validation + self.test
            return [(("data", "test"), f"validation + test = {share:g} leaves nothing to train on")]
        return []


DataConfig = MfeatConfig
