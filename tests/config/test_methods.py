"""Configurations of methods: valid and invalid values, and fields that change results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import pytest
from pydantic import ValidationError

from ibml.config.component_unions import MethodConfig
from ibml.config.loading.annotations import get_union_members
from ibml.config.methods.base import WindowedMethodConfig
from ibml.config.trial import TrialConfig, build_canonical_form
from ibml.study.planning.keys import compute_prefix_keys, compute_trial_key

Build = Callable[..., TrialConfig]


def form(trial: Build, method: dict[str, Any], **parts: Any) -> dict[str, Any]:
    return build_canonical_form(trial(method=method, trainer={"epochs": 20}, **parts))


@pytest.mark.parametrize(
    ("method", "message"),
    [
        (
            {"type": "pmr", "window": {"first_epoch": 30, "stop_epoch": 30}},
            r"method.window.stop_epoch: the window \[30, 30\) is empty",
        ),
        (
            {"type": "agm", "window": {"stop_epoch": 21}},
            "method.window.stop_epoch: epoch 21 is outside the 20 epochs",
        ),
        (
            {"type": "pmr", "window": {"first_epoch": 5, "stop_epoch": 5}},
            r"method.window.stop_epoch: the window \[5, 5\) is empty",
        ),
        (
            {"type": "auxiliary", "weights": {"pics": 1.0}},
            "method.weights.pics: no modality is called 'pics'; known: pix, zer",
        ),
        (
            {"type": "unimodal", "modality": "ze"},
            "method.modality: no modality is called 'ze'; did you mean 'zer'?",
        ),
    ],
)
def test_what_does_not_fit_is_refused_with_its_place(
    trial: Build, method: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        form(trial, method)


@pytest.mark.parametrize(
    "method",
    [
        {"type": "auxiliary", "weights": -1},
        {"type": "auxiliary", "heads": "none"},
        {"type": "ogm_ge", "alpha": -0.1},
        {"type": "ogm_ge", "bio": {}},
        {"type": "pmr", "momentum": 1.5},
        {"type": "pmr", "coefficient": "release2"},
        {"type": "mmpareto", "gamma": 0},
        {"type": "mmcosine", "scale": 0},
        {"type": "g_blending", "super_epoch": 1},
        {"type": "recon_boost", "stage_epochs": 0},
        {"type": "lfm", "weight": 0.5},
        {"type": "modality_valuation", "part": 0},
        {"type": "joint", "window": {}},
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused(trial: Build, method: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        form(trial, method)


@pytest.mark.parametrize("method", ["mla", "recon_boost"])
def test_a_head_for_all_needs_features_of_one_width(trial: Build, method: str) -> None:
    encoders = {"default": {"type": "mlp", "features": 8}, "zer": {"type": "mlp", "features": 4}}
    with pytest.raises(
        ValidationError,
        match=f"encoders: {method} has one head for all modalities: features must be",
    ):
        form(trial, {"type": method}, encoders=encoders)
    form(trial, {"type": "lfm"}, encoders=encoders)
    with pytest.raises(
        ValidationError,
        match=r"method\.alignment: infonce compares features, which must be equally many",
    ):
        form(trial, {"type": "lfm", "alignment": "infonce"}, encoders=encoders)


@pytest.mark.parametrize(
    "method",
    [
        {"type": "auxiliary", "weights": 0},
        {"type": "auxiliary", "weights": {"pix": 0}},
        {"type": "ogm_ge", "alpha": 0, "ge": False},
        {"type": "pmr", "alpha": 0},
        {"type": "ibml", "bio": {"weight": 0}, "tcm": {"rate": 0}},
        {"type": "ibml", "bio": {"weight": 0}, "tcm": {"noise_scale": 0}},
    ],
    ids=str,
)
def test_a_method_that_does_nothing_is_joint(trial: Build, method: dict[str, Any]) -> None:
    assert form(trial, method) == form(trial, {"type": "joint"})


def test_two_ways_to_say_the_same_are_the_same_trial(trial: Build) -> None:
    same = [
        (
            {"type": "auxiliary", "weights": 2},
            {"type": "auxiliary", "weights": {"pix": 2.0, "zer": 2.0}},
        ),
        ({"type": "agm"}, {"type": "agm", "window": {"first_epoch": 0, "stop_epoch": 20}}),
        ({"type": "modality_valuation"}, {"type": "modality_valuation", "alpha": 0.9, "part": 0.5}),
    ]
    for one, other in same:
        assert form(trial, one) == form(trial, other)
    by_modality = {"type": "modality_valuation", "level": "modality"}
    assert form(trial, by_modality) != form(trial, {**by_modality, "part": 0.5})


@pytest.mark.parametrize("method", ["mla", "recon_boost", "lfm"])
def test_a_head_of_its_own_leaves_no_fusion_in_the_key(trial: Build, method: str) -> None:
    forms = [
        form(trial, {"type": method}, fusion={"type": fusion}) for fusion in ("concat", "late")
    ]
    assert forms[0] == forms[1]
    assert "fusion" not in forms[0]


def test_the_forms_of_before_are_as_they_were(trial: Build) -> None:
    """Stored results are found by them."""
    assert form(trial, {"type": "joint"})["method"] == {"type": "joint"}
    assert form(trial, {"type": "unimodal", "modality": "zer"})["method"] == {
        "type": "unimodal",
        "modality": "zer",
    }
    assert form(trial, {"type": "ibml"})["method"] == {
        "type": "ibml",
        "bio": {"weight": 1.0, "ramp": "constant"},
        "tcm": {"rate": 1.0, "noise_scale": 1.0, "ramp": "constant"},
        "window": {"first_epoch": 1, "stop_epoch": 20},
    }
    assert form(trial, {"type": "ibml", "tcm": {"rate": 0}})["method"] == {
        "type": "ibml",
        "bio": {"weight": 1.0, "ramp": "constant"},
        "window": {"first_epoch": 1, "stop_epoch": 20},
    }


@pytest.mark.parametrize(
    ("method", "extra"),
    [
        ({"type": "joint"}, 0),
        ({"type": "g_blending", "super_epoch": 5}, 4 * 3 * 5),
        ({"type": "g_blending", "super_epoch": 6}, 4 * 3 * 6),
        ({"type": "g_blending", "super_epoch": 5, "mode": "offline"}, 3 * 5),
        (
            {"type": "g_blending", "super_epoch": 5, "window": {"first_epoch": 3, "stop_epoch": 9}},
            2 * 3 * 5,
        ),
    ],
    ids=str,
)
def test_epochs_that_a_method_trains_beside_its_own_are_in_the_budget(
    trial: Build, method: dict[str, Any], extra: int
) -> None:
    config = trial(method=method, trainer={"epochs": 20})
    assert config.trained_epochs == 20 + extra
    assert config.count_trained_epochs(0) == 0
    early = [config.count_trained_epochs(done) for done in range(21)]
    assert early == sorted(early)
    assert early[2] == 2 + (3 * method["super_epoch"] if extra and "window" not in method else 0)


def test_what_compares_modalities_needs_two() -> None:
    parts = {
        "encoders": {"default": {"type": "small_cnn"}},
        "data": {"type": "mnist3d", "use": ["image"]},
    }
    for name in (
        "ogm_ge",
        "agm",
        "pmr",
        "mmpareto",
        "mla",
        "mmcosine",
        "g_blending",
        "recon_boost",
        "lfm",
    ):
        message = rf"method\.type: {name} compares modalities, and the data has image alone"
        with pytest.raises(ValidationError, match=message):
            TrialConfig.model_validate({**parts, "method": {"type": name}})
    for name in ("joint", "ibml", "auxiliary"):
        TrialConfig.model_validate({**parts, "method": {"type": name}})


WINDOWED = sorted(
    name
    for name, part in get_union_members(get_args(MethodConfig)[0]).items()
    if issubclass(part, WindowedMethodConfig)
)


@pytest.mark.parametrize("method", WINDOWED)
@pytest.mark.parametrize("first", [20, 21, 10**9])
def test_a_method_that_acts_in_no_epoch_is_joint(trial: Build, method: str, first: int) -> None:
    late = trial(method={"type": method, "window": {"first_epoch": first}}, trainer={"epochs": 20})
    joint = trial(method={"type": "joint"}, trainer={"epochs": 20})
    assert compute_trial_key(late, "data") == compute_trial_key(joint, "data")
    assert compute_prefix_keys(late, "data", "code") == compute_prefix_keys(joint, "data", "code")
    assert (late.head, late.trained_epochs, late.count_trained_epochs(7)) == (joint.head, 20, 7)
    assert late.notes == [
        f"{method} acts from epoch {first} on (method.window.first_epoch, from 0), and training "
        "has 20 epochs;"
        " it is plain joint training"
    ]
    assert TrialConfig.model_validate(late.model_dump(mode="json")) == late
    assert (
        trial(method={"type": method, "window": {"first_epoch": 19}}, trainer={"epochs": 20}).notes
        == []
    )


def test_one_epoch_of_the_default_method_is_joint(trial: Build) -> None:
    once = trial(trainer={"epochs": 1})
    assert (once.method.type, once.effective_method.type) == ("ibml", "joint")
    assert build_canonical_form(once) == build_canonical_form(
        trial(trainer={"epochs": 1}, method={"type": "joint"})
    )
    assert "training has 1 epoch; it is plain joint training" in once.notes[0]


def test_a_method_that_does_nothing_anyway_has_no_note(trial: Build) -> None:
    off = {"type": "ibml", "bio": {"weight": 0}, "tcm": {"rate": 0}}
    assert trial(trainer={"epochs": 1}, method=off).notes == []
    assert trial(trainer={"epochs": 1}, method={"type": "joint"}).notes == []
