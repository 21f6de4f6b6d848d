"""Registry of metrics and measures. Functions are named by text, so that no entry imports torch.

To add a metric, write its function in a file of `ibml/training/metrics/` and add an entry to
`EVALUATION_METRICS`. To add a measure, use `ibml/training/measures/` and `_MEASURE_SPECS`. Metrics
are logged in the order of the entries.
"""

from __future__ import annotations

from ibml.config.metrics.specs import NATS, PERCENT, SECONDS, MeasureSpec, MetricSpec

_METRICS = "ibml.training.metrics"
_MEASURES = "ibml.training.measures"
_SHARE = (0.0, 1.0)

NOISE_LEVELS = {"low": 0.5, "medium": 1.0, "high": 2.0}
"""Name -> noise level: its standard deviation relative to that of the training values."""

EVALUATION_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec("loss", "minimize", function=f"{_METRICS}.loss:loss"),
    MetricSpec("accuracy", "maximize", PERCENT, _SHARE, f"{_METRICS}.accuracy:accuracy"),
    MetricSpec("macro_f1", "maximize", PERCENT, _SHARE, f"{_METRICS}.macro_f1:macro_f1"),
    MetricSpec(
        "accuracy.<modality>", "maximize", PERCENT, _SHARE, f"{_METRICS}.accuracy:unimodal_accuracy"
    ),
    MetricSpec("gap", "minimize", PERCENT, _SHARE, f"{_METRICS}.gap:gap", min_modalities=2),
)
"""Metrics of one split, all computed from the logits of one evaluation."""

_MEASURE_SPECS: tuple[MeasureSpec, ...] = (
    MeasureSpec(
        "shapley",
        (MetricSpec("shapley.<modality>", "maximize", PERCENT, (-1.0, 1.0)),),
        f"{_MEASURES}.shapley:shapley",
        needs_features=True,
        min_modalities=2,
    ),
    MeasureSpec(
        "discrepancy",
        (MetricSpec("discrepancy", "minimize"),),
        f"{_MEASURES}.discrepancy:discrepancy",
        min_modalities=2,
        stage="training",
    ),
    MeasureSpec(
        "complementarity",
        (MetricSpec("complementarity.<modality>", "maximize", NATS),),
        f"{_MEASURES}.complementarity:complementarity",
        needs_features=True,
        min_modalities=2,
    ),
    MeasureSpec(
        "calibration",
        (MetricSpec("ece", "minimize", PERCENT, _SHARE),),
        f"{_MEASURES}.calibration:calibration",
    ),
    MeasureSpec(
        "missing",
        (MetricSpec("missing.<modality>", "maximize", PERCENT, _SHARE),),
        f"{_MEASURES}.missing:missing",
        needs_features=True,
        min_modalities=2,
    ),
    MeasureSpec(
        "noise",
        tuple(MetricSpec(f"noisy.{level}", "maximize", PERCENT, _SHARE) for level in NOISE_LEVELS),
        f"{_MEASURES}.noise:noise",
    ),
)

MEASURES: dict[str, MeasureSpec] = {measure.name: measure for measure in _MEASURE_SPECS}
"""Name in `trainer.measures` -> measure."""

OTHER_METRICS: tuple[MetricSpec, ...] = (
    MetricSpec("utilisation.<modality>", "maximize", PERCENT),
    MetricSpec("samples.epoch", "minimize"),
    MetricSpec("samples.total", "minimize"),
    MetricSpec("time.epoch", "minimize", SECONDS),
    MetricSpec("time.total", "minimize", SECONDS),
    MetricSpec("time.measure.<measure>", "minimize", SECONDS),
)
"""Counters of the trainer, and metrics that tables compute from several trials."""

METRICS: tuple[MetricSpec, ...] = (
    *EVALUATION_METRICS,
    *(metric for measure in MEASURES.values() for metric in measure.metrics),
    *OTHER_METRICS,
)
"""All described metrics: those with a direction, a unit or bounds."""
