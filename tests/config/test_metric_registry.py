"""Every metric and measure of the registry: names, functions, and what follows from its entry."""

from __future__ import annotations

import math

import pytest
import torch

from ibml.common.imports import load_object
from ibml.config.metrics.names import (
    describe_metric,
    find_measure,
    list_evaluation_metrics,
    list_measure_metrics,
    list_search_metrics,
    list_table_metrics,
    list_timed_measures,
)
from ibml.config.metrics.registry import EVALUATION_METRICS, MEASURES, METRICS
from ibml.config.metrics.specs import MeasureSpec, MetricSpec
from ibml.search.objective_values import get_worst_value
from ibml.training.metrics.base import Predictions

MODALITIES = ("pix", "zer", "fou")


def by_name(entry: MetricSpec | MeasureSpec) -> str:
    return entry.name


def test_no_two_metrics_describe_one_name() -> None:
    names = [name for metric in METRICS for name in metric.expand_names(MODALITIES)]
    assert len(set(names)) == len(names)
    for name in names:
        assert sum(metric.matches(name) for metric in METRICS) == 1, name


@pytest.mark.parametrize("metric", EVALUATION_METRICS, ids=by_name)
def test_a_metric_is_computed_within_its_bounds_and_can_be_searched_and_shown(
    metric: MetricSpec,
) -> None:
    generator = torch.Generator().manual_seed(0)
    unimodal = torch.randn(3, 50, 4, generator=generator)
    labels = torch.randint(0, 4, (50,), generator=generator)
    names = metric.expand_names(MODALITIES)
    values = (
        load_object(metric.function)(Predictions(unimodal.mean(0), unimodal, labels))
        .reshape(-1)
        .tolist()
    )
    assert len(values) == len(names)
    low, high = metric.bounds or (-math.inf, math.inf)
    assert all(low <= value <= high for value in values)
    for name in names:
        assert f"val.{name}" in list_search_metrics(MODALITIES)
        assert {f"test.{name}", f"selected.val.{name}"} <= set(list_table_metrics(MODALITIES))
        assert describe_metric(f"selected.val.{name}").spec is metric
        worst = [
            get_worst_value(f"val.{name}", sense, [0.25]) for sense in ("maximize", "minimize")
        ]
        assert worst == list(metric.bounds or (0.25, 0.25))


@pytest.mark.parametrize("measure", MEASURES.values(), ids=by_name)
def test_a_measure_is_named_timed_and_found_by_its_metrics(measure: MeasureSpec) -> None:
    assert callable(load_object(measure.function))
    names = list_measure_metrics(measure.name, MODALITIES)
    assert names
    assert set(names) <= set(list_table_metrics(MODALITIES, [measure.name])) - set(
        list_table_metrics(MODALITIES)
    )
    assert [find_measure(name, MODALITIES) for name in names] == [measure.name] * len(names)
    assert all(describe_metric(name).spec in measure.metrics for name in names)
    assert list_measure_metrics(measure.name, MODALITIES[:1]) == [] or measure.min_modalities < 2
    assert list_timed_measures([measure.name], 3) == ["features"] * measure.needs_features + [
        measure.name
    ] * (measure.stage == "test")


def test_names_come_in_the_order_of_the_registry() -> None:
    each = [f"accuracy.{name}" for name in MODALITIES]
    assert list_evaluation_metrics(MODALITIES)[:7] == ["loss", "accuracy", "macro_f1", *each, "gap"]
    assert list_evaluation_metrics(["pix"])[:4] == ["loss", "accuracy", "macro_f1", "accuracy.pix"]
