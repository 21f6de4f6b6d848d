"""MLA, ReconBoost and modality valuation: schedules of training, and their samples."""

from __future__ import annotations

from collections import Counter
from fractions import Fraction
from itertools import combinations, permutations
from math import factorial, floor
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.common.rng import stream_seed
from ibml.methods import Batch
from ibml.methods.modality_valuation.method import WHOLE, count_copies
from ibml.models.multimodal import MultimodalModel
from ibml.training.trainer import Trainer
from tests.methods.steps import (
    NAMES,
    Build,
    batches,
    by_parameters,
    close,
    copied,
    gradients,
    same,
    started,
    trainer_with,
    weights,
)


@pytest.mark.parametrize("normalise", [False, True])
def test_mla_updates_are_a_loop_over_the_modalities(trial: Build, normalise: bool) -> None:
    trainer = trainer_with(trial, {"type": "mla", "normalise": normalise}, 3)
    started(trainer)
    model = copied(trainer)
    head = model.fusion.head
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    projection, updates = torch.eye(4, dtype=torch.float64), 0
    for number, batch in enumerate(batches(trainer)[:2]):
        z = model.features(batch.inputs)
        losses = []
        for part, name in zip(z, NAMES, strict=False):
            own = [head.weight, head.bias, *model.encoders[name].parameters()]
            loss = F.cross_entropy(part @ head.weight.T + head.bias, batch.labels)
            for parameter, gradient in zip(own, torch.autograd.grad(loss, own), strict=True):
                parameter.grad = gradient
            updates += 1
            if updates > 1:
                r = part.detach().mean(0, keepdim=True)
                k = projection @ r.T
                # 24 samples in batches of 7 are 4 batches
                projection = projection - k @ k.T / (0.1 ** (1 + number / 4) + r @ k)
                if normalise:
                    projection = projection / projection.square().sum().sqrt()
                head.weight.grad = head.weight.grad @ projection
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.item())
        log = trainer.method.update(batch, 0)
        assert log.loss.item() == pytest.approx(sum(losses) / 3, rel=1e-9)
        close(trainer.method.projection, projection)
        for actual, expected in zip(trainer.model.parameters(), model.parameters(), strict=True):
            close(actual, expected)
    trainer.method.start_epoch(1)
    assert trainer.method.batch_index == 0, "the index of a batch is that in its epoch"
    assert trainer.method.updates == 6


BOOST: dict[str, Any] = {"type": "recon_boost", "stage_epochs": 2, "correct_epochs": 1}


def parts_of(trainer: Trainer) -> dict[str, list[Tensor]]:
    model = trainer.model
    encoders = {name: weights(encoder) for name, encoder in model.encoders.items()}
    return encoders | {
        "head": weights(model.fusion.head),
        "scale": [model.fusion.scale.detach().clone()],
    }


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_recon_boost_trains_one_encoder_and_the_head_in_turn_then_everything(
    trial: Build, optimizer: str
) -> None:
    chosen = {"type": optimizer, "lr": 0.05, "weight_decay": 0.01}
    trainer = trainer_with(trial, BOOST, 3, optimizer=chosen)
    everything = {*NAMES[:3], "head", "scale"}
    stages = [{name, "head"} for name in ("pix", "zer", "fou", "pix")]
    expected = [trained for boosted in stages for trained in (boosted, boosted, everything)][:10]
    found = []
    for _ in range(10):
        before = parts_of(trainer)
        trainer.run_epoch()
        found.append(
            {name for name, after in parts_of(trainer).items() if not same(before[name], after)}
        )
    assert found == expected


@pytest.mark.parametrize(("first", "fresh"), [(0, {0, 2, 3, 5, 6, 8, 9}), (1, {1, 3, 4, 6, 7, 9})])
def test_recon_boost_forgets_the_optimizers_state_where_a_phase_begins(
    trial: Build, first: int, fresh: set[int]
) -> None:
    trainer = trainer_with(trial, BOOST | {"window": {"first_epoch": first}})
    found = set()
    begin = trainer.method.start_epoch

    def watched(epoch: int) -> None:
        begin(epoch)
        if not trainer.optimizer.state:
            found.add(epoch)

    trainer.method.start_epoch = watched
    for _ in range(10):
        trainer.run_epoch()
    assert found == fresh | {0}


def test_recon_boost_without_correction_goes_from_stage_to_stage(trial: Build) -> None:
    trainer = trainer_with(trial, BOOST | {"correct_epochs": 0}, 3)
    stages = []
    for epoch in range(8):
        started(trainer, epoch)
        stages.append((trainer.method.stage, trainer.method.boosted_modality))
    assert stages == [(0, 0), (0, 0), (1, 1), (1, 1), (2, 2), (2, 2), (3, 0), (3, 0)]


@pytest.mark.parametrize(
    ("epoch", "boosted", "before"), [(0, 0, None), (3, 1, 0), (6, 2, 1), (9, 0, 2)]
)
def test_recon_boost_loss_has_labels_residuals_and_the_stage_before(
    trial: Build, epoch: int, boosted: int, before: int | None
) -> None:
    options = {"weight1": 3.0, "weight2": 0.7, "alpha": 0.4}
    trainer = trainer_with(trial, BOOST | options, 3)
    batch = started(trainer, epoch)
    with torch.no_grad():
        trainer.model.fusion.scale.fill_(1.7)
    model = copied(trainer)
    o = [model.fusion.head(z) for z in model.features(batch.inputs)]
    y = F.one_hot(batch.labels, 3).double()
    residual = torch.full_like(y, 1 / 3)
    if before is not None:
        residual = (1.7 * sum(o[m] for m in range(3) if m != boosted)).detach().softmax(1)
    p = o[boosted].softmax(1)
    loss = ((-3.0 * y + 0.7 * y * residual) * p.log()).sum() / y.numel()
    if before is not None:
        loss = loss + 0.4 * (p - o[before].detach().softmax(1)).square().sum() / y.numel()
    log = trainer.method.step(batch, epoch)
    close(log.loss, loss.detach())
    for name, encoder in model.encoders.items():
        own = name == NAMES[boosted]
        for actual, expected in zip(
            gradients(trainer.model.encoders[name]),
            by_parameters(loss, encoder) if own else [],
            strict=True,
        ):
            close(actual, expected)
    for actual, expected in zip(
        gradients(trainer.model.fusion.head), by_parameters(loss, model.fusion.head), strict=True
    ):
        close(actual, expected)
    assert trainer.model.fusion.scale.grad is None


def test_recon_boost_corrects_with_the_joint_loss(trial: Build) -> None:
    trainer = trainer_with(trial, BOOST, 3)
    batch = started(trainer, 2)
    model = copied(trainer)
    joint = model.fusion.scale * sum(model.fusion.head(z) for z in model.features(batch.inputs))
    loss = F.cross_entropy(joint, batch.labels)
    close(trainer.method.step(batch, 2).loss, loss.detach())
    for actual, expected in zip(gradients(trainer.model), by_parameters(loss, model), strict=True):
        close(actual, expected)


VALUATION: dict[str, Any] = {"type": "modality_valuation", "warmup": 1}


def masked(z: list[Tensor], kept: set[int]) -> list[Tensor]:
    return [part if m in kept else torch.zeros_like(part) for m, part in enumerate(z)]


def values(model: MultimodalModel, batch: Batch) -> list[list[Fraction]]:
    """phi by sample and modality, as the mean over all orders in which the modalities can come."""
    modalities = len(model.modalities)
    model.eval()
    z = model.features(batch.inputs)
    worth: dict[frozenset[int], list[int]] = {frozenset(): [0] * len(batch.labels)}
    for size in range(1, modalities + 1):
        for kept in combinations(range(modalities), size):
            right = model.fusion(masked(z, set(kept))).argmax(1) == batch.labels
            worth[frozenset(kept)] = [size * int(r) for r in right]
    phi = [[Fraction(0)] * modalities for _ in batch.labels]
    for order in permutations(range(modalities)):
        for place, m in enumerate(order):
            before = frozenset(order[:place])
            for i, row in enumerate(phi):
                row[m] += Fraction(worth[before | {m}][i] - worth[before][i], factorial(modalities))
    return phi


def how_many(phi: Fraction) -> int:
    if phi <= Fraction(-1, 10):
        return 3
    if phi <= Fraction(4, 10):
        return 2
    return 1 if phi < 1 else 0


def visits(trainer: Trainer) -> list[tuple[int, int]]:
    """Return the positions of an epoch's visits in order, with the modalities kept by each."""
    method = trainer.method
    kept = torch.cat(list(method._kept)).tolist()
    return list(zip(method.order(1).tolist(), kept, strict=True))


@pytest.mark.parametrize("fusion", ["concat", "gated"])
@pytest.mark.parametrize("modalities", [2, 3])
def test_an_epoch_has_each_sample_whole_and_copies_by_its_values(
    trial: Build, modalities: int, fusion: str
) -> None:
    trainer = trainer_with(trial, VALUATION, modalities, fusion={"type": fusion}, samples=60)
    trainer.run_epoch()
    phi = values(copied(trainer), batches(trainer, 60)[0])
    expected = Counter({(i, WHOLE): 1 for i in range(60)})
    expected.update({(i, m): how_many(phi[i][m]) for i in range(60) for m in range(modalities)})
    assert {how_many(own) for row in phi for own in row} >= {1, 2}
    started(trainer, 1)
    found = visits(trainer)
    assert Counter(found) == +expected
    assert found[:60] != sorted(found)[:60]
    started(trainer, 1)
    assert visits(trainer) == found
    row = trainer.run_epoch()
    assert row["samples.epoch"] == len(found)


def test_the_thresholds_belong_to_the_side_that_the_method_says() -> None:
    phi = [2.0, 1.0, 5 / 6 + 1 / 6, 0.999, 0.41, 0.4, 1.2 / 3, 0.0, -0.09, -0.1, -0.3 / 3, -1.0]
    assert count_copies(torch.tensor(phi, dtype=torch.float64)).tolist() == [
        0,
        0,
        0,
        1,
        1,
        2,
        2,
        2,
        2,
        3,
        3,
        3,
    ]


def test_an_epoch_before_the_warmup_is_a_joint_one(trial: Build) -> None:
    trainer = trainer_with(trial, VALUATION | {"warmup": 2, "window": {"first_epoch": 1}})
    joint = trainer_with(trial, {"type": "joint"})
    for epoch in range(4):
        started(trainer, epoch)
        assert torch.equal(trainer.method.order(epoch), joint.method.order(epoch)) == (epoch < 3)


def test_a_valuation_changes_nothing_of_the_model_and_unshuffled_copies_come_last(
    trial: Build,
) -> None:
    trainer = trainer_with(trial, VALUATION, trainer={"shuffle": False})
    for encoder in trainer.model.encoders.values():
        encoder.append(torch.nn.BatchNorm1d(4).double())
    before = [t.clone() for t in trainer.model.state_dict().values()]
    started(trainer, 1)
    assert same(before, list(trainer.model.state_dict().values()))
    assert all(module.training for module in trainer.model.modules())
    found = visits(trainer)
    assert found[:24] == [(i, WHOLE) for i in range(24)]
    assert found[24:] == sorted(found[24:], key=lambda visit: visit[::-1])


def test_copies_have_no_features_of_the_others_and_leave_the_memory_alone(trial: Build) -> None:
    trainer = trainer_with(trial, VALUATION, 3, fusion={"type": "film"})
    started(trainer, 1)
    model = copied(trainer)
    plan = visits(trainer)
    started(trainer, 1)
    for number, chosen in enumerate(trainer.method.order(1).split(7)):
        batch = Batch(*next(trainer.train_split.batches([chosen])))
        z = model.features(batch.inputs)
        kept = [m for _, m in plan[7 * number : 7 * number + 7]]
        alone = [
            [part[i : i + 1] for part in z]
            if m == WHOLE
            else masked([part[i : i + 1] for part in z], {m})
            for i, m in enumerate(kept)
        ]
        loss = F.cross_entropy(torch.cat([model.fusion(one) for one in alone]), batch.labels)
        trainer.model.zero_grad()
        log = trainer.method.step(batch, 1)
        close(log.loss, loss.detach())
        for actual, expected in zip(
            gradients(trainer.model), by_parameters(loss, model), strict=True
        ):
            close(actual, expected)
        trainer.method.observe([log])
    whole = batches(trainer, 24)[0]
    unimodal = model(whole.inputs)[1]
    close(
        trainer.method.memory.probability,
        unimodal.softmax(2)[:, torch.arange(24), whole.labels].detach(),
    )
    assert torch.equal(trainer.method.memory.correct, unimodal.argmax(2) == whole.labels)


@pytest.mark.parametrize("part", [0.2, 1.0])
def test_the_weakest_modality_is_seen_again_by_the_gap_of_a_part(trial: Build, part: float) -> None:
    trainer = trainer_with(
        trial, VALUATION | {"level": "modality", "alpha": 0.9, "part": part}, 3, samples=60
    )
    trainer.run_epoch()
    generator = torch.Generator().manual_seed(stream_seed(0, "order", 1, "copies"))
    valued = torch.randperm(60, generator=generator)[: round(60 * part)].tolist()
    phi = values(copied(trainer), batches(trainer, 60)[0])
    gaps = [1 - sum(phi[i][m] for i in valued) / len(valued) for m in range(3)]
    number = floor((max(gaps) - min(gaps)) * Fraction(2, 3) * Fraction(9, 10) * 60)
    assert number > 0
    started(trainer, 1)
    found = visits(trainer)
    added = [visit for visit in found if visit[1] != WHOLE]
    assert sorted(i for i, m in found if m == WHOLE) == list(range(60))
    assert len(added) == number
    assert {m for _, m in added} == {gaps.index(max(gaps))}
    assert Counter(i for i, _ in added) == Counter(
        torch.randint(60, (number,), generator=generator).tolist()
    )


def test_a_whole_number_of_copies_is_not_rounded_down(
    trial: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_with(trial, VALUATION | {"level": "modality"}, samples=20)
    # (0.7 - 0.4) 2/3 1/2 20 = 2, though 0.7 - 0.4 is a little less than 0.3
    phi = torch.tensor([[0.3], [0.6]], dtype=torch.float64)
    monkeypatch.setattr(trainer.method, "_evaluate_samples", lambda positions, epoch: phi)
    started(trainer, 1)
    assert len(trainer.method.order(1)) == 22
