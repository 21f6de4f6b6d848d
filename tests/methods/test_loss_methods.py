"""Auxiliary losses, PMR, MMCosine, LFM and gradient blending: steps against written-out losses."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from copy import deepcopy
from itertools import combinations
from typing import Any

import numpy as np
import pytest
import torch
from scipy.special import logsumexp, rel_entr, softmax
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.common.rng import stream_seed
from ibml.config.schedule import lr_factor
from ibml.methods.base import Inputs
from ibml.methods.g_blending.method import compute_blending_weights
from ibml.methods.lfm.method import (
    compute_fitted_weight,
    compute_infonce_alignment,
    compute_js_alignment,
    compute_linear_weight,
)
from ibml.methods.pmr.method import compute_lag_weights
from ibml.models.multimodal import MultimodalModel
from ibml.training.trainer import Trainer
from ibml.training.trial_result import EpochMetrics
from tests.methods.steps import (
    Build,
    batches,
    by_parameters,
    close,
    copied,
    gradients,
    same,
    started,
    trainer_with,
)


def stepped_gives(trainer: Trainer, loss: Tensor, model: MultimodalModel, epoch: int) -> None:
    """A step's loss and gradients are those of a loss of a copy of the model."""
    log = trainer.method.step(batches(trainer)[0], epoch)
    close(log.loss, loss.detach())
    for actual, expected in zip(gradients(trainer.model), by_parameters(loss, model), strict=True):
        close(actual, expected)


@pytest.mark.parametrize("heads", ["shared", "separate"])
@pytest.mark.parametrize("fusion", ["concat", "film"])
def test_auxiliary_adds_each_modalitys_own_loss_by_its_weight(
    trial: Build, fusion: str, heads: str
) -> None:
    method = {"type": "auxiliary", "weights": {"pix": 0.5, "fou": 2.0}, "heads": heads}
    trainer = trainer_with(trial, method, 3, fusion={"type": fusion})
    batch = started(trainer)
    model, own = copied(trainer), deepcopy(trainer.method.heads)
    z = model.features(batch.inputs)
    parts = (
        [head(part) for head, part in zip(own, z, strict=True)]
        if heads == "separate"
        else model.fusion.both(z)[1]
    )
    loss = F.cross_entropy(model.fusion(z), batch.labels)
    loss = (
        loss
        + 0.5 * F.cross_entropy(parts[0], batch.labels)
        + 2 * F.cross_entropy(parts[2], batch.labels)
    )
    by_heads = [] if heads == "shared" else by_parameters(loss, nn.ModuleList([own[0], own[2]]))
    stepped_gives(trainer, loss, model, 0)
    trained = [g for g in gradients(trainer.method.heads) if g.any()]
    for actual, expected in zip(trained, by_heads, strict=True):
        close(actual, expected)


def test_mmcosine_has_cosines_in_its_window_and_inner_products_outside(trial: Build) -> None:
    method = {"type": "mmcosine", "scale": 7.0, "window": {"first_epoch": 1}}
    trainer = trainer_with(trial, method, 3)
    for epoch in (0, 1):
        batch = started(trainer, epoch)
        model = copied(trainer)
        z = model.features(batch.inputs)
        columns = model.fusion.head.weight.split(4, 1)
        logits = sum(part @ w.T for part, w in zip(z, columns, strict=True))
        if epoch == 1:
            lengths = [
                part.norm(dim=1)[:, None] * w.norm(dim=1)
                for part, w in zip(z, columns, strict=True)
            ]
            logits = sum(
                7.0 * part @ w.T / both for part, w, both in zip(z, columns, lengths, strict=True)
            )
        stepped_gives(trainer, F.cross_entropy(logits, batch.labels), model, epoch)
        trainer.model.zero_grad()


def test_js_alignment_is_the_mean_divergence_over_pairs() -> None:
    logits = np.random.default_rng(0).normal(size=(3, 5, 4)) * 3
    p = softmax(logits, 2)
    expected = []
    for a, b in combinations(p, 2):
        k = (a + b) / 2
        expected.append((rel_entr(k, a).sum(1).mean() + rel_entr(k, b).sum(1).mean()) / 2)
    close(compute_js_alignment(torch.tensor(logits)), torch.tensor(np.mean(expected)))


def infonce(z: list[np.ndarray]) -> float:
    """Return, per pair of modalities, direction and sample, whether its counterpart is nearest."""
    losses = []
    for a, b in combinations(z, 2):
        cosines = (
            np.array([[x @ y / np.linalg.norm(x) / np.linalg.norm(y) for y in b] for x in a]) / 0.07
        )
        losses += [logsumexp(cosines[i]) - cosines[i, i] for i in range(len(a))]
        losses += [logsumexp(cosines[:, i]) - cosines[i, i] for i in range(len(a))]
    return float(np.mean(losses))


def test_infonce_alignment_tells_each_samples_counterpart_from_the_others() -> None:
    z = list(np.random.default_rng(1).normal(size=(3, 5, 4)))
    close(compute_infonce_alignment([torch.tensor(part) for part in z]).item(), infonce(z))


def test_the_classifications_share_grows_from_end_to_end() -> None:
    assert [compute_linear_weight(epoch, 11) for epoch in (0, 5, 10)] == pytest.approx(
        [0.05, 0.5, 0.95]
    )
    assert compute_linear_weight(0, 1) == 0.05
    # the polynomial by numpy, highest power first
    powers = [
        -5.39717505e-11,
        2.23835486e-8,
        -2.92947416e-6,
        1.22989557e-4,
        3.35472727e-3,
        0.204623704,
    ]
    assert [compute_fitted_weight(t, 100) for t in range(100)] == pytest.approx(
        np.clip(np.polyval(powers, np.arange(100)), 0.05, 0.95).tolist()
    )
    assert compute_fitted_weight(3, 10) == compute_fitted_weight(30, 100)


@pytest.mark.parametrize("alignment", ["js", "infonce"])
@pytest.mark.parametrize("weight", ["fitted", "linear"])
def test_lfm_weighs_classification_against_alignment(
    trial: Build, weight: str, alignment: str
) -> None:
    trainer = trainer_with(trial, {"type": "lfm", "weight": weight, "alignment": alignment}, 3)
    batch = started(trainer, 4)
    model = copied(trainer)
    z = model.features(batch.inputs)
    parts = torch.stack([head(part) for head, part in zip(model.fusion.heads, z, strict=True)])
    if alignment == "js":
        p = parts.softmax(2)
        pairs = [(a, b, (a + b) / 2) for a, b in combinations(p, 2)]
        alike = (
            sum((k * (2 * k.log() - a.log() - b.log())).sum(1).mean() / 2 for a, b, k in pairs) / 3
        )
    else:
        alike = compute_infonce_alignment(z)  # against numpy above
    w = compute_linear_weight(4, 10) if weight == "linear" else compute_fitted_weight(4, 10)
    loss = 2 * (w * F.cross_entropy(parts.mean(0), batch.labels) + (1 - w) * alike)
    stepped_gives(trainer, loss, model, 4)


def prototypes(trainer: Trainer, chosen: Iterable[int]) -> list[Tensor]:
    """Mean features by class, one sample at a time."""
    model = copied(trainer).eval()
    by_class: defaultdict[tuple[int, int], list[Tensor]] = defaultdict(list)
    for i in chosen:
        _, inputs, labels = next(trainer.train_split.batches([torch.tensor([i])]))
        for m, part in enumerate(model.features(inputs)):
            by_class[m, int(labels)].append(part[0].detach())
    return [torch.stack([torch.stack(by_class[m, k]).mean(0) for k in range(3)]) for m in range(2)]


def normalised(trainer: Trainer) -> None:
    """Add batch normalisation and dropout, which differ between training and evaluation."""
    for encoder in trainer.model.encoders.values():
        encoder.append(nn.Sequential(nn.BatchNorm1d(4), nn.Dropout(0.5)).double())


def test_pmr_prototypes_are_class_means_of_a_tenth_and_move_with_momentum(trial: Build) -> None:
    trainer = trainer_with(trial, {"type": "pmr", "momentum": 0.3}, samples=64)
    normalised(trainer)
    labels = trainer.train_split.labels
    started(trainer)
    chosen = trainer.method._sample_positions(labels)
    # of 22, 21 and 21 samples a tenth is 2.2, 2.1 and 2.1, rounded up 3 each
    assert torch.bincount(labels).tolist() == [22, 21, 21]
    assert torch.bincount(labels[chosen]).tolist() == [3, 3, 3]
    assert len(set(chosen.tolist())) == 9
    assert not torch.equal(chosen, torch.arange(9))
    statistics = [b.clone() for b in trainer.model.buffers()]
    first = prototypes(trainer, chosen.tolist())
    for actual, expected in zip(trainer.method.prototypes, first, strict=True):
        close(actual, expected)
    assert all(module.training for module in trainer.model.modules())
    with torch.no_grad():
        for parameter in trainer.model.parameters():
            parameter.mul_(1.5)
    started(trainer, 1)
    second = prototypes(trainer, chosen.tolist())
    for actual, old, new in zip(trainer.method.prototypes, first, second, strict=True):
        assert (old - new).abs().max() > 0.01
        close(actual, 0.7 * new + 0.3 * old)
    assert torch.equal(trainer.method._sample_positions(labels), chosen)
    assert same(statistics, list(trainer.model.buffers()))


@pytest.mark.parametrize("size", [1, 9, 10, 11, 20, 21, 30, 70])
def test_pmr_takes_a_tenth_of_a_class_rounded_up(trial: Build, size: int) -> None:
    trainer = trainer_with(trial, {"type": "pmr"})
    labels = torch.cat([torch.zeros(size), torch.full((40,), 2)]).long()
    assert torch.bincount(
        labels[trainer.method._sample_positions(labels)], minlength=3
    ).tolist() == [-(-size // 10), 0, 4]


@pytest.mark.parametrize("coefficient", ["paper", "release"])
def test_pmr_pulls_the_lagging_modalities_in_a_batch_of_few_classes(
    trial: Build, coefficient: str
) -> None:
    trainer = trainer_with(trial, {"type": "pmr", "alpha": 0.6, "coefficient": coefficient}, 3)
    started(trainer)
    with torch.no_grad():
        for m, scale in enumerate((1.0, 4.0, 0.2)):
            trainer.method.prototypes[m] *= scale
    model = copied(trainer)
    index = torch.tensor([0, 3, 6, 1, 4])  # classes 0 and 1 alone
    batch = next(trainer.train_split.batches([index]))
    z = model.features(batch[1])
    q, losses = [], []
    for part, centres in zip(z, trainer.method.prototypes, strict=True):
        logits = -((part[:, None] - centres).square().sum(2)).sqrt()
        q.append(float(logits.detach().softmax(1)[torch.arange(5), batch[2]].sum()))
        losses.append(F.cross_entropy(logits, batch[2]))
    lag = [min(max(q) / own - 1, 1.0) for own in q]
    assert sorted(lag)[0] == 0 < sorted(lag)[1]
    w = lag if coefficient == "paper" else [float(own < max(q)) for own in q]
    loss = F.cross_entropy(model.fusion(z), batch[2])
    loss = loss + 0.6 * sum(own * each for own, each in zip(w, losses, strict=True))
    log = trainer.method.step(type(batches(trainer)[0])(*batch), 0)
    close(log.loss, loss.detach())
    for actual, expected in zip(gradients(trainer.model), by_parameters(loss, model), strict=True):
        close(actual, expected)


def test_pmr_weights_end_at_one() -> None:
    q = torch.tensor([2.0, 0.5, 1.6], dtype=torch.float64)
    close(compute_lag_weights(q, "paper").tolist(), [0.0, 1.0, 0.25])
    close(compute_lag_weights(q, "release").tolist(), [0.0, 1.0, 1.0])
    # who leads together leads
    close(compute_lag_weights(torch.tensor([2.0, 2.0, 0.0]), "paper").tolist(), [0.0, 0.0, 1.0])
    close(compute_lag_weights(torch.tensor([2.0, 2.0, 0.0]), "release").tolist(), [0.0, 0.0, 1.0])


BLENDING: dict[str, Any] = {"type": "g_blending", "super_epoch": 2}


def alone(model: MultimodalModel, inputs: Inputs, which: int) -> Tensor:
    """The joint logits on one modality, or on all."""
    z = model.features(inputs)
    return model.fusion([part * (which in (m, len(z))) for m, part in enumerate(z)])


def re_run(trainer: Trainer, which: int, epochs: tuple[int, ...]) -> list[tuple[float, float]]:
    """Mean losses on train and validation in each epoch of a copy's training."""
    model, config = copied(trainer).train(), trainer.config
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-4)
    losses = []
    for epoch in epochs:
        optimizer.param_groups[0]["lr"] = 0.1 * lr_factor(
            config.schedule, config.trainer.epochs, epoch
        )
        generator = torch.Generator().manual_seed(stream_seed(0, "order", "blending", which, epoch))
        total = 0.0
        for chosen in torch.randperm(24, generator=generator).split(7):
            _, inputs, labels = next(trainer.train_split.batches([chosen]))
            loss = F.cross_entropy(alone(model, inputs, which), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(chosen)
        model.eval()
        split = trainer.val_split
        validation = F.cross_entropy(alone(model, split.inputs, which), split.labels).item()
        model.train()
        losses.append((total / 24, validation))
    return losses


def test_g_blending_weighs_by_a_re_run_of_its_copies(trial: Build) -> None:
    schedule = {"type": "step", "step_size": 5, "gamma": 0.1}
    trainer = trainer_with(
        trial,
        BLENDING,
        fusion={"type": "gated"},
        schedule=schedule,
        trainer={"eval_batch_size": 10},
    )
    for encoder in trainer.model.encoders.values():
        encoder.append(nn.BatchNorm1d(4).double())
    for epoch, ran in ((0, (0, 1)), (4, (4, 5))):
        started(trainer, epoch)
        expected = []
        for which in range(3):
            (first_train, first_val), (last_train, last_val) = re_run(trainer, which, ran)
            gain, overfitting = (
                first_val - last_val,
                (last_val - last_train) - (first_val - first_train),
            )
            expected.append(abs(gain) / overfitting**2)
        # A second run differs in the last digit, which the square of a small difference magnifies.
        wanted = torch.tensor(expected, dtype=torch.float64) / sum(expected)
        torch.testing.assert_close(trainer.method.weights, wanted, rtol=1e-6, atol=0)
        assert trainer.method.extra_samples == 3 * 2 * 24


def test_g_blending_loss_is_the_weighted_sum(trial: Build) -> None:
    trainer = trainer_with(trial, BLENDING, fusion={"type": "film"})
    batch = started(trainer)
    w = trainer.method.weights.tolist()
    assert len(set(w)) == 3
    model = copied(trainer)
    joint, parts = model(batch.inputs)
    loss = w[2] * F.cross_entropy(joint, batch.labels)
    loss = loss + sum(w[m] * F.cross_entropy(parts[m], batch.labels) for m in range(2))
    stepped_gives(trainer, loss, model, 0)


def test_an_estimate_leaves_the_training_as_it_was(trial: Build) -> None:
    trainer, joint = (trainer_with(trial, method) for method in (BLENDING, {"type": "joint"}))
    for each in (trainer, joint):
        normalised(each)
    before = [t.clone() for t in trainer.model.state_dict().values()]
    with torch.random.fork_rng():
        torch.manual_seed(5)
        started(trainer)
        assert torch.equal(
            torch.rand(3), torch.rand(3, generator=torch.Generator().manual_seed(5))
        ), "dropout's draws"
    assert same(before, list(trainer.model.state_dict().values()))
    assert gradients(trainer.model) == []
    assert not trainer.optimizer.state
    assert all(module.training for module in trainer.model.modules())
    assert torch.equal(trainer.method.order(0), joint.method.order(0))
    assert trainer.method.generator.initial_seed() == stream_seed(0, "noise", 0)


def test_a_copys_dropout_is_its_own(trial: Build) -> None:
    trainer = trainer_with(trial, BLENDING)
    normalised(trainer)
    found = []
    for seed in (1, 2):
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            started(trainer)
        found.append(trainer.method.weights.clone())
    assert torch.equal(*found)


@pytest.mark.parametrize(
    ("mode", "window", "estimated"),
    [
        ("online", {}, {0, 2, 4}),
        ("offline", {}, {0}),
        ("online", {"first_epoch": 1, "stop_epoch": 4}, {1, 3}),
    ],
)
def test_estimates_are_made_when_they_are_due_and_counted(
    trial: Build, mode: str, window: dict[str, int], estimated: set[int]
) -> None:
    trainer = trainer_with(
        trial, BLENDING | {"mode": mode, "window": window}, trainer={"epochs": 5}
    )
    rows: list[EpochMetrics] = [trainer.run_epoch() for _ in range(5)]
    assert [row["samples.epoch"] for row in rows] == [
        24 + 144 * (epoch in estimated) for epoch in range(5)
    ]
    assert trainer.finish()["samples.total"] == 5 * 24 + 144 * len(estimated)


def test_losses_that_are_no_numbers_keep_the_weights(
    trial: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer = trainer_with(trial, BLENDING)
    method = trainer.method
    method.weights.copy_(torch.tensor([0.5, 0.25, 0.25]))
    good = [[1.0, 1.0], [0.5, 0.75]]
    for bad in (float("nan"), float("inf")):
        for place in range(4):
            broken = torch.tensor(good, dtype=torch.float64)
            broken.view(-1)[place] = bad
            losses = iter(
                [
                    torch.tensor(good, dtype=torch.float64),
                    broken,
                    torch.tensor(good, dtype=torch.float64),
                ]
            )
            monkeypatch.setattr(
                method, "_estimate_losses", lambda which, epoch, losses=losses: next(losses)
            )
            method.start_epoch(0)
            assert method.weights.tolist() == [0.5, 0.25, 0.25], (bad, place)


def test_copies_that_learn_nothing_keep_the_weights() -> None:
    same_losses = torch.ones(3, 2, dtype=torch.float64)
    assert not compute_blending_weights(same_losses, same_losses).isfinite().any()
    # without overfitting its difference counts as 1e-8
    first, last = torch.tensor([[2.0, 2.0], [2.0, 2.0]]), torch.tensor([[1.0, 1.0], [1.0, 1.5]])
    ratios = [1 / 1e-16, 0.5 / 0.25]
    close(
        compute_blending_weights(first.double(), last.double()).tolist(),
        [r / sum(ratios) for r in ratios],
    )
