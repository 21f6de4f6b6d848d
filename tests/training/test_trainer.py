"""One trial: repeatable, honest about selection, and right about its metrics."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn import metrics as reference

from ibml.config.components.registry import FUSIONS
from ibml.config.trial import TrialConfig
from ibml.methods import Batch, StepLog
from ibml.study.engine.worker import TrialWorker
from ibml.training.device import DeviceError, choose_device
from ibml.training.metrics.evaluation import compute_metrics
from ibml.training.metrics.macro_f1 import mean_f1
from ibml.training.trainer import CHECK_EVERY, Trainer, train
from ibml.training.trial_result import describe_divergence
from tests.conftest import vectors

Build = Callable[..., TrialConfig]
ALL_VIEWS = ["fou", "fac", "kar", "pix", "zer", "mor"]


def numbers(result: object) -> list[dict[str, float]]:
    rows = [*result.history, result.metrics]
    return [{k: v for k, v in row.items() if not k.startswith("time.")} for row in rows]


@pytest.mark.slow
def test_two_processes_give_the_same_numbers(trial: Build) -> None:
    config = trial(seed=7)
    script = (
        "import sys, json, ibml\n"
        "result = ibml.train(ibml.TrialConfig.model_validate_json(sys.argv[1]))\n"
        "print(json.dumps([*result.history, result.metrics]))"
    )
    command = [sys.executable, "-c", script, config.model_dump_json()]
    other = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert numbers(train(config)) == [
        {k: v for k, v in row.items() if not k.startswith("time.")} for row in other
    ]


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("method", ["joint", "ibml"])
def test_every_fusion_trains_with_every_method(trial: Build, fusion: str, method: str) -> None:
    result = train(trial(fusion={"type": fusion}, method={"type": method}, trainer={"epochs": 3}))
    assert result.status == "finished"
    assert result.metrics["test.accuracy"] > 0.7


@pytest.mark.parametrize("fusion", ["concat", "film", "attention", "lmf"])
def test_six_views_train_together(trial: Build, fusion: str) -> None:
    config = trial(
        data={"type": "mfeat", "views": ALL_VIEWS}, fusion={"type": fusion}, trainer={"epochs": 3}
    )
    result = train(config)
    assert result.metrics["test.accuracy"] > 0.85
    each = [result.metrics[f"test.accuracy.{view}"] for view in ALL_VIEWS]
    assert result.metrics["test.gap"] == pytest.approx(max(each) - min(each))
    rates = [result.history[-1][f"rate.{view}"] for view in ALL_VIEWS]
    assert sum(rates) == pytest.approx(6)


def test_one_modality_alone(trial: Build) -> None:
    result = train(trial(method={"type": "unimodal", "modality": "zer"}, trainer={"epochs": 5}))
    assert 0.6 < result.metrics["test.accuracy"] == result.metrics["test.accuracy.zer"] < 0.9
    assert "test.gap" not in result.metrics
    assert "test.accuracy.pix" not in result.metrics


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
def test_optimizers_take_a_plain_step(trial: Build, optimizer: str) -> None:
    trainer = Trainer(
        trial(optimizer={"type": optimizer, "lr": 0.01, "weight_decay": 0.1}), vectors()
    )
    before = trainer.model.fusion.head.weight.detach().clone()
    next(trainer.run_steps())
    gradient = trainer.model.fusion.head.weight.grad
    step = trainer.model.fusion.head.weight.detach() - before
    clear = (
        gradient.abs() > 1e-3
    )  # Adam's first step is the gradient's sign where epsilon does not matter
    if optimizer == "sgd":
        expected = -0.01 * (gradient + 0.1 * before)
    elif optimizer == "adam":
        gradient = gradient + 0.1 * before
        clear = gradient.abs() > 1e-3
        expected = -0.01 * torch.sign(gradient)
    else:
        expected = -0.01 * torch.sign(gradient) - 0.01 * 0.1 * before
    assert clear.float().mean() > 0.5
    torch.testing.assert_close(step[clear], expected[clear], rtol=0, atol=2e-5)


SCRIPT = [  # val.accuracy, val.macro_f1, val.loss by epoch: ties, and the best in the middle
    (0.5, 0.9, 1.0),
    (0.8, 0.5, 0.9),
    (0.8, 0.6, 0.4),
    (0.8, 0.6, 0.4),
    (0.7, 0.9, 0.3),
    (0.6, 0.1, 0.7),
]


@pytest.mark.parametrize(
    ("selection", "best"), [("val.accuracy", 2), ("val.macro_f1", 4), ("val.loss", 4), ("last", 5)]
)
def test_selection_looks_at_validation_only(trial: Build, selection: str, best: int) -> None:
    trainer = Trainer(
        trial(trainer={"epochs": 6, "selection": selection}, optimizer={"type": "sgd", "lr": 0.1})
    )
    evaluate, tested, weights = trainer.evaluate, [], []

    def scripted(split: object) -> dict[str, float]:
        if split is trainer.test_split:
            tested.append(trainer.epoch)
            return evaluate(split)
        accuracy, f1, loss = SCRIPT[trainer.epoch]
        return {**evaluate(split), "accuracy": accuracy, "macro_f1": f1, "loss": loss}

    trainer.evaluate = scripted
    while not trainer.done:
        trainer.run_epoch()
        weights.append({k: v.clone() for k, v in trainer.model.state_dict().items()})
    assert not tested, "the test split was looked at during training"
    final = trainer.finish()
    assert tested == [6]
    assert (final["selected.epoch"], final["selected.val.accuracy"]) == (best, SCRIPT[best][0])
    now = trainer.model.state_dict()
    assert all(torch.equal(now[name], value) for name, value in weights[best].items())
    assert final["test.accuracy"] == evaluate(trainer.test_split)["accuracy"]


def test_the_learning_rate_follows_its_schedule(trial: Build) -> None:
    config = trial(schedule={"type": "step", "step_size": 1, "gamma": 0.5}, trainer={"epochs": 3})
    trainer = Trainer(config, vectors())
    steps = []
    for _ in range(3):
        before = trainer.model.fusion.head.weight.detach().clone()
        trainer.optimizer.state.clear()  # no momentum: a step is the rate times gradient and decay
        next(trainer.run_steps())
        gradient = trainer.model.fusion.head.weight.grad + 1e-4 * before
        steps.append(((before - trainer.model.fusion.head.weight) / gradient).median().item())
        trainer.epoch += 1
    assert steps == pytest.approx([0.01, 0.005, 0.0025], rel=1e-3)
    assert Trainer(config, vectors()).run_epoch()["lr"] == 0.01


def test_an_infinite_loss_ends_the_trial_as_diverged(trial: Build) -> None:
    result = train(trial(optimizer={"type": "sgd", "lr": 1e30}, trainer={"epochs": 5}))
    assert result.status == "diverged"
    assert "epoch 0" in result.reason
    assert not result.metrics
    assert len(result.history) == 1


@pytest.mark.parametrize("precision", ["float64", "bf16", "fp16"])
def test_other_number_formats_learn_as_well(trial: Build, precision: str) -> None:
    trainer = Trainer(trial(trainer={"epochs": 2, "precision": precision}), vectors())
    with trainer.precision.autocast:
        logits = trainer.model(trainer.train_split.inputs)[0]
    assert (
        logits.dtype
        == {"float64": torch.float64, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    )
    result = train(trial(trainer={"epochs": 3, "precision": precision}))
    assert result.metrics["test.accuracy"] > 0.9


def test_evaluation_does_not_depend_on_its_batches(trial: Build) -> None:
    small = train(
        trial(trainer={"epochs": 2, "eval_batch_size": 7, "precision": "float64"})
    ).metrics
    whole = train(
        trial(trainer={"epochs": 2, "eval_batch_size": 9999, "precision": "float64"})
    ).metrics
    assert {k: v for k, v in small.items() if "time" not in k} == pytest.approx(
        {k: v for k, v in whole.items() if "time" not in k}
    )


def test_metrics_equal_scikit_learns() -> None:
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(0, 5, (200,), generator=generator)
    joint = torch.randn(200, 6, generator=generator)
    unimodal = torch.randn(2, 200, 6, generator=generator)
    found = compute_metrics(joint, unimodal, labels, ("a", "b"))
    predicted = joint.argmax(1)
    assert found["loss"] == pytest.approx(
        reference.log_loss(labels, joint.double().softmax(1), labels=range(6))
    )
    assert found["accuracy"] == reference.accuracy_score(labels, predicted)
    assert found["macro_f1"] == pytest.approx(
        reference.f1_score(labels, predicted, average="macro")
    )
    each = [reference.accuracy_score(labels, logits.argmax(1)) for logits in unimodal]
    assert [found["accuracy.a"], found["accuracy.b"]] == each
    assert found["gap"] == pytest.approx(abs(each[0] - each[1]))


def test_macro_f1_leaves_out_classes_that_do_not_occur() -> None:
    labels = torch.tensor([0, 0, 1, 1])
    assert mean_f1(torch.tensor([0, 0, 1, 1]), labels, 9).item() == 1.0
    assert mean_f1(torch.tensor([0, 1, 1, 1]), labels, 9).item() == pytest.approx(
        (2 / 3 + 4 / 5) / 2
    )


def test_train_row_counts_every_sample_once(trial: Build) -> None:
    trainer = Trainer(trial(trainer={"epochs": 2, "batch_size": 7}), vectors(samples=24))
    seen = []
    original = trainer.method.step
    trainer.method.step = lambda batch, epoch: (seen.append(batch.index), original(batch, epoch))[1]
    first, second = (
        trainer.run_epoch() and torch.cat(seen[4 * e : 4 * e + 4]).tolist() for e in range(2)
    )
    assert sorted(first) == sorted(second) == list(range(24))
    assert first != second


def test_a_device_that_is_not_there_is_named() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has CUDA")
    with pytest.raises(DeviceError, match="'cuda'"):
        choose_device("cuda")


def test_threads_are_fixed_while_training_and_given_back(trial: Build) -> None:
    before = torch.get_num_threads()
    trainer = Trainer(trial(trainer={"epochs": 2, "threads": 1}), vectors())
    seen = []
    original = trainer.method.loss
    trainer.method.loss = lambda *a: (seen.append(torch.get_num_threads()), original(*a))[1]
    trainer.run_epoch()
    assert set(seen) == {1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("repeated", [False, True])
def test_an_epoch_ends_soon_after_its_loss_became_infinite(
    trial: Build, monkeypatch: pytest.MonkeyPatch, repeated: bool
) -> None:
    """Also where samples are visited more than once, and each step is observed alone."""
    trainer = Trainer(
        trial(trainer={"epochs": 2, "batch_size": 1}), vectors(samples=3 * CHECK_EVERY)
    )
    order = trainer.method.order
    monkeypatch.setattr(
        trainer.method, "order", lambda epoch: torch.cat([order(epoch), order(epoch)[:repeated]])
    )
    update, steps = trainer.method.update, []

    def infinite(batch: Batch, epoch: int) -> StepLog:
        steps.append(batch)
        log = update(batch, epoch)
        return log if len(steps) < 5 else replace(log, loss=log.loss * math.inf)

    monkeypatch.setattr(trainer.method, "update", infinite)
    trainer.run_epoch()
    assert trainer.diverged
    assert len(steps) == CHECK_EVERY


def test_a_validation_loss_without_end_diverges_too(trial: Build) -> None:
    trainer = Trainer(trial(), vectors())
    original = trainer.evaluate
    trainer.evaluate = lambda split: {**original(split), "loss": float("nan")}
    row = trainer.run_epoch()
    assert trainer.diverged
    assert trainer.selected is None
    assert describe_divergence(row) == "val.loss was nan in epoch 0"


def test_an_actor_is_as_good_as_new_for_its_next_trial(trial: Build, tmp_path: Path) -> None:
    configs = [
        trial(seed=1),
        trial(encoders={"default": {"type": "mlp", "hidden": [10**9]}}),
        trial(seed=2),
    ]
    worker = TrialWorker()
    finals = []
    for index, config in enumerate(configs):
        folder = str(tmp_path / str(index))
        worker.assign(
            {"task": index, "trial": config.model_dump(mode="json"), "folder": folder, "rungs": []}
        )
        report = worker.step()
        while not report["done"]:
            report = worker.step()
        finals.append(report)
    assert "can't allocate memory" in finals[1]["error"]
    for index in (0, 2):
        alone = train(configs[index]).metrics
        assert {k: v for k, v in finals[index]["final"].items() if "time" not in k} == {
            k: v for k, v in alone.items() if "time" not in k
        }


def test_an_actor_reports_where_it_is_asked_to_pause(trial: Build, tmp_path: Path) -> None:
    worker = TrialWorker()
    plain = trial(trainer={"epochs": 4}).model_dump(mode="json")
    worker.assign({"task": 7, "trial": plain, "folder": str(tmp_path), "rungs": [1, 3]})
    reports = [worker.step() for _ in range(3)]
    assert [len(report["rows"]) for report in reports] == [1, 2, 1]
    assert [report["done"] for report in reports] == [False, False, True]
    assert {report["task"] for report in reports} == {7}


def test_a_fixed_trial_gives_the_stored_numbers(trial: Build) -> None:
    """Guard the trainer's revision.

    If this fails after an intended change, raise TRAINER_REVISION and store the new numbers, so
    that older results are not taken for results of the new code.
    """
    config = trial(trainer={"epochs": 3, "precision": "float64"}, seed=11, fusion={"type": "gated"})
    history = train(config).history
    losses = [row["train.loss"] for row in history] + [row["val.loss"] for row in history]
    np.testing.assert_allclose(losses, STORED, rtol=1e-6)


STORED = [
    2.136015534038796,
    3.8297257471082364,
    3.2756249212451243,
    1.7857795380668875,
    1.1875607645312174,
    0.7029249007723584,
]
