"""IBML beyond the paper: the keys of results, and invalid values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from ibml.common.yaml.documents import build_document
from ibml.config.loading.validation import parse_document
from ibml.config.trial import TrialConfig, build_canonical_form

Build = Callable[..., TrialConfig]

PAPER = {"ramp": "constant", "rate": 1.0, "noise_scale": 1.0}
STORED: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({}, {"bio": {"weight": 1.0, "ramp": "constant"}, "tcm": PAPER}),
    (
        {"bio": {"weight": 0.5, "ramp": "linear_up"}, "tcm": {"rate": 0}},
        {"bio": {"weight": 0.5, "ramp": "linear_up"}},
    ),
    (
        {"bio": {"weight": 0}, "tcm": {"rate": 2, "noise_scale": 0.25, "ramp": "cosine"}},
        {"tcm": {"rate": 2.0, "noise_scale": 0.25, "ramp": "cosine"}},
    ),
    ({"tcm": {"noise_scale": 0}}, {"bio": {"weight": 1.0, "ramp": "constant"}}),
]
"""A configuration older than the extensions of the paper, and its canonical form."""


@pytest.mark.parametrize(("method", "stored"), STORED, ids=str)
def test_results_of_before_are_found_under_their_stored_form(
    trial: Build, method: dict[str, Any], stored: dict[str, Any]
) -> None:
    said = {"rates": {"memory": "epoch", "smoothing": 0, "per_class": False}}
    for more in ({}, said):
        config = trial(method={"type": "ibml", **method, **more}, trainer={"epochs": 5})
        assert build_canonical_form(config)["method"] == {
            "type": "ibml",
            **stored,
            "window": {"first_epoch": 1, "stop_epoch": 5},
        }


def test_what_is_the_papers_is_not_said_and_what_is_unused_does_not_count(trial: Build) -> None:
    def form(**method: Any) -> Any:
        return build_canonical_form(
            trial(method={"type": "ibml", **method}, trainer={"epochs": 5})
        )["method"]

    assert (
        form(
            rates={"memory": "epoch", "smoothing": 0}, bio={"rule": "on_off"}, tcm={"strength": 0.1}
        )
        == form()
    )
    assert "strength" not in str(form(tcm={"kind": "modality_dropout", "strength": 0.2}))
    mixup = {"kind": "mixup", "noise_scale": 3.0}
    assert form(tcm=mixup)["tcm"] == {
        "rate": 1.0,
        "ramp": "constant",
        "kind": "mixup",
        "strength": 0.5,
    }
    assert form(tcm={"kind": "mixup", "noise_scale": 0})["tcm"]["kind"] == "mixup"
    off = {"bio": {"weight": 0}, "tcm": {"rate": 0}}
    assert form(**off, rates={"per_class": True}) == {"type": "joint"}


@pytest.mark.parametrize(
    ("method", "said"),
    [
        (
            {"tcm": {"kind": "feature_dropout", "strength": 1.0}},
            "method.tcm.strength: feature_dropout of 1 leaves no",
        ),
        (
            {"tcm": {"kind": "mixpu"}},
            "method.tcm.kind: 'mixpu' is not known; did you mean 'mixup'?",
        ),
        ({"tcm": {"strength": 0.0}}, "method.tcm.strength: "),
        ({"tcm": {"strength": 1.5}}, "method.tcm.strength: "),
        ({"rates": {"smoothing": 1.0}}, "method.rates.smoothing: "),
        (
            {"rates": {"smothing": 0.5}},
            "unknown key 'method.rates.smothing'; did you mean 'method.rates.smoothing'?",
        ),
        (
            {"rates": {"memory": "steps"}},
            "method.rates.memory: 'steps' is not known; did you mean 'step'?",
        ),
        ({"bio": {"rule": "lags"}}, "method.bio.rule: 'lags' is not known; did you mean 'lag'?"),
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused_with_their_path(
    method: dict[str, Any], said: str
) -> None:
    data = {
        "data": {"type": "mfeat"},
        "encoders": {"default": {"type": "mlp"}},
        "method": {"type": "ibml", **method},
    }
    problems = parse_document(build_document(data, "trial.yaml"), TrialConfig)[1]
    assert said in "\n".join(map(str, problems))
