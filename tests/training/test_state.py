"""A trainer resumed from a state: bit for bit as if uninterrupted, or with new values."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from ibml.config.trial import TrialConfig
from ibml.training.serialization import pack_state, unpack_state
from ibml.training.trainer import Trainer
from ibml.training.trial_result import EpochMetrics
from tests.conftest import vectors

DATA = {"type": "mfeat"}
ENCODERS = {"default": {"type": "mlp", "hidden": [8], "features": 4}}
OPTIMIZERS = [{"type": "sgd", "lr": 0.05, "momentum": 0.9}, {"type": "adamw", "lr": 0.01}]


def configured(trial: Callable[..., TrialConfig], optimizer: dict[str, object]) -> TrialConfig:
    trainer = {"epochs": 6, "batch_size": 7, "device": "cpu"}
    schedule = {"type": "cosine"}
    return trial(
        data=DATA, encoders=ENCODERS, optimizer=optimizer, trainer=trainer, schedule=schedule
    )


def timeless(rows: list[EpochMetrics]) -> list[EpochMetrics]:
    return [{k: v for k, v in row.items() if not k.startswith("time.")} for row in rows]


@pytest.mark.parametrize("optimizer", OPTIMIZERS, ids=lambda o: o["type"])
def test_a_loaded_trainer_goes_on_as_if_it_had_not_stopped(trial, optimizer):
    config, dataset = configured(trial, optimizer), vectors()
    whole, before, after = (Trainer(config, dataset) for _ in range(3))
    expected = [whole.run_epoch() for _ in range(6)]
    first = [before.run_epoch() for _ in range(3)]
    content = pack_state(before)
    before.run_epoch()  # the packed state is a copy
    unpack_state(content, after)
    assert timeless(first + [after.run_epoch() for _ in range(3)]) == timeless(expected)
    assert after.done
    assert timeless([after.finish()]) == timeless([whole.finish()])
    assert all(
        torch.equal(a, b)
        for a, b in zip(whole.model.parameters(), after.model.parameters(), strict=True)
    )


def test_values_of_the_configuration_win_over_those_of_the_state(trial):
    dataset = vectors()
    old = Trainer(configured(trial, {"type": "sgd", "lr": 0.05, "momentum": 0.9}), dataset)
    old.run_epoch()
    values = {"lr": 0.2, "momentum": 0.5, "weight_decay": 0.01, "nesterov": True}
    new = Trainer(configured(trial, {"type": "sgd", **values}), dataset)
    unpack_state(pack_state(old), new)
    group = new.optimizer.param_groups[0]
    assert {name: group[name] for name in values} == values
    buffers = [[s["momentum_buffer"] for s in t.optimizer.state.values()] for t in (old, new)]
    assert len(buffers[1]) == len(list(new.model.parameters()))
    assert all(torch.equal(a, b) for a, b in zip(*buffers, strict=True))
    assert new.run_epoch()["lr"] == pytest.approx(
        0.2 * (1 + torch.cos(torch.tensor(torch.pi / 6)).item()) / 2
    )


def test_a_copied_state_selects_among_its_own_epochs(trial):
    config, dataset = configured(trial, OPTIMIZERS[0]), vectors()
    old, new = Trainer(config, dataset), Trainer(config, dataset)
    for _ in range(3):
        old.run_epoch()
    unpack_state(pack_state(old), new, copied=True)
    while not new.done:
        new.run_epoch()
    assert new.finish()["selected.epoch"] >= 3
