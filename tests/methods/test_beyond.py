"""IBML beyond the paper: each switch against a derivation of its own, and the paper where it is off."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch.nn import functional as F

from ibml.config.base import IbmlError
from ibml.config.methods.ibml import TCMConfig
from ibml.config.trial import TrialConfig, canonical
from ibml.inputs import Sequences
from ibml.methods import Batch
from ibml.methods.complexity import Complexity
from ibml.methods.ibml import IBML, class_rates
from ibml.training.state import packed, unpack
from ibml.training.trainer import Row, Trainer
from tests.conftest import vectors

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


def timeless(rows: list[Row]) -> list[Row]:
    return [{k: v for k, v in row.items() if not k.startswith("time.")} for row in rows]


def test_bio_by_lag_weighs_by_how_far_a_modality_is_behind(trial: Build) -> None:
    trainer = trainer_with(trial, bio={"weight": 0.7, "rule": "lag"}, tcm={"rate": 0})
    batch = first_batch(trainer)
    outputs = trainer.method.forward(batch.inputs, batch.labels)
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
    rho = class_rates(torch.tensor(q), torch.tensor(labels), 5)
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
    trainer = trainer_with(trial, bio={"weight": 0.5, "rule": rule}, tcm={"rate": 0}, rates={"per_class": True})
    method, batch = trainer.method, first_batch(trainer)
    method.memory.probability.copy_(torch.rand(3, 24, generator=torch.Generator().manual_seed(1)).double())
    rho = method.acting_rates(method.rates(batch), batch)
    outputs = method.forward(batch.inputs, batch.labels)
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


def test_memory_of_the_step_leaves_batch_statistics_alone(trial: Build) -> None:
    trainer = trainer_with(trial, rates={"memory": "step"})
    norm = torch.nn.BatchNorm1d(5).double()
    trainer.model.encoders["pix"] = torch.nn.Sequential(norm, trainer.model.encoders["pix"])
    trainer.model.train()
    trainer.method.rates(first_batch(trainer))
    assert int(norm.num_batches_tracked) == 0


@pytest.mark.parametrize(
    "rates", [{"smoothing": 0.9}, {"per_class": True, "smoothing": 0.5}, {"memory": "step"}, {"per_class": True}]
)
def test_it_goes_on_as_if_it_had_not_stopped(trial: Build, rates: dict[str, Any]) -> None:
    whole, before, after = (trainer_with(trial, rates=rates) for _ in range(3))
    expected = [whole.run_epoch() for _ in range(6)]
    rows = [before.run_epoch() for _ in range(3)]
    unpack(packed(before), after)
    assert timeless([*rows, *(after.run_epoch() for _ in range(3))]) == timeless(expected)


def changed(kind: str, values: Any, drawn: list[bool], labels: list[int], **options: Any) -> Any:
    complexity = Complexity(TCMConfig(kind=kind, **options), torch.Generator().manual_seed(3))
    return complexity.changed(values, torch.tensor(drawn), torch.tensor(labels))


def test_feature_dropout_takes_its_share_of_the_drawn_samples(trial: Build) -> None:
    values = torch.rand(4, 3, 2000) + 1
    made = changed("feature_dropout", values, [True, False, True, False], [0] * 4, strength=0.3)
    assert torch.equal(made[[1, 3]], values[[1, 3]])
    gone = made[[0, 2]] == 0
    assert gone.double().mean().item() == pytest.approx(0.3, abs=0.015)
    torch.testing.assert_close(made[[0, 2]][~gone], values[[0, 2]][~gone] / 0.7)
    assert not torch.equal(gone[0], gone[1]), "each sample loses values of its own"


def test_modality_dropout_leaves_nothing(trial: Build) -> None:
    values = torch.rand(3, 4) + 1
    made = changed("modality_dropout", values, [True, False, True], [0, 0, 1])
    assert made[[0, 2]].abs().sum() == 0
    assert torch.equal(made[1], values[1])


def test_mixup_takes_another_sample_of_the_class(trial: Build) -> None:
    labels = [0, 1, 0, 2, 1, 0]
    values = torch.arange(6.0)[:, None] * 10
    partners: dict[int, set[int]] = {i: set() for i in range(6)}
    complexity = Complexity(TCMConfig(kind="mixup", strength=0.25), torch.Generator().manual_seed(0))
    for _ in range(200):
        made = complexity.changed(values, torch.tensor([True] * 5 + [False]), torch.tensor(labels))
        other = ((made - 0.75 * values) / 0.25 / 10).round().int()[:, 0].tolist()
        for i, j in enumerate(other):
            partners[i].add(j)
    assert partners == {0: {2, 5}, 1: {4}, 2: {0, 5}, 3: {3}, 4: {1}, 5: {5}}


def test_mixup_of_texts_is_over_the_steps_that_both_have(trial: Build) -> None:
    texts = Sequences(torch.tensor([[[1.0], [2.0], [3.0]], [[10.0], [0.0], [0.0]]]), torch.tensor([3, 1]))
    made = changed("mixup", texts, [True, True], [0, 0], strength=0.5)
    assert made.values[..., 0].tolist() == [[5.5, 2.0, 3.0], [5.5, 0.0, 0.0]]
    assert made.lengths.tolist() == [3, 1]


@pytest.mark.parametrize("kind", ["noise", "feature_dropout", "modality_dropout", "mixup"])
def test_every_kind_disturbs_in_training_and_refuses_token_ids(trial: Build, kind: str) -> None:
    trainer = trainer_with(trial, tcm={"kind": kind, "rate": 10})
    trainer.method.memory.probability[1:] = 0.1
    assert trainer.run_epoch()["noised.pix"] > 0.5
    trainer.method.start_epoch(1)
    inputs = {**first_batch(trainer).inputs, "pix": Sequences(torch.ones(12, 2).long(), torch.full((12,), 2))}
    batch = Batch(torch.arange(12), inputs, torch.zeros(12).long())
    with pytest.raises(IbmlError, match="token ids cannot be changed, and the encoder of pix has no vectors"):
        trainer.method.transform(batch, torch.tensor([1.5, 0.7, 0.8]).double(), 1)


def test_what_is_the_papers_is_not_said_and_what_is_unused_does_not_count(trial: Build) -> None:
    def form(**method: Any) -> Any:
        return canonical(trial(method={"type": "ibml", **method}, trainer={"epochs": 5}))["method"]

    assert form(rates={"memory": "epoch", "smoothing": 0}, bio={"rule": "on_off"}, tcm={"strength": 0.1}) == form()
    assert "strength" not in str(form(tcm={"kind": "modality_dropout", "strength": 0.2}))
    mixup = {"kind": "mixup", "noise_scale": 3.0}
    assert form(tcm=mixup)["tcm"] == {"rate": 1.0, "ramp": "constant", "kind": "mixup", "strength": 0.5}
    assert form(tcm={"kind": "mixup", "noise_scale": 0})["tcm"]["kind"] == "mixup"
    off = {"bio": {"weight": 0}, "tcm": {"rate": 0}}
    assert form(**off, rates={"per_class": True}) == {"type": "joint"}
    assert isinstance(trainer_with(trial).method, IBML)


@pytest.mark.parametrize(
    "method",
    [
        {"tcm": {"kind": "feature_dropout", "strength": 1.0}},
        {"tcm": {"kind": "dropout"}},
        {"tcm": {"strength": 0.0}},
        {"rates": {"smoothing": 1.0}},
        {"rates": {"memory": "batch"}},
        {"bio": {"rule": "linear"}},
    ],
    ids=str,
)
def test_values_that_mean_nothing_are_refused(trial: Build, method: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        trial(method={"type": "ibml", **method})
