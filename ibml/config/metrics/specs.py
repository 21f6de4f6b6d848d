"""Types that describe metrics and measures, without what computes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Unit:
    """Unit of a metric in tables.

    Attributes:
        symbol: Text behind the metric's name; empty for plain numbers.
        scale: Factor from the logged value to the shown one.
    """

    symbol: str
    scale: float = 1.0


NO_UNIT = Unit("")
PERCENT = Unit("%", 100.0)
SECONDS = Unit("s")
NATS = Unit("nats")


@dataclass(frozen=True)
class MetricSpec:
    """Everything that searches, tables and figures know about a metric.

    Attributes:
        name: Name without the split, for example `accuracy`. A name that ends in `.<modality>` stands for one metric
            per modality. Other words in angle brackets are for names that another part of ibml makes.
        direction: Whether more or less is better; None where neither is.
        unit: Unit in tables.
        bounds: Smallest and largest value, both attainable or approached; None unless both are finite.
        function: `module:function` that computes the metric of a split from `ibml.training.metrics.base.Predictions`,
            as a scalar, or as a vector with one value per modality. Empty for metrics that something else computes.
        min_modalities: The metric exists only in trials with at least so many modalities.
    """

    name: str
    direction: Direction | None
    unit: Unit = NO_UNIT
    bounds: tuple[float, float] | None = None
    function: str = ""
    min_modalities: int = 0

    def expand_names(self, modalities: Sequence[str]) -> list[str]:
        """Return the names of this metric in a trial with these modalities."""
        if len(modalities) < self.min_modalities:
            return []
        stem, is_pattern, _ = self.name.partition("<modality>")
        return [f"{stem}{modality}" for modality in modalities] if is_pattern else [self.name]

    def matches(self, name: str) -> bool:
        """Return whether this is the description of a metric's name without the split."""
        stem, is_pattern, _ = self.name.partition("<")
        return name.startswith(stem) if is_pattern else name == stem


@dataclass(frozen=True)
class MeasureSpec:
    """A measure that `trainer.measures` can ask for, with the metrics that it gives.

    Attributes:
        name: Name in `trainer.measures`; its seconds are `time.measure.<name>`.
        metrics: Metrics that it gives, in the order in which its function returns their values.
        function: `module:function` that computes the values. See `stage` for its argument.
        needs_features: It uses the features of the training and test splits. Measures share one pass, which is timed as
            `time.measure.features`.
        min_modalities: Trials with fewer modalities do not have the measure.
        stage: `test`: the function gets an `ibml.training.measures.base.MeasuredModel` with the selected weights and
            returns numbers, which are logged as `test.*`. `training`: it gets the scores of an epoch's steps, (steps,
            M), and returns one scalar tensor, which is logged as `train.*` and `selected.train.*`.
    """

    name: str
    metrics: tuple[MetricSpec, ...]
    function: str
    needs_features: bool = False
    min_modalities: int = 0
    stage: Literal["training", "test"] = "test"

    def expand_names(self, modalities: Sequence[str]) -> list[str]:
        """Return the names of its metrics without the split, in a trial with these modalities."""
        if len(modalities) < self.min_modalities:
            return []
        return [name for metric in self.metrics for name in metric.expand_names(modalities)]
