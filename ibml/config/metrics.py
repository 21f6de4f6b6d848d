"""The metrics that a trial logs: their names, direction and unit, in one place.

Per epoch, with the epoch as step: `train.*`, `val.*`, `rate.<modality>`, `noised.<modality>`, `lr`,
`samples.epoch`, `time.epoch`. Once, from the selected epoch: `test.*` and `selected.*`. Shares are fractions in MLflow
and percent in tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

Selection = Literal["val.accuracy", "val.macro_f1", "val.loss", "last"]

Measure = Literal["shapley", "discrepancy", "complementarity", "calibration", "missing", "noise"]

NOISE_LEVELS = {"low": 0.5, "medium": 1.0, "high": 2.0}
"""Names of noise on the inputs, and its deviation in units of each modality's."""
UTILISATION = "test.utilisation."
"""What tables compute from a trial and that of the modality alone with the same seed."""

_UNITS = {
    **dict.fromkeys(("accuracy", "macro_f1", "gap", "ece", "missing", "noisy", "shapley", "utilisation"), "%"),
    "time": "s",
    "complementarity": "nats",
}
_OF_FEATURES = frozenset(("shapley", "missing", "complementarity"))
_LOWER_IS_BETTER = ("loss", "gap", "ece", "discrepancy", "samples", "time")


@dataclass(frozen=True)
class Metric:
    """A metric as a table shows it. `scale` turns the logged value into the shown one."""

    name: str
    higher_is_better: bool
    unit: str
    scale: float

    @property
    def arrow(self) -> str:
        return "↑" if self.higher_is_better else "↓"


def describe(name: str) -> Metric:
    """Direction and unit of a metric, read from the part of its name after the split's."""
    quantity = next(part for part in name.split(".") if part not in ("selected", "train", "val", "test"))
    unit = _UNITS.get(quantity, "")
    return Metric(name, quantity not in _LOWER_IS_BETTER, unit, 100.0 if unit == "%" else 1.0)


def rank(row: Mapping[str, float], selection: Selection) -> tuple[float, float]:
    """How good an epoch is to be selected, the greater the better; ties go to the lower `val.loss`."""
    match selection:
        case "last":
            return row["epoch"], 0.0
        case "val.loss":
            return -row["val.loss"], 0.0
        case metric:
            return row[metric], -row["val.loss"]


def search_names(modalities: Sequence[str]) -> list[str]:
    """The metrics that a search can aim at: validation and time, never test."""
    return [f"val.{name}" for name in evaluation_names(modalities)] + ["time.epoch", "time.total"]


def evaluation_names(modalities: Sequence[str]) -> list[str]:
    """What an evaluation of one split gives, without the split's name. `gap` needs two modalities."""
    names = ["loss", "accuracy", "macro_f1", *(f"accuracy.{m}" for m in modalities)]
    return [*names, "gap"] if len(modalities) > 1 else names


def measure_names(measure: Measure, modalities: Sequence[str]) -> list[str]:
    """The final metrics of a measure, without what it took; those that compare modalities need two."""
    if measure == "calibration":
        return ["test.ece"]
    if measure == "noise":
        return [f"test.noisy.{level}" for level in NOISE_LEVELS]
    if len(modalities) < 2:
        return []
    if measure == "discrepancy":
        return ["selected.train.discrepancy"]
    return [f"test.{measure}.{name}" for name in modalities]


def timed(measures: Sequence[Measure], modalities: int) -> list[Measure | Literal["features"]]:
    """What of the measures is computed after training, each with its `time.measure.*`, in order; `features` is the pass
    that several share. Discrepancy costs nothing, since training knows it."""
    after = [m for m in measures if m in ("calibration", "noise") or (modalities > 1 and m != "discrepancy")]
    return ["features", *after] if _OF_FEATURES.intersection(after) else [*after]


def table_names(modalities: Sequence[str], measures: Sequence[Measure] = ()) -> list[str]:
    """The metrics that a table can show for trials with these modalities, which compute these measures."""
    names = evaluation_names(modalities)
    of_measures = [name for measure in measures for name in measure_names(measure, modalities)]
    costs = [f"time.measure.{name}" for name in timed(measures, len(modalities))]
    of_splits = [f"test.{n}" for n in names] + [f"selected.val.{n}" for n in names]
    return [*of_splits, *of_measures, *costs, "samples.total", "time.total"]


def measure_of(name: str, modalities: Sequence[str]) -> Measure | None:
    """The measure that gives a metric of tables."""
    measures: tuple[Measure, ...] = get_args(Measure)
    return next((m for m in measures if name in (*measure_names(m, modalities), f"time.measure.{m}")), None)


def default_table(modalities: Sequence[str]) -> list[str]:
    """Accuracy, accuracy per modality, gap; `modalities` are those that all data sets share."""
    return ["test.accuracy", *(f"test.accuracy.{m}" for m in modalities), "test.gap"]
