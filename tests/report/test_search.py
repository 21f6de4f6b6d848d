"""Reports of searches, from records made by hand."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import yaml

from ibml.records import ProposalRecord, SearchRecord
from ibml.report.search.figures import compute_anytime_curves
from ibml.report.search.importance import compute_importances
from ibml.report.search.page import FILES, build_search_summary, render_search_report
from ibml.report.search.summary import (
    build_optuna_study,
    build_trials_frame,
    compute_best_so_far,
    find_pareto_front,
)
from ibml.report.tables.formats.text import render_plain_text

RANGE = {"low": 0.0, "high": 1.0, "log": False, "step": None, "when": {}, "whole": False}
KIND = {"choices": ["a", None, True, {"x": 1}], "when": {}, "whole": False}


def proposal(number: int, values: tuple[float, ...] | None, **rest: Any) -> ProposalRecord:
    given = {
        "state": "complete" if values else "failed",
        "params": {},
        "curve": {},
        "epochs": 10,
        "feasible": True,
    }
    return ProposalRecord.model_validate(
        {**given, "reason": "", "number": number, "values": values, **rest}
    )


def record(
    proposals: list[ProposalRecord], parameters: dict[str, Any], **rest: Any
) -> SearchRecord:
    values = [p for p in proposals if p.values and p.feasible and not p.reason]
    best = max(values, key=lambda p: (p.values or (0.0,))[0], default=None)
    given = {
        "name": "demo",
        "description": "",
        "arm": "",
        "dataset": "",
        "file_hash": "",
        "overrides": (),
        "objectives": (("val.accuracy", "maximize"),),
        "sampler": {"type": "random", "seed": 0},
        "scheduler": {"type": "none"},
        "parameters": parameters,
        "trials": max(len(proposals), 1),
        "epochs": 10,
        "seeds": (1_000_000,),
        "proposals": tuple(proposals),
        "best": best.number if best else None,
        "best_params": best.params if best else {},
        "best_config": {"data": {"type": "mfeat"}} if best else {},
    }
    return SearchRecord.model_validate({**given, **rest})


def two_parameters(trials: int = 60) -> SearchRecord:
    """The value is that of `x` and a tenth of `y`."""
    generator = np.random.default_rng(1)
    drawn = generator.random((trials, 2))
    proposals = [
        proposal(n, (float(x + 0.1 * y),), params={"x": float(x), "y": float(y)})
        for n, (x, y) in enumerate(drawn)
    ]
    return record(proposals, {"x": RANGE, "y": RANGE})


def test_importance_finds_what_matters() -> None:
    found = compute_importances(two_parameters())
    assert [i.name for i in found.parameters] == ["x", "y"]
    first, second = found.parameters
    assert first.low <= first.mean <= first.high
    assert first.low > 0.9  # of the variance 1 / 1.01 is that of x
    assert second.mean < 0.1
    assert found.epochs is None


def test_importance_of_early_stopped_trials_is_that_of_the_last_epoch_that_half_reached() -> None:
    full = two_parameters()
    stopped = []
    for p in full.proposals:
        curve = {2: (p.values or (0.0,))[0]} | ({5: 0.5} if p.number % 3 == 0 else {})
        stopped.append(p.model_copy(update={"state": "pruned", "values": None, "curve": curve}))
    found = compute_importances(full.model_copy(update={"proposals": tuple(stopped)}))
    assert found.epochs == 2
    assert found.parameters[0].name == "x"


def test_there_is_no_importance_of_few_trials_or_equal_values() -> None:
    assert compute_importances(two_parameters(5)).parameters == ()
    equal = [proposal(n, (0.5,), params={"x": n / 20}) for n in range(20)]
    assert compute_importances(record(equal, {"x": RANGE})).parameters == ()


@pytest.mark.slow
def test_a_conditional_parameter_is_judged_where_it_is_active() -> None:
    generator = np.random.default_rng(2)
    proposals = []
    for n in range(60):
        x, y = map(float, generator.random(2))
        params = {"x": x} | ({"y": y} if x > 0.5 else {})
        proposals.append(proposal(n, (0.1 * x + params.get("y", 0.0),), params=params))
    found = {
        i.name: i
        for i in compute_importances(record(proposals, {"x": RANGE, "y": RANGE})).parameters
    }
    assert found["y"].trials == sum("y" in p.params for p in proposals) < found["x"].trials == 60
    assert found["y"].low > 0.8


def test_the_pareto_front_has_what_nothing_beats() -> None:
    points = [(0.9, 0.5), (0.8, 0.3), (0.8, 0.4), (0.95, 0.6), (0.7, 0.3), (0.99, 0.1)]
    proposals = [proposal(n, point, feasible=n != 5) for n, point in enumerate(points)]
    objectives = (("val.accuracy", "maximize"), ("val.gap", "minimize"))
    made = record(proposals, {"x": RANGE}, objectives=objectives)
    assert [p.number for p in find_pareto_front(made)] == [3, 0, 1]
    assert sorted(t.number for t in build_optuna_study(made).best_trials if t.number != 5) in (
        [],
        [0, 1, 3],
    )


@pytest.mark.parametrize(
    ("sense", "expected"),
    [("maximize", [None, 0.5, 0.5, 0.7]), ("minimize", [None, 0.5, 0.2, 0.2])],
)
def test_the_best_so_far_follows_the_budget(sense: str, expected: list[float | None]) -> None:
    proposals = [proposal(0, None), *(proposal(n, (v,)) for n, v in enumerate([0.5, 0.2, 0.7], 1))]
    curve = compute_best_so_far(record(proposals, {"x": RANGE}, objectives=(("val.loss", sense),)))
    assert [None if v is None or math.isnan(v) else v for v in curve["best"]] == expected
    assert list(curve["epochs"]) == [10, 20, 30, 40]


def test_searches_are_compared_at_the_same_budget() -> None:
    fast = record([proposal(0, (0.9,)), proposal(1, (0.95,))], {"x": RANGE}, name="fast")
    slow = record([proposal(n, (0.9 + n / 100,)) for n in range(4)], {"x": RANGE}, name="slow")
    fast = fast.model_copy(update={"compared": {"ours": ("fast",), "random": ("slow",)}})
    ours, random = compute_anytime_curves(fast, [slow])
    assert ours[0] == "ours (1 repeats)"
    assert list(ours[4]) == list(random[4])
    at = int(np.searchsorted(ours[4], 25))
    assert (ours[1][at], random[1][at]) == (0.95, 0.91)
    assert np.isnan(ours[1][0])


ODD = {
    "all failed": record(
        [proposal(n, None, reason="failed: no memory") for n in range(3)], {"x": RANGE}
    ),
    "nothing yet": record([], {"x": RANGE}),
    "one": record([proposal(0, (0.5,), params={"x": 0.5})], {"x": RANGE}),
    "equal": record(
        [proposal(n, (0.5,), params={"x": 0.5, "k": None}) for n in range(9)],
        {"x": RANGE, "k": KIND},
    ),
    "labels": record(
        [
            proposal(n, (0.1 * n,), params={"k": ["a", None, True, '{"x": 1}'][n % 4], "x": n / 12})
            for n in range(12)
        ],
        {"x": RANGE, "k": KIND},
    ),
    "three objectives": record(
        [proposal(n, (n / 9, 1 - n / 9, 0.5), params={"x": n / 9}) for n in range(9)],
        {"x": RANGE},
        objectives=(
            ("val.accuracy", "maximize"),
            ("val.gap", "minimize"),
            ("time.total", "minimize"),
        ),
    ),
    "all infeasible": record(
        [proposal(n, (n / 9, 0.5), feasible=False, params={"x": n / 9}) for n in range(9)],
        {"x": RANGE},
        objectives=(("val.accuracy", "maximize"), ("val.gap", "minimize")),
    ),
    "only pruned": record(
        [
            proposal(n, None, state="pruned", curve={1: 0.1 * n}, params={"x": n / 9})
            for n in range(9)
        ],
        {"x": RANGE},
    ),
    "constants only": record([proposal(0, (0.5,))], {}),
}


@pytest.mark.parametrize("name", ODD)
def test_odd_searches_have_a_report(name: str) -> None:
    made = ODD[name]
    files = render_search_report(made)
    assert set(files) <= set(FILES)
    assert "report.md" in files
    assert ("best.yaml" in files) == (made.best is not None)
    if made.best is not None:
        assert yaml.safe_load(str(files["best.yaml"])) == made.best_config
    assert all(
        content[:4] == b"\x89PNG" for file, content in files.items() if file.endswith(".png")
    )
    assert f"{len(made.proposals)} of {made.trials} trials" in render_plain_text(
        build_search_summary(made)
    )
    assert len(build_trials_frame(made)) == len(made.proposals)


def test_the_same_search_gives_the_same_report() -> None:
    first, second = (
        render_search_report(two_parameters(20)),
        render_search_report(two_parameters(20)),
    )
    assert first == second


def test_values_stay_text_on_the_page_and_in_the_preset() -> None:
    value = "a|b<script>`c`\nseed: 7"
    found = record(
        [proposal(0, (0.5,), params={"x": value})],
        {"x": {**KIND, "choices": [value, "d"]}},
        description="<b>",
    )
    made = render_search_report(found)
    assert yaml.safe_load(made["best.yaml"]) == {"data": {"type": "mfeat"}}
    assert "<script>" not in str(made["report.md"])
    assert "<b>" not in str(made["report.md"])
    assert r"| `x` | a\|b\<script\>\`c\` seed: 7 |" in str(made["report.md"])
