"""Names of states: trainings that share a name share the state, bit for bit, and can resume it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ibml.config.trial import TrialConfig
from ibml.study.planning.keys import compute_prefix_keys, compute_trial_key
from ibml.training.checkpoint import TrialCheckpoints
from ibml.training.trainer import Trainer
from ibml.training.trial_result import EpochMetrics
from tests.conftest import vectors
from tests.methods.steps import timeless

pytestmark = pytest.mark.slow

Build = Callable[..., TrialConfig]
EPOCHS = 6
OWN_HEADS = ("mla", "mmcosine", "recon_boost", "lfm")
SOONER: dict[str, dict[str, Any]] = {
    "g_blending": {"super_epoch": 2},
    "recon_boost": {"stage_epochs": 1, "correct_epochs": 1},
    "modality_valuation": {"warmup": 0},
}
WINDOWED = (
    *("auxiliary", "ibml", "ogm_ge", "agm", "pmr", "mmpareto", "g_blending", "modality_valuation"),
    *OWN_HEADS,
)


def windowed(name: str, first: int, stop: int | None, **options: Any) -> dict[str, Any]:
    window = {"first_epoch": first, **({"stop_epoch": stop} if stop else {})}
    return {"type": name, **SOONER.get(name, {}), **options, "window": window}


def configured(
    trial: Build, method: Mapping[str, Any], epochs: int = EPOCHS, **parts: Any
) -> TrialConfig:
    trainer = {"epochs": epochs, "batch_size": 7, "device": "cpu", **parts.pop("trainer", {})}
    given = {
        "encoders": {"default": {"type": "mlp", "hidden": [6], "features": 4}},
        "optimizer": {"lr": 0.05},
        **parts,
    }
    return trial(method=dict(method), trainer=trainer, **given)


def common(a: TrialConfig, b: TrialConfig) -> int:
    """After how many epochs two trainings are still in a state of the same name."""
    pairs = zip(
        compute_prefix_keys(a, "data", "code"), compute_prefix_keys(b, "data", "code"), strict=False
    )
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def alone(config: TrialConfig) -> tuple[list[EpochMetrics], list[dict[str, Any]], Trainer]:
    """Rows and states of a training, epoch by epoch."""
    trainer, rows, states = Trainer(config, vectors()), [], []
    while not trainer.done:
        rows.append(trainer.run_epoch())
        states.append(plain(trainer.state_dict()))
    return rows, states, trainer


def plain(value: Any) -> Any:
    """Return a comparable copy: tensors as bytes, without measured times."""
    if isinstance(value, torch.Tensor):
        return (
            str(value.dtype),
            tuple(value.shape),
            np.ascontiguousarray(value.detach().numpy()).tobytes(),
        )
    if isinstance(value, Mapping):
        return {
            key: plain(part)
            for key, part in value.items()
            if key != "seconds" and not str(key).startswith("time.")
        }
    return [plain(part) for part in value] if isinstance(value, list | tuple) else value


def check_shared(a: TrialConfig, b: TrialConfig, folder: Path) -> int:
    """Check the epochs that a and b share, and return their number.

    Trained alone, both have the same states for as long as the names are equal. Resumed from the
    last shared state of a, b ends as if trained alone.
    """
    epochs = common(a, b)
    rows_a, states_a, _ = alone(a)
    rows_b, states_b, last = alone(b)
    for epoch in range(epochs):
        own, other = states_a[epoch], states_b[epoch]
        for part in ("model", "optimizer", "scaler", "selected", "epoch", "samples"):
            assert own[part] == other[part], (epoch, part)
        for part in own["method"].keys() & other["method"].keys():
            assert own["method"][part] == other["method"][part], (epoch, part)
        assert timeless(rows_a[epoch : epoch + 1]) == timeless(rows_b[epoch : epoch + 1])
    if epochs:
        place = folder / "state.ckpt"
        place.unlink(missing_ok=True)
        leaving = TrialCheckpoints(folder / "a", a.trainer, checkpoints_to_save={epochs: place})
        trainer, rows = Trainer(a, vectors()), list[EpochMetrics]()
        while trainer.epoch < epochs:
            rows.append(trainer.run_epoch())
            leaving.save_if_due(trainer, rows)
        taking = TrialCheckpoints(folder / "b", b.trainer, warm_start_candidates=[(epochs, place)])
        trainer, rows = taking.restore(lambda: Trainer(b, vectors()))
        assert taking.take_report()["shared"] == trainer.epoch == len(rows) == epochs
        while not trainer.done:
            rows.append(trainer.run_epoch())
        assert timeless(rows) == timeless(rows_b)
        assert plain(trainer.state_dict()) == states_b[-1]
        assert timeless([trainer.finish()]) == timeless([last.finish()])
    return epochs


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
@pytest.mark.parametrize("name", WINDOWED)
def test_a_method_is_joint_until_its_window_opens(
    trial: Build, tmp_path: Path, name: str, optimizer: str
) -> None:
    parts = {"optimizer": {"type": optimizer, "lr": 0.02}}
    late, later = (configured(trial, windowed(name, first, None), **parts) for first in (2, 4))
    assert check_shared(late, later, tmp_path) == check_shared(later, late, tmp_path) == 2
    if name not in OWN_HEADS:
        joint = configured(trial, {"type": "joint"}, **parts)
        assert check_shared(joint, later, tmp_path) == check_shared(later, joint, tmp_path) == 4


@pytest.mark.parametrize("name", WINDOWED)
def test_windows_that_end_later_share_what_comes_before(
    trial: Build, tmp_path: Path, name: str
) -> None:
    short, long = (configured(trial, windowed(name, 1, stop)) for stop in (3, 5))
    assert check_shared(short, long, tmp_path) == check_shared(long, short, tmp_path) == 3


@pytest.mark.parametrize("name", WINDOWED)
def test_a_longer_training_goes_on_from_a_shorter_one(
    trial: Build, tmp_path: Path, name: str
) -> None:
    short, long = (configured(trial, windowed(name, 1, 3), epochs) for epochs in (4, 6))
    expected = (
        1 if name in ("g_blending", "lfm") else 4
    )  # what these do follows from how many epochs there are
    assert check_shared(short, long, tmp_path) == check_shared(long, short, tmp_path) == expected


def test_only_values_count(trial: Build, tmp_path: Path) -> None:
    window = {"first_epoch": 2, "stop_epoch": 5}
    base = {"type": "ibml", "window": window}
    ibml = configured(trial, base)
    cases: list[tuple[int, dict[str, Any], dict[str, Any]]] = [
        (6, {"bio": {"ramp": "constant"}}, {}),
        (3, {"bio": {"ramp": "linear_down"}, "tcm": {"ramp": "cosine"}}, {}),  # both begin at 1
        (2, {"bio": {"ramp": "linear_up"}}, {}),
        (2, {"tcm": {"rate": 2}}, {}),
        (2, {"tcm": {"kind": "mixup"}}, {}),
        (2, {"rates": {"per_class": True}}, {}),
        (0, {"rates": {"smoothing": 0.5}}, {}),
        (0, {"rates": {"memory": "step"}}, {}),
        (6, {}, {"trainer": {"measures": ["shapley"]}}),
        (0, {}, {"trainer": {"measures": ["discrepancy"]}}),
        (6, {}, {"trainer": {"keep": "none", "max_retries": 0}}),
        (0, {}, {"trainer": {"selection": "val.loss"}}),
        (0, {}, {"optimizer": {"lr": 0.04}}),
        (3, {}, {"schedule": {"type": "step", "step_size": 3, "gamma": 0.5}}),
        (
            2,
            {},
            {"schedule": {"type": "warmup", "boost_epochs": 5}},
        ),  # its second epoch has a factor of 1 too
        (1, {}, {"schedule": {"type": "cosine"}}),
        (0, {}, {"seed": 1}),
    ]
    for expected, options, parts in cases:
        other = configured(trial, base | options, **parts)
        assert (
            check_shared(ibml, other, tmp_path) == check_shared(other, ibml, tmp_path) == expected
        ), (options, parts)


def test_parts_that_are_off_have_no_window(trial: Build, tmp_path: Path) -> None:
    off = configured(
        trial,
        {"type": "ibml", "bio": {"weight": 0}, "tcm": {"rate": 0}, "rates": {"memory": "step"}},
    )
    assert check_shared(configured(trial, {"type": "joint"}), off, tmp_path) == EPOCHS
    no_noise = windowed("ibml", 2, None, bio={"weight": 0})
    no_loss = windowed("ibml", 2, None, tcm={"rate": 0})
    assert check_shared(configured(trial, no_noise), configured(trial, no_loss), tmp_path) == 2


def test_states_of_other_data_code_or_plug_ins_have_other_names(trial: Build) -> None:
    config = configured(trial, {"type": "joint"})
    names = {
        compute_prefix_keys(config, data, code)[0] for data in ("a", "b") for code in ("1", "2")
    }
    assert len(names) == 4
    assert compute_trial_key(config, "a") not in {name.hex() for name in names}


def test_whatever_differs_states_of_one_name_are_the_same(trial: Build, tmp_path: Path) -> None:
    """Random pairs, so that what the cases above do not think of is tried too."""
    drawn = np.random.default_rng(7)

    def one_of(*values: Any) -> Any:
        return values[drawn.integers(len(values))]

    def method() -> dict[str, Any]:
        first = int(drawn.integers(0, 4))
        made = windowed(one_of(*WINDOWED[:4], "ibml", "ibml", "pmr"), first, one_of(None, 4, 5))
        if made["type"] == "ibml":
            made["bio"] = {
                "weight": one_of(0, 1, 2),
                "ramp": one_of("constant", "linear_down", "cosine", "linear_up"),
            }
            made["tcm"] = {"rate": one_of(0, 1, 2), "ramp": one_of("constant", "linear_down")}
        if made["type"] in ("auxiliary", "mmpareto"):
            made["heads"] = one_of("shared", "separate")
        return made

    shared = 0
    for _ in range(60):
        a, b = (
            configured(
                trial,
                method(),
                one_of(5, 6),
                schedule=one_of({"type": "constant"}, {"type": "step", "step_size": 4}),
                fusion={"type": one_of("concat", "sum")},
            )
            for _ in range(2)
        )
        shared += check_shared(a, b, tmp_path)
    assert shared > 25
