"""Steps of a method on tiny models in double precision, to compare with written-out formulas."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from ibml.config.trial import TrialConfig
from ibml.methods import Batch
from ibml.models.multimodal import MultimodalModel
from ibml.training.serialization import pack_state, unpack_state
from ibml.training.trainer import Trainer
from ibml.training.trial_result import EpochMetrics
from tests.conftest import vectors

Build = Callable[..., TrialConfig]
NAMES = ("pix", "zer", "fou", "kar")


def trainer_with(
    trial: Build, method: dict[str, Any], modalities: int = 2, **parts: Any
) -> Trainer:
    """Build a trainer of perceptrons with one hidden layer on 24 samples of 3 classes.

    `parts` are fields of the configuration.
    """
    trainer = {
        "epochs": 10,
        "batch_size": 7,
        "eval_batch_size": 9,
        "device": "cpu",
        "precision": "float64",
    }
    given = {
        "encoders": {
            "default": {"type": "mlp", "hidden": [6], "features": 4, "activation": "tanh"}
        },
        "optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.9},
        "trainer": trainer | parts.pop("trainer", {}),
    }
    samples = parts.pop("samples", 24)
    config = trial(
        data={"type": "mfeat", "views": NAMES[:modalities]}, method=method, **(given | parts)
    )
    return Trainer(config, vectors(samples, (5, 3, 4, 2)[:modalities]))


def batches(trainer: Trainer, size: int = 7) -> list[Batch]:
    """The training set in its order, in batches."""
    positions = torch.arange(len(trainer.train_split.labels)).split(size)
    return [Batch(*batch) for batch in trainer.train_split.batches(positions)]


def started(trainer: Trainer, epoch: int = 0) -> Batch:
    """Begin an epoch; the first batch."""
    trainer.model.train()
    trainer.method.start_epoch(epoch)
    return batches(trainer)[0]


def copied(trainer: Trainer) -> MultimodalModel:
    """The model as it is, without gradients."""
    model = deepcopy(trainer.model)
    model.zero_grad()
    return model


def gradients(module: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in module.parameters() if p.grad is not None]


def by_parameters(loss: Tensor, module: nn.Module) -> list[Tensor]:
    """The loss's gradient, from a pass of its own."""
    return list(torch.autograd.grad(loss, list(module.parameters()), retain_graph=True))


def close(actual: Any, expected: Any) -> None:
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-12)


def weights(module: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in module.parameters()]


def same(a: list[Tensor], b: list[Tensor]) -> bool:
    """Return whether two values are identical bit for bit."""
    return all(torch.equal(x, y) for x, y in zip(a, b, strict=True))


def timeless(rows: list[EpochMetrics]) -> list[EpochMetrics]:
    return [{k: v for k, v in row.items() if not k.startswith("time.")} for row in rows]


def check_that_it_goes_on(config: TrialConfig) -> None:
    """From the end of every epoch, bit for bit as if it had not stopped."""
    dataset = vectors()
    whole = Trainer(config, dataset)
    states, expected = [pack_state(whole)], []
    while not whole.done:
        expected.append(whole.run_epoch())
        states.append(pack_state(whole))
    assert not whole.diverged
    for epoch, state in enumerate(states[:-1]):
        again = Trainer(config, dataset)
        unpack_state(state, again)
        assert timeless(
            [again.run_epoch() for _ in range(epoch, config.trainer.epochs)]
        ) == timeless(expected[epoch:])
        pairs = zip(
            again.model.state_dict().values(), whole.model.state_dict().values(), strict=True
        )
        assert all(torch.equal(a, b) for a, b in pairs)
