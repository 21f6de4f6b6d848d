"""IBML beyond the paper: each switch against its own derivation; switched off, the paper."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ibml.common.errors import IbmlError
from ibml.common.rng import stream_seed
from ibml.config.trial import TrialConfig
from ibml.inputs import Sequences
from ibml.methods import Batch
from ibml.methods.ibml.method import compute_class_rates
from ibml.training.serialization import pack_state, unpack_state
from ibml.training.trainer import Trainer
from ibml.training.trial_result import EpochMetrics
from tests.conftest import vectors
from tests.data.miniatures import miniature
from tests.methods.test_every_method import ReadsTheDevice

Build = Callable[..., TrialConfig]
THREE = ["pix", "zer", "fou"]


def trainer_with(trial: Build, epochs: int = 6, seed: int = 0, **method: Any) -> Trainer:
    config = trial(
        data={"type": "mfeat", "views": THREE},
        encoders={"default": {"type": "mlp", "hidden": [8], "features": 4}},
        method={"type": "ibml", "window": {"first_epoch": 0}, **method},
        trainer={"epochs": epochs, "batch_size": 8, "precision": "float64"},
        seed=seed,
    )
    return Trainer(config, vectors(widths=(5, 3, 4)))


def first_batch(trainer: Trainer, size: int = 12) -> Batch:
    return next(Batch(*batch) for batch in trainer.train_split.batches([torch.arange(size)]))


def timeless(rows: list[EpochMetrics]) -> list[EpochMetrics]:
    return [{k: v for k, v in row.items() if not k.startswith("time.")} for row in rows]


def test_bio_by_lag_weighs_by_how_far_a_modality_is_behind(trial: Build) -> None:
    trainer = trainer_with(trial, bio={"weight": 0.7, "rule": "lag"}, tcm={"rate": 0})
    batch = first_batch(trainer)
    outputs = trainer.method.forward(batch.inputs, batch.labels, 1)
    loss = trainer.method.loss(outputs, batch.labels, torch.tensor([1.6, 0.6, 0.8]).double(), 1)
    own = [F.cross_entropy(part, batch.labels) for part in outputs.unimodal]
    expected = F.cross_entropy(outputs.joint, batch.labels) + 0.7 * (0.4 * own[1] + 0.2 * own[2])
    torch.testing.assert_close(loss, expected)
    alone = trainer.method.loss(outputs, batch.labels, torch.tensor([3.0, 0.0, 1.0]).double(), 1)
    torch.testing.assert_close(alone, F.cross_entropy(outputs.joint, batch.labels) + 0.7 * own[1])


def test_smoothed_rates_are_the_average_of_those_of_the_steps(trial: Build) -> None:
    trainer = trainer_with(trial, rates={"smoothing": 0.75})
    method, seen, acted = trainer.method, [], []
    rates, acting = method.rates, method.acting_rates

    def watch(batch: Batch) -> torch.Tensor:
        seen.append(rates(batch))
        return seen[-1]

    def follow(rho: torch.Tensor, batch: Batch) -> torch.Tensor:
        acted.append(acting(rho, batch))
        return acted[-1]

    method.rates, method.acting_rates = watch, follow
    logged = trainer.run_epoch()
    trainer.run_epoch()
    expected = seen[0]
    for plain, smooth in zip(seen, acted, strict=True):
        expected = 0.75 * expected + 0.25 * plain if plain is not seen[0] else plain
        torch.testing.assert_close(smooth, expected)
    assert len(seen) == 6
    assert not torch.equal(acted[-1], seen[-1])
    assert logged["rate.pix"] == pytest.approx(torch.stack(seen[:3])[:, 0].mean().item())


def test_rates_by_class_are_counted_sample_by_sample() -> None:
    generator = np.random.default_rng(0)
    q, labels = generator.uniform(size=(3, 20)), generator.integers(0, 4, 20)
    labels[labels == 2] = 1  # class 2 is not in the batch, class 4 neither
    q[:, labels == 3] = 0
    rho = compute_class_rates(torch.tensor(q), torch.tensor(labels), 5)
    for c in range(5):
        members = [i for i in range(20) if labels[i] == c]
        if not members:
            assert rho[:, c].isnan().all()
            continue
        s = [sum(q[m, i] for i in members) for m in range(3)]
        expected = [3 * each / sum(s) if sum(s) else 1.0 for each in s]
        assert rho[:, c].tolist() == pytest.approx(expected)


@pytest.mark.parametrize("rule", ["on_off", "lag"])
def test_bio_by_class_adds_the_samples_whose_class_lags(trial: Build, rule: str) -> None:
    trainer = trainer_with(
        trial, bio={"weight": 0.5, "rule": rule}, tcm={"rate": 0}, rates={"per_class": True}
    )
    method, batch = trainer.method, first_batch(trainer)
    method.memory.probability.copy_(
        torch.rand(3, 24, generator=torch.Generator().manual_seed(1)).double()
    )
    rho = method.acting_rates(method.rates(batch), batch)
    outputs = method.forward(batch.inputs, batch.labels, 1)
    loss = method.loss(outputs, batch.labels, rho, 1)
    q, y = method.memory.probability[:, batch.index], batch.labels
    added = 0.0
    for m in range(3):
        for i in range(12):
            same = [j for j in range(12) if y[j] == y[i]]
            s = [q[k, same].sum().item() for k in range(3)]
            rate = 3 * s[m] / sum(s)
            if rate < 1:
                ce = F.cross_entropy(outputs.unimodal[m, i][None], y[i][None]).item()
                added += 0.5 * ce * (1 - rate if rule == "lag" else 1) / 12
    assert loss.item() - F.cross_entropy(outputs.joint, y).item() == pytest.approx(added)
    assert added > 0


def test_tcm_by_class_disturbs_the_samples_whose_class_leads(trial: Build) -> None:
    trainer = trainer_with(trial, bio={"weight": 0}, tcm={"rate": 100}, rates={"per_class": True})
    method, batch = trainer.method, first_batch(trainer)
    method.memory.probability[:, batch.index] = 0.1
    leads = batch.labels == 1
    method.memory.probability[0, batch.index[leads]] = 0.9
    method.start_epoch(0)
    inputs, noised = method.transform(batch, method.acting_rates(method.rates(batch), batch), 0)
    assert torch.equal((inputs["pix"] != batch.inputs["pix"]).any(1), leads)
    assert noised.tolist() == [int(leads.sum()), 0, 0]


def test_tcm_by_class_draws_with_the_probability_of_a_samples_class(trial: Build) -> None:
    trainer = trainer_with(trial, tcm={"rate": 3.0}, rates={"per_class": True}, seed=4)
    method, batch = trainer.method, first_batch(trainer)
    method.memory.probability.copy_(
        torch.rand(3, 24, generator=torch.Generator().manual_seed(2)).double()
    )
    method.memory.correct[0, ::5] = False
    method.start_epoch(2)
    inputs, _ = method.transform(batch, method.acting_rates(method.rates(batch), batch), 2)
    draws = torch.rand(3, 12, generator=torch.Generator().manual_seed(stream_seed(4, "noise", 2)))
    q, y, several = method.memory.probability[:, batch.index], batch.labels, set()
    for m, name in enumerate(THREE):
        for i in range(12):
            s = [sum(q[k, j].item() for j in range(12) if y[j] == y[i]) for k in range(3)]
            rate = 3 * s[m] / sum(s)
            chance = 3 * min(rate, 10) / 10 if rate > 1 else 0
            expected = draws[m, i].item() < chance and bool(
                method.memory.correct[m, batch.index[i]]
            )
            assert bool((inputs[name][i] != batch.inputs[name][i]).any()) == expected
            several.add((rate > 1, expected))
    assert several == {(True, True), (True, False), (False, False)}


def test_a_batch_of_one_class_has_the_plain_rates() -> None:
    q = torch.tensor([[0.2, 0.7], [0.5, 0.5], [0.1, 1.0]]).double()
    rho = compute_class_rates(q, torch.tensor([2, 2]), 4)
    torch.testing.assert_close(rho[:, 2], 3 * q.sum(1) / q.sum())


def test_a_class_that_the_batch_lacks_keeps_its_average(trial: Build) -> None:
    trainer = trainer_with(trial, rates={"per_class": True, "smoothing": 0.5})
    method, whole = trainer.method, first_batch(trainer)
    method.memory.probability[0] = 0.3
    method.acting_rates(method.rates(whole), whole)
    before = method.average.clone()
    assert not before.isnan().any()
    one_class = whole.labels == 0
    part = Batch(whole.index[one_class], whole.inputs, whole.labels[one_class])
    method.memory.probability[1] = 0.1
    rho = method.acting_rates(method.rates(part), part)
    assert torch.equal(method.average[:, 1:], before[:, 1:])
    assert not torch.equal(method.average[:, 0], before[:, 0])
    torch.testing.assert_close(rho, method.average[:, :1].expand(3, len(part.labels)))


def test_memory_of_the_step_is_what_the_weights_say_now(trial: Build) -> None:
    trainer = trainer_with(trial, rates={"memory": "step"})
    batch = first_batch(trainer)
    trainer.method.memory.probability.fill_(0.5)
    rho = trainer.method.rates(batch)
    _, parts = trainer.model(batch.inputs)
    q = parts.softmax(2)[:, torch.arange(12), batch.labels]
    torch.testing.assert_close(rho, 3 * q.sum(1) / q.sum())
    assert trainer.model.training
    assert not torch.equal(rho, torch.ones(3).double())


def test_by_the_memory_of_the_step_what_was_remembered_does_not_matter(trial: Build) -> None:
    trainer = trainer_with(trial, tcm={"rate": 100}, rates={"memory": "step", "per_class": True})
    method, batch = trainer.method, first_batch(trainer)
    method.memory.probability[0] = 0.0
    method.memory.correct[:] = False
    method.start_epoch(1)
    inputs, noised = method.transform(batch, method.acting_rates(method.rates(batch), batch), 1)
    _, parts = trainer.model(batch.inputs)
    p, y = parts.softmax(2), batch.labels
    for m, name in enumerate(THREE):
        for i in range(12):
            s = [sum(p[k, j, y[j]].item() for j in range(12) if y[j] == y[i]) for k in range(3)]
            expected = s[m] > sum(s) / 3 and bool(parts[m, i].argmax() == y[i])
            assert bool((inputs[name][i] != batch.inputs[name][i]).any()) == expected
    assert 0 < int(noised.sum()) < 36


def test_with_weights_that_stand_still_both_memories_say_the_same(trial: Build) -> None:
    rows = []
    for memory in ("epoch", "step"):
        trainer = trainer_with(trial, rates={"memory": memory}, tcm={"rate": 0})
        for group in trainer.optimizer.param_groups:
            group["lr"] = 0.0
        trainer.precision.update = lambda optimizer: None  # type: ignore[method-assign]
        rows.append([trainer.run_epoch() for _ in range(2)])
    assert rows[0][1]["rate.pix"] == pytest.approx(rows[1][1]["rate.pix"], rel=1e-9)
    assert rows[0][0]["rate.pix"] == 1.0, "nothing is remembered in the first epoch"


def test_memory_of_the_step_leaves_batch_statistics_and_dropout_alone(trial: Build) -> None:
    rows, states = [], []
    for memory in ("epoch", "step"):
        trainer = trainer_with(trial, rates={"memory": memory}, window={"first_epoch": 5})
        layers = torch.nn.BatchNorm1d(5), torch.nn.Dropout(0.5), trainer.model.encoders["pix"]
        trainer.model.encoders["pix"] = torch.nn.Sequential(*layers).double()
        epochs = timeless([trainer.run_epoch() for _ in range(3)])
        rows.append([{k: v for k, v in row.items() if not k.startswith("rate.")} for row in epochs])
        states.append(trainer.model.state_dict())
    assert rows[0] == rows[1]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])
    assert int(states[1]["encoders.pix.0.num_batches_tracked"]) == 9


BEYOND: list[dict[str, Any]] = [
    {"rates": {"smoothing": 0.9}},
    {"rates": {"per_class": True, "smoothing": 0.5}, "bio": {"rule": "lag"}},
    {"rates": {"memory": "step", "per_class": True}, "tcm": {"kind": "mixup"}},
    {"tcm": {"kind": "feature_dropout", "rate": 10}, "bio": {"rule": "lag"}},
    {"tcm": {"kind": "modality_dropout", "rate": 10}, "rates": {"memory": "step"}},
]


@pytest.mark.parametrize("method", BEYOND, ids=str)
def test_it_goes_on_as_if_it_had_not_stopped(trial: Build, method: dict[str, Any]) -> None:
    whole, before, after = (trainer_with(trial, **method) for _ in range(3))
    expected = [whole.run_epoch() for _ in range(6)]
    rows = [before.run_epoch() for _ in range(3)]
    unpack_state(pack_state(before), after)
    assert timeless([*rows, *(after.run_epoch() for _ in range(3))]) == timeless(expected)
    assert ("average" in before.method.state_dict()) == ("smoothing" in method.get("rates", {}))


@pytest.mark.parametrize("method", BEYOND, ids=str)
def test_no_step_waits_for_the_device(trial: Build, method: dict[str, Any]) -> None:
    trainer = trainer_with(trial, **method)
    trainer.model.train()
    for epoch in range(2):
        trainer.method.start_epoch(epoch)
        for batch in trainer.train_split.batches(trainer.method.order(epoch).split(8)):
            with ReadsTheDevice():
                trainer.method.update(Batch(*batch), epoch)


@pytest.mark.parametrize("kind", ["feature_dropout", "modality_dropout", "mixup"])
def test_texts_are_changed_with_the_memory_of_the_step(kind: str, tmp_path: Path) -> None:
    config = TrialConfig.model_validate(
        {
            "data": miniature("food101", tmp_path),
            "encoders": {
                "image": {
                    "type": "small_cnn",
                    "channels": [4],
                    "features": 8,
                    "pooling": "average",
                },
                "text": {"type": "text_gru", "embedding": 4, "hidden": 4, "features": 8},
            },
            "method": {
                "type": "ibml",
                "tcm": {"kind": kind, "rate": 100},
                "rates": {"memory": "step"},
                "window": {"first_epoch": 0},
            },
            "trainer": {"epochs": 2, "batch_size": 4, "device": "cpu"},
        }
    )
    rows = [Trainer(config).run_epoch() for _ in range(2)]
    assert timeless(rows[:1]) == timeless(rows[1:])
    assert rows[0]["noised.image"] + rows[0]["noised.text"] > 0


@pytest.mark.parametrize("kind", ["noise", "feature_dropout", "modality_dropout", "mixup"])
def test_every_kind_disturbs_in_training_and_refuses_token_ids(trial: Build, kind: str) -> None:
    trainer = trainer_with(trial, tcm={"kind": kind, "rate": 10})
    trainer.method.memory.probability[1:] = 0.1
    assert trainer.run_epoch()["noised.pix"] > 0.5
    trainer.method.start_epoch(1)
    inputs = {
        **first_batch(trainer).inputs,
        "pix": Sequences(torch.ones(12, 2).long(), torch.full((12,), 2)),
    }
    batch = Batch(torch.arange(12), inputs, torch.zeros(12).long())
    with pytest.raises(IbmlError, match=rf"^method\.tcm: .*'{kind}'.*'pix'"):
        trainer.method.transform(batch, torch.tensor([1.5, 0.7, 0.8]).double(), 1)
