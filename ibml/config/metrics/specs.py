"""Descriptions of metrics and measures, without their implementations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class Unit:
    """Unit of a metric in tables.

    Attributes:
        symbol: Text after the metric's name; empty for plain numbers.
        scale: Factor from the logged value to the displayed value.
    """

    symbol: str
    scale: float = 1.0


NO_UNIT = Unit("")
PERCENT = Unit("%", 100.0)
SECONDS = Unit("s")
NATS = Unit("nats")


@dataclass(frozen=True)
class MetricSpec:
    """Description of a metric for searches, tables and figures.

    Attributes:
        name: Name without the split, for example `accuracy`. A name that ends in `.<modality>`
            stands for one metric per modality. Other words in angle brackets are placeholders for
            names that another part of ibml generates.
        direction: Direction of improvement; None if neither direction is better.
        unit: Unit in tables.
        bounds: Infimum and supremum of the values; None unless both are finite.
        function: `module:function` that computes the metric of a split from
            `ibml.training.metrics.base.Predictions`, as a scalar or as a vector with one value per
            modality. Empty for metrics that are computed elsewhere.
        min_modalities: Smallest number of modalities of a trial that has the metric.

    Example:
        >>> MetricSpec("accuracy.<modality>", "maximize").expand_names(["audio", "video"])
        ['accuracy.audio', 'accuracy.video']
    """

    name: str
    direction: Direction | None
    unit: Unit = NO_UNIT
    bounds: tuple[float, float] | None = None
    function: str = ""
    min_modalities: int = 0

    def expand_names(self, modalities: Sequence[str]) -> list[str]:
        """Return the names of this metric, one per modality if the name contains `<modality>`.

        Args:
            modalities: Modalities of the trial.

        Returns:
            Names without the split; empty if there are fewer than `min_modalities`.
        """
        if len(modalities) < self.min_modalities:
            return []
        stem, is_pattern, _ = self.name.partition("<modality>")
        if not is_pattern:
            return [self.name]
        return [f"{stem}{modality}" for modality in modalities]

    def matches(self, name: str) -> bool:
        """Return True if this describes the metric `name`, given without the split."""
        stem, is_pattern, _ = self.name.partition("<")
        return name.startswith(stem) if is_pattern else name == stem


@dataclass(frozen=True)
class MeasureSpec:
    """Description of a measure that can be listed in `trainer.measures`.

    Attributes:
        name: Name in `trainer.measures`; its duration is logged as `time.measure.<name>`.
        metrics: Metrics of the measure, in the order of the values that its function returns.
        function: `module:function` that computes the values. See `stage` for its argument.
        needs_features: True if the function uses the features of the training and test splits.
            All measures share one forward pass, logged as `time.measure.features`.
        min_modalities: Smallest number of modalities of a trial that has the measure.
        stage: `test`: the function receives an `ibml.training.measures.base.MeasuredModel` with
            the selected weights and returns numbers, logged as `test.*`. `training`: it receives
            the scores of an epoch's steps, shape (steps, M), and returns one scalar tensor,
            logged as `train.*` and `selected.train.*`.
    """

    name: str
    metrics: tuple[MetricSpec, ...]
    function: str
    needs_features: bool = False
    min_modalities: int = 0
    stage: Literal["training", "test"] = "test"

    def expand_names(self, modalities: Sequence[str]) -> list[str]:
        """Return the names of all metrics of this measure.

        Args:
            modalities: Modalities of the trial.

        Returns:
            Names without the split; empty if there are fewer than `min_modalities`.
        """
        if len(modalities) < self.min_modalities:
            return []
        return [name for metric in self.metrics for name in metric.expand_names(modalities)]
