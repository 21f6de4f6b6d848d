"""Gradient blending: the sample order of its copies, and resumed training."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor

from ibml.training.serialization import pack_state, unpack_state
from ibml.training.trainer import Trainer
from tests.methods.steps import Build, same, started, trainer_with, weights


def orders(trainer: Trainer, epoch: int) -> dict[tuple[Any, ...], list[int]]:
    """The positions that the copies of an estimate see, by the copy and its epoch."""
    seen: dict[tuple[Any, ...], list[int]] = {}
    feed, batches = trainer.train_split, trainer.train_split.batches

    def watched(indices: Iterable[Tensor], *where: str | int) -> Iterator[Any]:
        chosen = list(indices)
        if where and where[0] == "blending":
            assert where not in seen, "an epoch of a copy has the draws of another"
            seen[where] = torch.cat(chosen).tolist()
        return batches(chosen, *where)

    feed.batches = watched
    started(trainer, epoch)
    return seen


@pytest.mark.parametrize("epoch", [0, 6])
def test_every_epoch_of_a_copy_has_an_order_of_its_own_even_past_the_end(
    trial: Build, epoch: int
) -> None:
    # Of ten epochs, an estimate at epoch 6 covers 6, 7, 8 and 9, and two that are not trained.
    trainer = trainer_with(trial, {"type": "g_blending", "super_epoch": 6})
    seen = orders(trainer, epoch)
    assert len(seen) == 3 * 6
    assert all(sorted(order) == list(range(24)) for order in seen.values())
    assert len({tuple(order) for order in seen.values()}) == 3 * 6


def test_copies_are_not_shuffled_where_the_training_is_not(trial: Build) -> None:
    trainer = trainer_with(
        trial, {"type": "g_blending", "super_epoch": 2}, trainer={"shuffle": False}
    )
    seen = orders(trainer, 0)
    assert len(seen) == 3 * 2
    assert all(order == list(range(24)) for order in seen.values())


@pytest.mark.parametrize(("mode", "super_epoch"), [("online", 3), ("offline", 2)])
def test_weights_that_were_estimated_hold_after_a_stop_between_estimates(
    trial: Build, mode: str, super_epoch: int
) -> None:
    method = {"type": "g_blending", "mode": mode, "super_epoch": super_epoch}
    whole, again = (trainer_with(trial, method, trainer={"epochs": 5}) for _ in range(2))
    whole.run_epoch(), whole.run_epoch()
    estimated = whole.method.weights.clone()
    assert len(set(estimated.tolist())) == 3
    content = pack_state(whole)
    for _ in range(3):
        whole.run_epoch()
    assert torch.equal(whole.method.weights, estimated) == (mode == "offline")
    unpack_state(content, again)
    assert torch.equal(again.method.weights, estimated)
    for _ in range(3):
        again.run_epoch()
    assert same(weights(again.model), weights(whole.model))
