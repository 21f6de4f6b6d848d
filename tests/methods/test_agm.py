"""AGM: which steps its memory is made of."""

from __future__ import annotations

import numpy as np
from torch import Tensor
from torch.nn import functional as F

from ibml.methods.base import Outputs
from ibml.training.serialization import pack_state, unpack_state
from tests.methods.steps import Build, close, same, trainer_with, weights


def test_only_steps_inside_the_window_are_remembered(trial: Build) -> None:
    method = {"type": "agm", "window": {"first_epoch": 1, "stop_epoch": 3}}
    trainer = trainer_with(trial, method, trainer={"epochs": 4})
    counts, means = [], []
    for _ in range(4):
        trainer.run_epoch()
        counts.append(float(trainer.method.steps))
        means.append(trainer.method.mean.tolist())
    # of 24 samples, 7 at a time, an epoch has 4 steps
    assert counts == [0, 4, 8, 8]
    assert means[0] == [0, 0]
    assert means[1] != means[2] == means[3]


def test_the_mean_is_that_of_all_steps_misses(trial: Build) -> None:
    trainer = trainer_with(trial, {"type": "agm"}, trainer={"epochs": 3})
    misses, loss = [], trainer.method.loss

    def watched(outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        # of concat the shares of the logits are the unimodal logits
        misses.append([F.cross_entropy(part, labels).item() for part in outputs.unimodal])
        return loss(outputs, labels, rho, epoch)

    trainer.method.loss = watched
    trainer.run_epoch(), trainer.run_epoch()
    assert len(misses) == 8
    close(trainer.method.mean.tolist(), np.mean(misses, 0).tolist())


def test_the_mean_and_the_count_go_on_after_a_stop(trial: Build) -> None:
    whole, again = (
        trainer_with(trial, {"type": "agm"}, 3, fusion={"type": "gated"}) for _ in range(2)
    )
    whole.run_epoch()
    content = pack_state(whole)
    whole.run_epoch()
    unpack_state(content, again)
    assert again.method.steps == 4
    again.run_epoch()
    assert same([again.method.mean, again.method.steps], [whole.method.mean, whole.method.steps])
    assert same(weights(again.model), weights(whole.model))
