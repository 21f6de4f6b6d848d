"""Models: initialisation from named streams."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from ibml.config.trial import TrialConfig
from ibml.inputs import InputSpec
from ibml.models.multimodal import MultimodalModel, initialize_weights

Build = Callable[..., TrialConfig]
SPECS = {"pix": InputSpec((240,)), "zer": InputSpec((47,)), "fou": InputSpec((76,))}


def model(config: TrialConfig) -> MultimodalModel:
    return MultimodalModel(config, SPECS, 10)


def weights(module: torch.nn.Module) -> torch.Tensor:
    return torch.cat([p.flatten() for p in module.parameters()])


def test_an_encoder_starts_the_same_in_every_fusion_and_company(trial: Build) -> None:
    first = model(trial(fusion={"type": "concat"}))
    film = model(trial(fusion={"type": "film"}))
    beside = model(trial(data={"type": "mfeat", "views": ["fou", "pix"]}))
    alone = model(trial(method={"type": "unimodal", "modality": "pix"}))
    other_seed = model(trial(seed=1))
    start = weights(first.encoders["pix"])
    for twin in (film, beside, alone):
        assert torch.equal(weights(twin.encoders["pix"]), start)
    assert not torch.equal(weights(other_seed.encoders["pix"]), start)
    assert not torch.equal(start[:100], weights(first.encoders["zer"])[:100])


def test_building_a_model_leaves_torchs_generator_alone(trial: Build) -> None:
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    model(trial())
    assert torch.equal(torch.rand(3), expected)


def test_each_modality_can_have_its_own_encoder(trial: Build) -> None:
    encoders = {
        "default": {"type": "mlp", "hidden": [8], "features": 4},
        "zer": {"type": "mlp", "hidden": []},
    }
    made = model(trial(encoders=encoders))
    features = made.features({"pix": torch.zeros(2, 240), "zer": torch.zeros(2, 47)})
    assert [z.shape for z in features] == [(2, 4), (2, 64)]
    assert sum(p.numel() for p in made.encoders["pix"].parameters()) == 240 * 8 + 8 + 8 * 4 + 4


@pytest.mark.parametrize("convolution", [torch.nn.Conv1d(50, 40, 5), torch.nn.Conv2d(50, 20, 3)])
def test_convolutions_start_as_the_paper_says(convolution: torch.nn.Module) -> None:
    initialize_weights(convolution)
    outputs, _, *kernel = convolution.weight.shape
    expected = (2 / (outputs * math.prod(kernel))) ** 0.5
    assert convolution.weight.std().item() == pytest.approx(expected, rel=0.02)
    assert (convolution.bias == 0).all()


def test_what_keeps_its_weights_is_not_initialised() -> None:
    kept, fresh = (torch.nn.Sequential(torch.nn.Linear(3, 3)) for _ in range(2))
    kept.keeps_weights = True
    before = weights(kept).clone()
    initialize_weights(torch.nn.Sequential(kept, fresh))
    assert torch.equal(weights(kept), before)
    assert (fresh[0].bias == 0).all()
