"""`trainer.compile`: the same training, compiled, where the platform can."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ibml.config.trial import TrialConfig, build_canonical_form
from ibml.study.planning.keys import compute_trial_key
from ibml.training.checkpoint import TrialCheckpoints, load_model
from ibml.training.device import DeviceError, check_compiler
from ibml.training.serialization import pack_state, unpack_state
from ibml.training.trainer import Trainer
from tests.conftest import vectors
from tests.methods.steps import timeless

Build = Callable[..., TrialConfig]


def compiles() -> bool:
    try:
        check_compiler(torch.device("cpu"))
    except DeviceError:
        return False
    return True


def configured(trial: Build, **trainer: Any) -> TrialConfig:
    return trial(
        encoders={"default": {"type": "mlp", "hidden": [8], "features": 4}},
        method={"type": "ibml", "window": {"first_epoch": 1}},
        trainer={"epochs": 3, "batch_size": 7, "device": "cpu", "compile": True, **trainer},
    )


@pytest.mark.slow
@pytest.mark.skipif(not compiles(), reason="torch finds no compiler here")
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_it_trains_as_without_and_comes_back_bit_for_bit(
    trial: Build, precision: str, tmp_path: Path
) -> None:
    config, data = configured(trial, precision=precision), vectors(widths=(5, 3))
    whole, before, after = (Trainer(config, data) for _ in range(3))
    plain = Trainer(configured(trial, precision=precision, compile=False), data)
    graphs = torch._dynamo.utils.counters["stats"]["unique_graphs"]
    rows = [whole.run_epoch() for _ in range(3)]
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > graphs, "nothing was compiled"
    assert list(whole.model.state_dict()) == list(plain.model.state_dict())
    tolerance = 1e-5 if precision == "float32" else 0.1
    for row, other in zip(rows, [plain.run_epoch() for _ in range(3)], strict=True):
        assert row["train.loss"] == pytest.approx(other["train.loss"], rel=tolerance)
    begun = [before.run_epoch()]
    unpack_state(pack_state(before), after)
    assert timeless([*begun, after.run_epoch(), after.run_epoch()]) == timeless(rows)
    checkpoints = TrialCheckpoints(tmp_path, config.trainer)
    checkpoints.save_selected(whole, whole.finish())
    _, inputs, _ = next(whole.test_split.batches([torch.arange(2)]))
    whole.model.eval()
    for mine, theirs in zip(
        load_model(tmp_path / "selected.ckpt")(inputs), whole.model(inputs), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_it_is_in_the_key_where_it_is_on(trial: Build) -> None:
    on, off = configured(trial), configured(trial, compile=False)
    assert compute_trial_key(on, "f") != compute_trial_key(off, "f")
    assert "compile" in build_canonical_form(on)["trainer"]
    assert "compile" not in build_canonical_form(off)["trainer"]


def test_without_a_compiler_it_is_refused_in_words(
    trial: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch._inductor.config.cpp.cxx", (None, "no-such-compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_FORCE_DISABLE_CACHES", "1")
    check_compiler.cache_clear()
    torch._dynamo.reset()
    try:
        with pytest.raises(DeviceError, match=r"^trainer\.compile "):
            Trainer(configured(trial), vectors(widths=(5, 3)))
    finally:
        check_compiler.cache_clear()
        torch._dynamo.reset()
