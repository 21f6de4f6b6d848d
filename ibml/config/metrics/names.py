"""Names of the metrics that a trial logs, which follow from `ibml.config.metrics.registry`.

Per epoch, with the epoch as step: `train.*`, `val.*`, `rate.<modality>`, `noised.<modality>`, `lr`,
`samples.epoch`, `time.epoch`. Once, from the selected epoch: `test.*` and `selected.*`. Shares are fractions in MLflow
and percent in tables.
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
"""What tables compute from a trial and that of the modality alone with the same seed."""

_SPLITS = ("selected", "train", "val", "test")


@dataclass(frozen=True)
class Metric:
    """A metric under the name that it is logged with, and its description."""

    name: str
    spec: MetricSpec

    @property
    def higher_is_better(self) -> bool:
        return self.spec.direction != "minimize"

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"

    @property
    def unit(self) -> str:
        return self.spec.unit.symbol

    @property
    def scale(self) -> float:
        """The factor from the logged value to the shown one."""
        return self.spec.unit.scale

    @property
    def bounds(self) -> tuple[float, float] | None:
        return self.spec.bounds


def describe_metric(name: str) -> Metric:
    """Return a metric with its description; names that no description matches are numbers, the more the better.

    Args:
        name: Name as it is logged, for example `selected.val.accuracy.pix`.
    """
    parts = name.split(".")
    while len(parts) > 1 and parts[0] in _SPLITS:
        del parts[0]
    quantity = ".".join(parts)
    spec = next((spec for spec in METRICS if spec.matches(quantity)), None)
    return Metric(name, spec or MetricSpec(quantity, "maximize"))


def rank(row: Mapping[str, float], selection: Selection) -> tuple[float, float]:
    """How good an epoch is to be selected, the greater the better; ties go to the lower `val.loss`."""
    match selection:
        case "last":
            return row["epoch"], 0.0
        case "val.loss":
            return -row["val.loss"], 0.0
        case metric:
            return row[metric], -row["val.loss"]


def list_search_metrics(modalities: Sequence[str]) -> list[str]:
    """The metrics that a search can aim at: validation and time, never test."""
    return [f"val.{name}" for name in list_evaluation_metrics(modalities)] + [
        "time.epoch",
        "time.total",
    ]


def list_evaluation_metrics(modalities: Sequence[str]) -> list[str]:
    """What an evaluation of one split gives, without the split's name. `gap` needs two modalities."""
    return [name for metric in EVALUATION_METRICS for name in metric.expand_names(modalities)]


def list_measure_metrics(measure: Measure, modalities: Sequence[str]) -> list[str]:
    """The final metrics of a measure, without what it took; those that compare modalities need two."""
    split = "selected.train" if MEASURES[measure].stage == "training" else "test"
    return [f"{split}.{name}" for name in MEASURES[measure].expand_names(modalities)]


def select_training_measures(measures: Sequence[Measure]) -> list[Measure]:
    """Return those of the measures that each epoch's training steps give."""
    return [measure for measure in measures if MEASURES[measure].stage == "training"]


def list_timed_measures(measures: Sequence[Measure], modalities: int) -> list[str]:
    """What of the measures is computed after training, each with its `time.measure.*`, in order; `features` is the pass
    that several share. Discrepancy costs nothing, since training knows it."""
    specs = [MEASURES[measure] for measure in measures]
    after = [spec for spec in specs if spec.stage == "test" and modalities >= spec.min_modalities]
    names = [spec.name for spec in after]
    return ["features", *names] if any(spec.needs_features for spec in after) else names


def list_table_metrics(modalities: Sequence[str], measures: Sequence[Measure] = ()) -> list[str]:
    """The metrics that a table can show for trials with these modalities, which compute these measures."""
    names = list_evaluation_metrics(modalities)
    of_measures = [
        name for measure in measures for name in list_measure_metrics(measure, modalities)
    ]
    costs = [f"time.measure.{name}" for name in list_timed_measures(measures, len(modalities))]
    of_splits = [f"test.{n}" for n in names] + [f"selected.val.{n}" for n in names]
    return [*of_splits, *of_measures, *costs, "samples.total", "time.total"]


def find_measure(name: str, modalities: Sequence[str]) -> Measure | None:
    """The measure that gives a metric of tables."""
    return next(
        (
            m
            for m in MEASURES
            if name in (*list_measure_metrics(m, modalities), f"time.measure.{m}")
        ),
        None,
    )


def list_default_metrics(modalities: Sequence[str]) -> list[str]:
    """Accuracy, accuracy per modality, gap; `modalities` are those that all data sets share."""
    return ["test.accuracy", *(f"test.accuracy.{m}" for m in modalities), "test.gap"]
