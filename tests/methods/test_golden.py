"""The golden numbers of the method's specification, from fusion, method and trainer."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from ibml.config.trial import TrialConfig
from ibml.data.base import Dataset, Split
from ibml.methods.base import rates
from ibml.methods.ibml.method import compute_tcm_probability
from ibml.models.fusions.concat.config import ConcatConfig
from ibml.models.fusions.concat.fusion import Concat
from ibml.training.trainer import Trainer

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "ibml.json").read_text())


def double(values: object) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: torch.Tensor, expected: object) -> None:
    torch.testing.assert_close(actual.detach(), double(expected), rtol=0, atol=1e-9)


@pytest.mark.parametrize("case", GOLDEN["rates"])
def test_rates_probabilities_and_lagging_modalities(case: dict) -> None:
    rho = rates(double(case["q"]).sum(1))
    close(rho, case["rho"])
    close(compute_tcm_probability(rho, 1.0), case["tcm_probability"])
    assert (rho < 1).tolist() == case["bio_active"]


def test_concat_logits_and_their_exact_shares() -> None:
    case = GOLDEN["concat_logits"]
    fusion = Concat(ConcatConfig(), ["a", "b"], [4, 2], 5).double()
    with torch.no_grad():
        fusion.head.weight.copy_(double(case["weight"]))
        fusion.head.bias.copy_(double(case["bias"]))
    features, labels = [double(z) for z in case["z"]], torch.tensor(case["y"])
    joint, unimodal = fusion.both(features)
    close(joint, case["joint"])
    close(fusion(features), case["joint"])
    close(unimodal, case["unimodal"])
    close(F.cross_entropy(joint, labels), case["ce_joint"])
    close(torch.stack([F.cross_entropy(o, labels) for o in unimodal]), case["ce_unimodal"])


@pytest.fixture
def trainer() -> Trainer:
    case = GOLDEN["trajectory"]
    linear = {"type": "mlp", "hidden": [], "activation": "identity", "bias": False, "features": 2}
    config = TrialConfig.model_validate(
        {
            "data": {"type": "mfeat"},
            "encoders": {"default": linear},
            "method": {
                "type": "ibml",
                "bio": {"weight": 1.5},
                "tcm": {"rate": 0},
                "window": {"first_epoch": 1, "stop_epoch": 3},
            },
            "optimizer": {"type": "sgd", "lr": 0.1, "momentum": 0.9, "weight_decay": 1e-3},
            "trainer": {"epochs": 3, "batch_size": 4, "shuffle": False, "precision": "float64"},
        }
    )
    inputs = {name: np.array(x) for name, x in zip(("pix", "zer"), case["x"], strict=True)}
    split = Split(inputs, np.array(case["y"]))
    made = Trainer(config, Dataset(("0", "1", "2"), split, split, split))
    with torch.no_grad():
        made.model.encoders["pix"][0].weight.copy_(double(case["init"]["E1"]))
        made.model.encoders["zer"][0].weight.copy_(double(case["init"]["E2"]))
        made.model.fusion.head.weight.copy_(double(case["init"]["W"]))
        made.model.fusion.head.bias.copy_(double(case["init"]["b"]))
    return made


def test_three_epochs_of_training(trainer: Trainer) -> None:
    case = GOLDEN["trajectory"]
    for epoch in range(3):
        steps = [step for step in case["steps"] if step["epoch"] == epoch]
        for log, step in zip(trainer.run_steps(), steps, strict=True):
            close(log.rates, step["rho"])
            close(log.loss, step["loss"])
            trainer.method.observe([log])
        trainer.epoch += 1
    close(trainer.model.encoders["pix"][0].weight, case["final"]["E1"])
    close(trainer.model.encoders["zer"][0].weight, case["final"]["E2"])
    close(trainer.model.fusion.head.weight, case["final"]["W"])
    close(trainer.model.fusion.head.bias, case["final"]["b"])
    close(trainer.method.memory.probability, case["memory_q"])


def test_the_same_trajectory_through_whole_epochs(trainer: Trainer) -> None:
    losses = [trainer.run_epoch()["train.loss"] for _ in range(3)]
    steps = GOLDEN["trajectory"]["steps"]
    expected = [np.mean([s["loss"] for s in steps if s["epoch"] == epoch]) for epoch in range(3)]
    np.testing.assert_allclose(losses, expected, rtol=0, atol=1e-9)
