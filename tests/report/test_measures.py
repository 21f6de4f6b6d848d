"""Utilisations, which tables compute from two trials, and the samples that arms were trained on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from ibml.records import StudyRecord, TrialRecord
from ibml.report.tables.render import render
from ibml.report.tables.results import Results
from ibml.report.tables.table import build_table
from tests.support.records import study

ALONE = {"method.type": "unimodal", "method.modality": "pix"}
SEEDS = {"Joint": [0.0] * 3, "IBML": [0.0] * 3, "Pix": [0.0] * 3}


def record_of(changes: Mapping[str, Any] | None = None, **more: Any) -> StudyRecord:
    changes = {"IBML": {"method.type": "ibml"}, "Pix": ALONE} if changes is None else changes
    datasets = more.get("datasets", ("d",))
    given = {
        "metrics": ("test.utilisation.pix",),
        "configs": {name: {"method.type": "joint", "data.type": "mfeat"} for name in datasets},
        "changes": {name: dict(changes) for name in datasets},
    }
    return study(SEEDS, **{**given, **more})


def finished(
    record: StudyRecord, metrics: Mapping[tuple[str, str, int], Mapping[str, float]]
) -> dict:
    return {
        t.key: TrialRecord(
            t.key, f"run-{t.key}", "finished", dict(found), "", "data", "rev", "cpu", ended_at=10
        )
        for t in record.trials
        if (found := metrics.get((t.dataset, t.arm, t.seed))) is not None
    }


def accuracies(
    dataset: str = "d", scale: float = 1.0
) -> dict[tuple[str, str, int], dict[str, float]]:
    """Return the accuracies of three seeds by data set, arm and seed.

    The accuracy of pix is 0.8, 0.5 and 0.4 alone, times `scale`; 0.6, 0.4 and 0.4 in IBML; and half
    of the accuracy alone in Joint.
    """
    alone, within = [scale * share for share in (0.8, 0.5, 0.4)], (0.6, 0.4, 0.4)
    found: dict[tuple[str, str, int], dict[str, float]] = {}
    for seed in range(3):
        found[dataset, "Pix", seed] = {
            "test.accuracy": alone[seed],
            "test.accuracy.pix": alone[seed],
        }
        found[dataset, "IBML", seed] = {"test.accuracy": 0.9, "test.accuracy.pix": within[seed]}
        found[dataset, "Joint", seed] = {"test.accuracy": 0.9, "test.accuracy.pix": alone[seed] / 2}
    return found


def test_utilisation_is_the_accuracy_by_that_of_the_modality_alone_seed_by_seed() -> None:
    record = record_of()
    results = Results(record, finished(record, accuracies()))
    (metric,) = results.metrics
    assert results.get_values("d", "IBML", metric) == pytest.approx({0: 75.0, 1: 80.0, 2: 100.0})
    assert results.get_values("d", "Joint", metric) == pytest.approx({0: 50.0, 1: 50.0, 2: 50.0})
    assert results.get_values("d", "Pix", metric) == pytest.approx({0: 100.0, 1: 100.0, 2: 100.0})
    table = build_table(record, results.records)
    cell = table.get_cell("d", "IBML", "test.utilisation.pix")
    assert cell.summary.mean == pytest.approx(85.0)
    assert cell.difference.mean == pytest.approx(35.0)
    assert "85.00" in render(table, "text")


def test_utilisation_compares_within_a_data_set() -> None:
    record = record_of(datasets=("d", "e"))
    found = finished(record, {**accuracies(), **accuracies("e", scale=0.5)})
    results = Results(record, found)
    (metric,) = results.metrics
    assert results.get_values("d", "IBML", metric)[1] == pytest.approx(80.0)
    assert results.get_values("e", "IBML", metric)[1] == pytest.approx(160.0)


def test_a_reference_that_is_the_modality_alone_is_compared_with_too() -> None:
    """Its configuration is in `configs`, and the other arms differ from it."""
    changes = {arm: {"method.type": "ibml", "method.modality": None} for arm in ("Joint", "IBML")}
    record = record_of(changes, configs={"d": ALONE}, reference="Pix")
    results = Results(record, finished(record, accuracies()))
    (metric,) = results.metrics
    assert results.get_values("d", "IBML", metric) == pytest.approx({0: 75.0, 1: 80.0, 2: 100.0})


def test_seeds_without_the_modality_alone_have_no_utilisation() -> None:
    record, metrics = record_of(), accuracies()
    found = finished(
        record, {**metrics, ("d", "Pix", 2): {"test.accuracy": 0.0, "test.accuracy.pix": 0.0}}
    )
    found["d/Pix/1"] = replace(found["d/Pix/1"], status="diverged")
    del found["d/Joint/0"]
    results = Results(record, found)
    (metric,) = results.metrics
    assert results.get_values("d", "IBML", metric) == pytest.approx({0: 75.0})
    assert results.get_values("d", "Joint", metric) == {}
    foot = "\n".join(build_table(record, found).notes)
    assert (
        "Finished without a finite test.utilisation.pix: 5 trials (Joint 2, IBML 2, Pix 1)." in foot
    )


def samples(
    of: Mapping[str, list[float | None]], dataset: str = "d"
) -> dict[tuple[str, str, int], dict[str, float]]:
    return {
        (dataset, arm, seed): {"test.accuracy": 0.9} | ({} if n is None else {"samples.total": n})
        for arm, by_seed in of.items()
        for seed, n in enumerate(by_seed)
    }


def lines(
    record: StudyRecord, metrics: Mapping[tuple[str, str, int], Mapping[str, float]]
) -> list[str]:
    return [
        line
        for line in build_table(record, finished(record, metrics)).notes
        if "samples than" in line
    ]


def test_the_foot_names_arms_that_saw_more_or_fewer_samples() -> None:
    record = record_of(metrics=("test.accuracy",), table={"names": {"Joint": "Joint training"}})
    found = samples(
        {"Joint": [1000, 1000, 1000], "IBML": [3000, 4000, 5000], "Pix": [900, 900, 900]}
    )
    assert lines(record, found) == [
        "Trained on more samples than Joint training: IBML 4.00 times.",
        "Trained on fewer samples than Joint training: Pix 0.90 times.",
    ]


def test_half_a_percent_of_samples_is_no_difference() -> None:
    record = record_of(metrics=("test.accuracy",))
    assert lines(record, samples({"Joint": [1000] * 3, "IBML": [1004] * 3, "Pix": [996] * 3})) == []
    found = samples({"Joint": [1000] * 3, "IBML": [1006] * 3, "Pix": [994] * 3})
    assert [line.split(": ")[1] for line in lines(record, found)] == [
        "IBML 1.01 times.",
        "Pix 0.99 times.",
    ]


def test_results_that_do_not_know_their_samples_say_nothing_of_them() -> None:
    record = record_of(metrics=("test.accuracy",))
    assert (
        lines(record, samples({"Joint": [None] * 3, "IBML": [1000] * 3, "Pix": [None] * 3})) == []
    )
    assert (
        lines(record, samples({"Joint": [1000] * 3, "IBML": [None] * 3, "Pix": [1000, None, None]}))
        == []
    )
    assert lines(record, samples({"IBML": [1000] * 3})) == []


def test_samples_of_several_data_sets_say_of_which() -> None:
    record = record_of(metrics=("test.accuracy",), datasets=("d", "e"))
    same = {"Joint": [1000] * 3, "IBML": [1000] * 3, "Pix": [1000] * 3}
    found = {**samples(same), **samples({**same, "IBML": [2500] * 3}, "e")}
    assert lines(record, found) == ["Trained on more samples than Joint: IBML 2.50 times on e."]
