"""Fusions: formulas written out with plain tensors, and the rule for unimodal logits."""

from __future__ import annotations

import pytest
import torch
from pydantic import TypeAdapter
from torch import Tensor

from ibml.config.component_unions import FusionConfig
from ibml.config.components.registry import FUSIONS, create_default
from ibml.models.fusion import Fusion, build_fusion
from ibml.models.fusions.attention.config import AttentionConfig
from ibml.models.fusions.attention.fusion import Attention
from ibml.models.fusions.film.fusion import FiLM
from ibml.models.fusions.gated.fusion import Gated
from ibml.models.fusions.late.fusion import Late
from ibml.models.fusions.lmf.fusion import LowRank
from ibml.models.multimodal import initialize_weights

SPLIT = [
    name for name in FUSIONS if create_default(FUSIONS, name).load_implementation().splits_logits
]
"""The fusions whose joint logits are the sum of the unimodal ones."""
OTHERS = [name for name in FUSIONS if name not in SPLIT]
NAMES = ("a", "b", "c")
WIDTHS = (5, 4, 3)


def fusion_of(kind: str, modalities: int = 2, **knobs: object) -> Fusion:
    config = TypeAdapter(FusionConfig).validate_python({"type": kind, **knobs})
    torch.manual_seed(0)
    fusion = build_fusion(config, NAMES[:modalities], WIDTHS[:modalities], 6)
    initialize_weights(fusion)
    fusion.after_initialisation()
    for parameter in fusion.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    return fusion.double()


def features_of(modalities: int = 2, samples: int = 7) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [
        torch.randn(samples, width, generator=generator, dtype=torch.float64)
        for width in WIDTHS[:modalities]
    ]


@pytest.mark.parametrize("modalities", [1, 2, 3])
@pytest.mark.parametrize("kind", SPLIT)
def test_shares_add_up_to_the_joint_logits(kind: str, modalities: int) -> None:
    fusion, features = fusion_of(kind, modalities), features_of(modalities)
    joint, parts = fusion.both(features)
    torch.testing.assert_close(parts.sum(0), fusion(features))
    torch.testing.assert_close(joint, fusion(features))


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("kind", OTHERS)
def test_others_take_the_fusion_of_zeroed_features(kind: str, modalities: int) -> None:
    fusion, features = fusion_of(kind, modalities), features_of(modalities)
    joint, parts = fusion.both(features)
    torch.testing.assert_close(joint, fusion(features))
    for m, logits in enumerate(parts):
        alone = [z if k == m else z * 0 for k, z in enumerate(features)]
        torch.testing.assert_close(logits, fusion(alone))
    torch.testing.assert_close(fusion.unimodal_logits(features), parts)


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("kind", FUSIONS)
def test_every_modality_gets_a_gradient(kind: str, modalities: int) -> None:
    fusion = fusion_of(kind, modalities)
    features = [z.requires_grad_() for z in features_of(modalities)]
    joint = fusion(features)
    assert joint.shape == (7, 6)
    joint.square().sum().backward()
    assert all(z.grad is not None and (z.grad != 0).any() for z in features)


def affine(x: Tensor, layer: torch.nn.Linear) -> Tensor:
    return x @ layer.weight.T + layer.bias


def test_film_scales_and_shifts_the_other_modality() -> None:
    for condition, c in [("first", 0), ("last", 1), ("b", 1)]:
        fusion, features = fusion_of("film", condition=condition), features_of()
        assert isinstance(fusion, FiLM)
        modulation, other = affine(features[c], fusion.modulation), features[1 - c]
        gamma, beta = modulation[:, : other.shape[1]], modulation[:, other.shape[1] :]
        torch.testing.assert_close(fusion(features), affine(gamma * other + beta, fusion.head))


def test_gated_multiplies_with_a_sigmoid() -> None:
    fusion, features = fusion_of("gated", condition="last"), features_of()
    assert isinstance(fusion, Gated)
    gate = 1 / (1 + torch.exp(-affine(features[1], fusion.gate)))
    torch.testing.assert_close(
        fusion(features), affine(gate * affine(features[0], fusion.value), fusion.head)
    )


def test_low_rank_is_a_sum_of_products() -> None:
    fusion, features = fusion_of("lmf", rank=3), features_of()
    assert isinstance(fusion, LowRank)
    expected = torch.zeros(7, 6, dtype=torch.float64) + fusion.bias
    for r in range(3):
        product = torch.ones(7, 6, dtype=torch.float64)
        for z, factor in zip(features, fusion.factors, strict=True):
            rows = slice(6 * r, 6 * (r + 1))
            product = product * (z @ factor.weight[rows].T + factor.bias[rows])
        expected = expected + fusion.weights[0, r] * product
    torch.testing.assert_close(fusion(features), expected)


def test_late_averages_probabilities() -> None:
    fusion, features = fusion_of("late", 3), features_of(3)
    assert isinstance(fusion, Late)
    probabilities = [
        affine(z, head).softmax(1) for z, head in zip(features, fusion.heads, strict=True)
    ]
    torch.testing.assert_close(fusion(features).softmax(1), torch.stack(probabilities).mean(0))
    torch.testing.assert_close(fusion(features).exp().sum(1), torch.ones(7, dtype=torch.float64))


def test_attention_mixes_tokens_of_modalities() -> None:
    fusion, features = fusion_of("attention", 3, width=8, heads=2), features_of(3)
    assert isinstance(fusion, Attention)
    tokens = torch.stack(
        [affine(z, p) for z, p in zip(features, fusion.projections, strict=True)], 1
    )
    x = tokens + fusion.positions
    layer = fusion.layer
    normed = torch.nn.functional.layer_norm(x, (8,), layer.norm1.weight, layer.norm1.bias)
    q, k, v = (normed @ layer.self_attn.in_proj_weight.T + layer.self_attn.in_proj_bias).chunk(
        3, -1
    )
    heads = [t.unflatten(-1, (2, 4)).transpose(1, 2) for t in (q, k, v)]
    mixed = torch.softmax(heads[0] @ heads[1].transpose(-1, -2) / 2.0, -1) @ heads[2]
    x = x + affine(mixed.transpose(1, 2).flatten(2), layer.self_attn.out_proj)
    normed = torch.nn.functional.layer_norm(x, (8,), layer.norm2.weight, layer.norm2.bias)
    x = x + affine(torch.relu(affine(normed, layer.linear1)), layer.linear2)
    torch.testing.assert_close(fusion(features), affine(x.mean(1), fusion.head))


def test_attention_starts_as_the_paper_says() -> None:
    fusion = Attention(AttentionConfig(width=128), NAMES[:2], [5, 4], 6)
    initialize_weights(fusion)
    fusion.after_initialisation()
    for weight in fusion.layer.self_attn.in_proj_weight.chunk(3):
        assert weight.std().item() == pytest.approx((2 / 256) ** 0.5, rel=0.03)
        assert weight.abs().max() > 2.5 * weight.std(), "normal, not uniform"


def test_sum_and_concat_start_as_the_paper_says() -> None:
    for kind in (
        build_fusion(create_default(FUSIONS, name), NAMES[:2], [300, 200], 100) for name in SPLIT
    ):
        torch.manual_seed(0)
        initialize_weights(kind)
        for layer in (m for m in kind.modules() if isinstance(m, torch.nn.Linear)):
            expected = (2 / (layer.in_features + layer.out_features)) ** 0.5
            assert layer.weight.std().item() == pytest.approx(expected, rel=0.02)
            assert (layer.bias == 0).all()
