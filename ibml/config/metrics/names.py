"""Names of the metrics that a trial logs, derived from `ibml.config.metrics.registry`.

Per epoch, with the epoch as step: `train.*`, `val.*`, `rate.<modality>`, `noised.<modality>`, `lr`,
`samples.epoch`, `time.epoch`. Once, from the selected epoch: `test.*` and `selected.*`. Shares are
fractions in MLflow and percentages in tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from ibml.config.metrics.registry import EVALUATION_METRICS, MEASURES, METRICS
from ibml.config.metrics.specs import MetricSpec

Selection = Literal["val.accuracy", "val.macro_f1", "val.loss", "last"]

if TYPE_CHECKING:
    Measure = str
else:
    Measure = Literal[tuple(MEASURES)]

UTILISATION = "test.utilisation."
"""Prefix of metrics that tables compute from a trial and its unimodal counterpart of equal seed."""

_SPLITS = ("selected", "train", "val", "test")


@dataclass(frozen=True)
class Metric:
    """A logged metric with its description.

    Attributes:
        name: Logged name, for example `test.accuracy`.
        spec: Description from the registry.
    """

    name: str
    spec: MetricSpec

    @property
    def higher_is_better(self) -> bool:
        """True unless the metric is minimized."""
        return self.spec.direction != "minimize"

    @property
    def arrow(self) -> str:
        """Arrow in the direction of improvement."""
        return "↑" if self.higher_is_better else "↓"

    @property
    def unit(self) -> str:
        """Symbol of the unit; empty for plain numbers."""
        return self.spec.unit.symbol

    @property
    def scale(self) -> float:
        """Factor from the logged value to the displayed value."""
        return self.spec.unit.scale

    @property
    def bounds(self) -> tuple[float, float] | None:
        """Infimum and supremum of the logged values; None unless both are finite."""
        return self.spec.bounds


def describe_metric(name: str) -> Metric:
    """Return a logged metric with its description.

    Args:
        name: Logged name, for example `selected.val.accuracy.pix`.

    Returns:
        The metric; an unknown name is a plain number to be maximized.
    """
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in _SPLITS:
        del parts[0]
    quantity = ".".join(parts)
    spec = next((spec for spec in METRICS if spec.matches(quantity)), None)
    return Metric(name, spec or MetricSpec(quantity, "maximize"))


def rank(row: Mapping[str, float], selection: Selection) -> tuple[float, float]:
    """Return the sort key of an epoch for model selection; the largest key is selected.

    Args:
        row: Metrics of the epoch, including `epoch` and `val.loss`.
        selection: Criterion, `trainer.selection`.

    Returns:
        Value of the criterion, and the negated `val.loss` to break ties.
    """
    match selection:
        case "last":
            return row["epoch"], 0.0
        case "val.loss":
            return -row["val.loss"], 0.0
        case metric:
            return row[metric], -row["val.loss"]


def list_search_metrics(modalities: Sequence[str]) -> list[str]:
    """List the metrics that a search may optimise: validation and time, never test."""
    validation = [f"val.{name}" for name in list_evaluation_metrics(modalities)]
    return [*validation, "time.epoch", "time.total"]


def list_evaluation_metrics(modalities: Sequence[str]) -> list[str]:
    """List the metrics of one evaluation, without the name of the split."""
    return [name for metric in EVALUATION_METRICS for name in metric.expand_names(modalities)]


def list_measure_metrics(measure: Measure, modalities: Sequence[str]) -> list[str]:
    """List the final metrics of a measure, without its duration.

    Args:
        measure: Name of the measure.
        modalities: Modalities of the trial.

    Returns:
        Logged names; empty if the trial has too few modalities for the measure.
    """
    split = "selected.train" if MEASURES[measure].stage == "training" else "test"
    return [f"{split}.{name}" for name in MEASURES[measure].expand_names(modalities)]


def select_training_measures(measures: Sequence[Measure]) -> list[Measure]:
    """Return the measures that are computed from the training steps of each epoch."""
    return [measure for measure in measures if MEASURES[measure].stage == "training"]


def list_timed_measures(measures: Sequence[Measure], modalities: int) -> list[str]:
    """List the measures computed after training, each with a metric `time.measure.<name>`.

    Args:
        measures: Names of the measures.
        modalities: Number of modalities of the trial.

    Returns:
        Names in order. If a measure needs features, `features` comes first: the shared forward
        pass. Measures of the stage `training` cost no extra time and are left out.
    """
    specs = [MEASURES[measure] for measure in measures]
    after = [spec for spec in specs if spec.stage == "test" and modalities >= spec.min_modalities]
    names = [spec.name for spec in after]
    if any(spec.needs_features for spec in after):
        return ["features", *names]
    return names


def list_table_metrics(modalities: Sequence[str], measures: Sequence[Measure] = ()) -> list[str]:
    """List the metrics that a table can show.

    Args:
        modalities: Modalities of the trials.
        measures: Measures that the trials compute.

    Returns:
        Logged names.
    """
    evaluated = list_evaluation_metrics(modalities)
    names = [f"test.{name}" for name in evaluated]
    names += [f"selected.val.{name}" for name in evaluated]
    for measure in measures:
        names += list_measure_metrics(measure, modalities)
    for timed in list_timed_measures(measures, len(modalities)):
        names.append(f"time.measure.{timed}")
    return [*names, "samples.total", "time.total"]


def find_measure(name: str, modalities: Sequence[str]) -> Measure | None:
    """Return the measure that a logged metric belongs to.

    Args:
        name: Logged name of the metric.
        modalities: Modalities of the trial.

    Returns:
        Name of the measure; None if no measure computes the metric.
    """
    for measure in MEASURES:
        if name in (*list_measure_metrics(measure, modalities), f"time.measure.{measure}"):
            return measure
    return None


def list_default_metrics(modalities: Sequence[str]) -> list[str]:
    """List the columns of a table without `metrics`: accuracy, accuracy per modality, and gap.

    Args:
        modalities: Modalities that all data sets share.

    Returns:
        Logged names.
    """
    return ["test.accuracy", *(f"test.accuracy.{m}" for m in modalities), "test.gap"]
