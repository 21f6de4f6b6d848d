"""Heads of methods: formulas by numpy and scipy, golden numbers, and checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import special, stats
from torch import Tensor

from ibml.config.fusion import BaseFusionConfig
from ibml.config.trial import TrialConfig
from ibml.methods.lfm.config import MeanHeadConfig
from ibml.methods.lfm.head import MeanHead
from ibml.methods.mla.config import SharedHeadConfig
from ibml.methods.mla.head import SharedHead, compute_certainty
from ibml.methods.mmcosine.config import CosineHeadConfig
from ibml.methods.mmcosine.head import CosineHead
from ibml.methods.recon_boost.config import BoostedHeadConfig
from ibml.methods.recon_boost.head import BoostedHead
from ibml.models.fusion import Fusion, build_fusion
from ibml.models.multimodal import initialize_weights
from ibml.training.checkpoint import TrialCheckpoints, load_model
from ibml.training.trainer import Trainer
from tests.conftest import vectors

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "methods.json").read_text())
CONFIGS: dict[str, BaseFusionConfig] = {
    "mla": SharedHeadConfig(),
    "lfm": MeanHeadConfig(),
    "recon_boost": BoostedHeadConfig(hidden=7),
    "mmcosine": CosineHeadConfig(scale=4.0),
}
"""The head that each method brings."""
ONE_WIDTH = ("mla", "recon_boost")


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: Tensor, expected: object) -> None:
    np.testing.assert_allclose(actual.detach().numpy(), np.asarray(expected), rtol=0, atol=1e-9)


def head_of(method: str, modalities: int = 3, classes: int = 4) -> tuple[Any, list[Tensor]]:
    """A head with biases that are not 0, and features of unequal widths, where it takes them."""
    widths = [5] * modalities if method in ONE_WIDTH else [5, 3, 6][:modalities]
    torch.manual_seed(0)
    head = build_fusion(CONFIGS[method], [f"m{m}" for m in range(modalities)], widths, classes)
    initialize_weights(head)
    for parameter in head.parameters():
        parameter.data += 0.3 * torch.randn_like(parameter)
    return head.double(), [torch.randn(6, width, dtype=torch.float64) for width in widths]


def affine(z: Tensor, layer: Any) -> np.ndarray:
    weight, bias = (p.detach().numpy() for p in (layer.weight, layer.bias))
    return np.einsum("nd,cd->nc", z.numpy(), weight) + bias


def test_the_shared_head_weighs_by_entropy() -> None:
    head, features = head_of("mla")
    assert isinstance(head, SharedHead)
    parts = np.stack([affine(z, head.head) for z in features])
    entropy = stats.entropy(special.softmax(parts, 2), axis=2)
    weights = np.exp(entropy.max(0) - entropy)
    weights /= weights.sum(0)
    close(head.unimodal_logits(features), parts)
    close(head(features), (weights[..., None] * parts).sum(0))


def test_the_shared_head_gives_the_golden_prediction() -> None:
    case = GOLDEN["mla"]
    head = SharedHead(SharedHeadConfig(), ["a", "b"], [3, 3], 4).double()
    with torch.no_grad():
        head.head.weight.copy_(double(case["head"]))
        head.head.bias.zero_()
    features = [double(z) for z in GOLDEN["z"]]
    close(compute_certainty(head.unimodal_logits(features)), case["prediction_weights"])
    close(head(features), case["prediction"])


def test_a_modality_that_is_sure_beyond_all_numbers_decides() -> None:
    logits = torch.tensor([[[900.0, -900.0, 0.0]], [[0.1, 0.2, 0.0]]], requires_grad=True)
    weights = compute_certainty(logits)
    # entropies 0 and that of nearly even odds
    entropy = stats.entropy(special.softmax([0.1, 0.2, 0.0]))
    expected = 1 / (1 + np.exp(-entropy))
    np.testing.assert_allclose(weights[:, 0].detach(), [expected, 1 - expected], rtol=1e-6)
    weights[0].sum().backward()
    assert logits.grad is not None
    assert logits.grad.isfinite().all()


def test_the_mean_head_averages() -> None:
    head, features = head_of("lfm")
    assert isinstance(head, MeanHead)
    parts = np.stack([affine(z, own) for z, own in zip(features, head.heads, strict=True)])
    close(head.unimodal_logits(features), parts)
    close(head(features), parts.mean(0))


def test_the_boosted_head_scales_the_sum() -> None:
    assert BoostedHead(BoostedHeadConfig(hidden=7), ["a"], [5], 4).scale == 1
    head, features = head_of("recon_boost")
    assert isinstance(head, BoostedHead)
    first, _, last = head.head
    parts = np.stack(
        [affine(torch.tensor(np.maximum(affine(z, first), 0)), last) for z in features]
    )
    with torch.no_grad():
        head.scale.fill_(1.7)
    close(head.unimodal_logits(features), parts)
    close(head(features), 1.7 * parts.sum(0))
    head(features)[0, 2].backward()
    close(head.scale.grad, parts.sum(0)[0, 2])


def test_the_cosine_head_gives_the_golden_logits() -> None:
    head = CosineHead(
        CosineHeadConfig(scale=GOLDEN["mmcosine"]["scale"]), ["a", "b"], [3, 3], 4
    ).double()
    with torch.no_grad():
        head.head.weight.copy_(double(GOLDEN["W"]))
    close(head([double(z) for z in GOLDEN["z"]]), GOLDEN["mmcosine"]["logits"])


def test_cosines_do_not_see_lengths() -> None:
    head, features = head_of("mmcosine")
    before = head.unimodal_logits(features)
    start = 0
    for z, logits in zip(features, before, strict=True):
        columns = head.head.weight.detach().numpy()[:, start : start + z.shape[1]]
        lengths = np.linalg.norm(z, axis=1)[:, None] * np.linalg.norm(columns, axis=1)
        close(logits, 4.0 * z.numpy() @ columns.T / lengths)
        start += z.shape[1]
    with torch.no_grad():
        head.head.weight.mul_(3.0)
    close(head.unimodal_logits([5 * z for z in features]), before.detach())
    head.normalised.fill_(False)
    close(head([5 * z for z in features]), 5 * torch.cat(features, 1) @ head.head.weight.detach().T)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_features_of_zero_have_cosines_of_zero(dtype: torch.dtype) -> None:
    head = CosineHead(CosineHeadConfig(), ["a", "b"], [3, 2], 4)
    features = [torch.zeros(2, 3, dtype=dtype, requires_grad=True), torch.ones(2, 2, dtype=dtype)]
    with torch.autocast("cpu", torch.bfloat16, enabled=dtype != torch.float32):
        joint, parts = head.both(features)
    assert (parts[0] == 0).all()
    joint.float().square().sum().backward()
    assert head.head.weight.grad is not None
    assert head.head.weight.grad.isfinite().all()
    assert (head.head.weight.grad[:, :3] == 0).all()


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("method", CONFIGS)
def test_all_ways_to_ask_a_head_agree(method: str, modalities: int) -> None:
    head, features = head_of(method, modalities)
    joint, parts = head.both(features)
    close(head(features), joint.detach())
    close(head.unimodal_logits(features), parts.detach())
    kept = torch.tensor([[True] * modalities, [True] + [False] * (modalities - 1)])
    alone = [features[0], *(torch.zeros_like(z) for z in features[1:])]
    close(head.subset_logits(features, kept), torch.stack([joint, head(alone)]).detach())


@pytest.mark.parametrize("method", CONFIGS)
def test_every_encoder_and_every_weight_gets_a_gradient(method: str) -> None:
    head, features = head_of(method)
    asked = [z.requires_grad_() for z in features]
    head(asked).square().sum().backward()
    assert all(z.grad is not None and (z.grad != 0).any() for z in asked)
    assert isinstance(head, Fusion)
    assert all(p.grad is not None and (p.grad != 0).any() for p in head.parameters())


@pytest.mark.parametrize("active", [True, False], ids=["in its window", "before it"])
@pytest.mark.parametrize("method", CONFIGS)
def test_a_kept_model_predicts_as_it_did(
    trial: Callable[..., TrialConfig], tmp_path: Path, method: str, active: bool
) -> None:
    config = trial(
        encoders={"default": {"type": "mlp", "hidden": [8], "features": 4}},
        method={"type": method, "window": {"first_epoch": 0 if active else 1}},
        trainer={"epochs": 2, "batch_size": 7, "device": "cpu"},
    )
    trainer = Trainer(config, vectors())
    trainer.run_epoch()
    trainer.model.eval()
    TrialCheckpoints(tmp_path, config.trainer).save_selected(trainer, {})
    loaded = load_model(tmp_path / "selected.ckpt")
    _, inputs, _ = next(trainer.test_split.batches([torch.arange(24)]))
    assert all(
        torch.equal(*pair) for pair in zip(loaded(inputs), trainer.model(inputs), strict=True)
    )
    if isinstance(loaded.fusion, CosineHead):
        assert bool(loaded.fusion.normalised) == active
