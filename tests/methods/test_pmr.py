"""PMR: epochs and batches that compute prototypes, and resumed training."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from ibml.training.serialization import pack_state, unpack_state
from ibml.training.trainer import Trainer
from tests.methods.steps import Build, close, copied, same, started, trainer_with, weights


def class_means(trainer: Trainer) -> list[Tensor]:
    """The mean features by class of the samples that prototypes are made of, in one pass."""
    chosen = trainer.method._sample_positions(trainer.train_split.labels)
    _, inputs, labels = next(trainer.train_split.batches([chosen]))
    with torch.no_grad():
        z = copied(trainer).eval().features(inputs)
    return [torch.stack([part[labels == k].mean(0) for k in range(3)]) for part in z]


@pytest.mark.parametrize("size", [1, 4, 9, 100])
def test_prototypes_do_not_depend_on_the_size_of_the_batches(trial: Build, size: int) -> None:
    trainer = trainer_with(trial, {"type": "pmr"}, 3, samples=64, trainer={"eval_batch_size": size})
    started(trainer)
    for actual, expected in zip(trainer.method.prototypes, class_means(trainer), strict=True):
        close(actual, expected)


def test_a_later_window_begins_with_prototypes_that_nothing_old_is_in(trial: Build) -> None:
    method = {"type": "pmr", "momentum": 0.9, "window": {"first_epoch": 2, "stop_epoch": 4}}
    trainer = trainer_with(trial, method, trainer={"epochs": 5})
    trainer.run_epoch(), trainer.run_epoch()
    assert not hasattr(trainer.method, "prototypes")
    started(trainer, 2)
    first, plain = [c.clone() for c in trainer.method.prototypes], class_means(trainer)
    for actual, expected in zip(first, plain, strict=True):
        close(actual, expected)
    trainer.run_epoch()
    started(trainer, 3)
    for actual, old, new in zip(
        trainer.method.prototypes, first, class_means(trainer), strict=True
    ):
        assert (old - new).abs().max() > 1e-4
        close(actual, 0.9 * old + 0.1 * new)
    trainer.run_epoch()
    kept = list(trainer.method.prototypes)
    started(trainer, 4)
    assert same(trainer.method.prototypes, kept), "outside the window nothing is made"


def test_prototypes_go_on_after_a_stop(trial: Build) -> None:
    whole, again = (trainer_with(trial, {"type": "pmr", "momentum": 0.6}) for _ in range(2))
    whole.run_epoch(), whole.run_epoch()
    content, kept = pack_state(whole), [c.clone() for c in whole.method.prototypes]
    whole.run_epoch()
    unpack_state(content, again)
    assert same(again.method.prototypes, kept)
    again.run_epoch()
    assert same(again.method.prototypes, whole.method.prototypes)
    assert same(weights(again.model), weights(whole.model))
