"""Methods with options other than those of the tests of every method."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from ibml.config.trial import TrialConfig
from ibml.methods.modality_valuation.method import compute_added_share, count_added_samples
from ibml.training.trainer import Trainer
from tests.conftest import vectors
from tests.methods.steps import check_that_it_goes_on

Build = Callable[..., TrialConfig]

VARIANTS: dict[str, dict[str, Any]] = {
    "separate heads": {"type": "auxiliary", "heads": "separate", "weights": 0.5},
    "no noise": {"type": "ogm_ge", "ge": False},
    "normalised projection": {"type": "mla", "normalise": True},
    "phases of two epochs": {"type": "recon_boost", "stage_epochs": 2, "correct_epochs": 2},
    "phases of boosting alone": {"type": "recon_boost", "stage_epochs": 2, "correct_epochs": 0},
    "linear weight of features": {"type": "lfm", "weight": "linear", "alignment": "infonce"},
    "copies of a modality": {
        "type": "modality_valuation",
        "level": "modality",
        "warmup": 1,
        "part": 0.5,
        "alpha": 3.0,
    },
}


def configured(trial: Build, method: dict[str, Any], epochs: int = 6, **parts: Any) -> TrialConfig:
    given = {"encoders": {"default": {"type": "mlp", "hidden": [8], "features": 4}}, **parts}
    given.setdefault("optimizer", {"type": "sgd", "lr": 0.02, "momentum": 0.9})
    return trial(
        method=method, trainer={"epochs": epochs, "batch_size": 7, "device": "cpu"}, **given
    )


@pytest.mark.parametrize(
    "optimizer", [{"type": "sgd", "lr": 0.02, "momentum": 0.9}, {"type": "adamw", "lr": 0.01}]
)
@pytest.mark.parametrize("method", VARIANTS.values(), ids=VARIANTS)
def test_it_goes_on_from_the_end_of_every_epoch(
    trial: Build, method: dict[str, Any], optimizer: dict
) -> None:
    check_that_it_goes_on(configured(trial, method, optimizer=optimizer))


def test_a_gap_of_whole_samples_adds_them_all() -> None:
    # phi are halves: over 20 samples, a mean phi of 10 / 20 and of 11.5 / 20;
    # 0.075 * 2/3 * 0.5 * 1000 = 25.
    share, weakest = compute_added_share(torch.tensor([0.5, 0.575], dtype=torch.float64), 0.5)
    assert (count_added_samples(share, 1000), weakest) == (25, 0)
    assert share * 1000 < 25, "the product must be one that rounding errors take below the number"
    assert count_added_samples(0.02499, 1000) == 24
    assert count_added_samples(0.0, 1000) == 0


def test_copies_of_a_modality_make_the_epochs_longer_after_the_warmup(trial: Build) -> None:
    trainer = Trainer(configured(trial, VARIANTS["copies of a modality"]), vectors())
    lengths = [trainer.run_epoch()["samples.epoch"] for _ in range(6)]
    assert lengths[0] == 24
    assert max(lengths[1:]) > 24
    assert trainer.finish()["samples.total"] == sum(lengths)


@pytest.mark.filterwarnings("error")
def test_a_weight_of_one_number_gets_no_noise(trial: Build) -> None:
    one = {"encoders": {"default": {"type": "mlp", "hidden": [1], "features": 1}}}
    gradients = []
    for method in ({"type": "ogm_ge", "alpha": 0.0}, {"type": "joint"}):
        trainer = Trainer(configured(trial, method, **one), vectors())
        next(trainer.run_steps())
        single = [p for p in trainer.model.encoders.parameters() if p.shape == (1, 1)]
        gradients.append(torch.stack([p.grad for p in single if p.grad is not None]))
    assert gradients[0].shape == (2, 1, 1)
    torch.testing.assert_close(*gradients, rtol=0, atol=1e-7)
