"""The golden numbers of the balancing methods, computed by functions and by whole steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ibml.config.trial import TrialConfig
from ibml.inputs import InputSpec
from ibml.methods import Batch, Method, Precision, Training, build_method
from ibml.methods.agm.method import compute_coefficients as agm_coefficients
from ibml.methods.g_blending.method import compute_blending_weights
from ibml.methods.lfm.method import compute_fitted_weight, compute_js_alignment
from ibml.methods.mla.head import SharedHead
from ibml.methods.mla.method import MLA
from ibml.methods.mmcosine.head import CosineHead
from ibml.methods.mmpareto.method import compute_joint_share, integrate_gradients
from ibml.methods.modality_valuation.method import (
    compute_added_share,
    compute_valuations,
    count_copies,
)
from ibml.methods.ogm_ge.method import compute_coefficients as ogm_coefficients
from ibml.methods.ogm_ge.method import compute_ratios
from ibml.methods.pmr.method import compute_lag_weights, compute_similarities
from ibml.methods.recon_boost.config import ReconBoostConfig
from ibml.methods.recon_boost.method import compute_boosting_loss
from ibml.models.multimodal import MultimodalModel
from ibml.statistics.coalitions import enumerate_subsets, shapley_weights

GOLDEN = json.loads((Path(__file__).parent.parent / "golden" / "methods.json").read_text())
Build = Callable[..., TrialConfig]


def double(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def close(actual: Tensor | float, expected: object) -> None:
    actual = actual if isinstance(actual, Tensor) else double(actual)
    torch.testing.assert_close(actual.detach(), double(expected), rtol=0, atol=1e-9)


Z = [double(z) for z in GOLDEN["z"]]
PARTS = double(GOLDEN["unimodal_logits"])
LABELS = torch.tensor(GOLDEN["y"])


class Given(nn.Module):
    """An encoder whose features are the given ones, and have a gradient."""

    def __init__(self, z: Tensor):
        super().__init__()
        self.z = nn.Parameter(z.clone())

    def forward(self, inputs: Tensor) -> Tensor:
        return self.z


@pytest.fixture
def made(trial: Build) -> Callable[..., Method]:
    """Build a method in double precision with the golden features and head of concat."""

    def build(**method: Any) -> Method:
        config = trial(
            encoders={"default": {"type": "mlp", "features": 3}},
            method=method,
            trainer={"epochs": 10, "precision": "float64", "batch_size": 5},
        )
        model = MultimodalModel(
            config, {"pix": InputSpec((3,)), "zer": InputSpec((3,))}, 4
        ).double()
        for name, z in zip(("pix", "zer"), Z, strict=True):
            model.encoders[name] = Given(z)
        with torch.no_grad():
            head = getattr(model.fusion, "head", None)
            if isinstance(head, nn.Linear) and head.weight.shape == (4, 6):
                head.weight.copy_(double(GOLDEN["W"]))
                if head.bias is not None:
                    head.bias.copy_(double(GOLDEN["b"]))
        return build_method(config, model, 5, Precision("float64", torch.device("cpu")))

    return build


BATCH = Batch(torch.arange(5), {"pix": torch.zeros(5, 3), "zer": torch.zeros(5, 3)}, LABELS)


def stepped(method: Method, epoch: int = 0) -> Tensor:
    """The loss of a step."""
    method.generator.manual_seed(0)
    return method.step(BATCH, epoch).loss


def gradients(method: Method) -> list[Tensor]:
    return [method.model.encoders[name].z.grad for name in ("pix", "zer")]


def test_the_joint_loss_and_the_unimodal_logits(made: Callable[..., Method]) -> None:
    method = made(type="joint")
    close(stepped(method), GOLDEN["joint_loss"])
    close(method.fused(Z, LABELS, 0).unimodal, GOLDEN["unimodal_logits"])


def test_auxiliary(made: Callable[..., Method]) -> None:
    case = GOLDEN["auxiliary"]
    method = made(type="auxiliary", weights=dict(zip(("pix", "zer"), case["weights"], strict=True)))
    close(stepped(method), case["loss"])
    close(method.model.fusion.head.weight.grad, case["grad_W"])


def test_ogm_ge(made: Callable[..., Method]) -> None:
    case = GOLDEN["ogm_ge"]
    close(compute_ratios(double(case["s"])), case["ratio"])
    close(ogm_coefficients(double(case["s"]), case["alpha"]), case["k"])
    three = case["three"]
    close(compute_ratios(double(three["s"])), three["ratio"])
    close(ogm_coefficients(double(three["s"]), case["alpha"]), three["k"])
    joint, method = made(type="joint"), made(type="ogm_ge", alpha=case["alpha"], ge=False)
    close(stepped(method), GOLDEN["joint_loss"])
    stepped(joint)
    for own, plain, k in zip(gradients(method), gradients(joint), case["k"], strict=True):
        close(own, (k * plain).tolist())
    assert torch.equal(method.model.fusion.head.weight.grad, joint.model.fusion.head.weight.grad)


def test_agm(made: Callable[..., Method]) -> None:
    case = GOLDEN["agm"]
    n, before = double(case["n"]), double(case["running_mean_before"])
    close(agm_coefficients(n, before, case["alpha"]), case["k"])
    method = made(type="agm", alpha=case["alpha"])
    method.mean.copy_(before)
    method.steps.fill_(case["t"] - 1)
    close(stepped(method), GOLDEN["joint_loss"])
    close(method.model.fusion.head.weight.grad, case["grad_W"])
    close(torch.stack(gradients(method)), case["grad_z"])
    close(method.mean, case["running_mean_after"])


def subsets(values: dict[str, Any], modalities: int) -> list[Any]:
    """Return a game's values in the order of `enumerate_subsets`; the empty set defaults to 0."""
    names = [
        ",".join(str(m) for m, inside in enumerate(row) if inside)
        for row in enumerate_subsets(modalities)
    ]
    return [values.get(name, 0.0) for name in names]


def test_shapley_values_of_logits_and_of_a_measure() -> None:
    case = GOLDEN["agm"]["shapley_logits_three"]
    games = [
        double([values[c] if values else 0.0 for values in subsets(case["v"], 3)]) for c in range(2)
    ]
    phi = torch.stack([double(shapley_weights(3)) @ game for game in games], 1)
    close(phi, case["phi"])
    measure = GOLDEN["shapley_measure"]
    close(double(shapley_weights(3)) @ double(subsets(measure["v"], 3)), measure["phi"])


@pytest.mark.parametrize("coefficient", ["paper", "release"])
def test_pmr(made: Callable[..., Method], coefficient: str) -> None:
    case = GOLDEN["pmr"]
    prototypes = [double(c) for c in case["prototypes"]]
    probability = compute_similarities(Z, prototypes).softmax(2)
    close(probability[:, torch.arange(5), LABELS].sum(1), case["q"])
    weights = compute_lag_weights(double(case["q"]), coefficient)
    close(weights, case["w"] if coefficient == "paper" else [1.0, 0.0])
    method = made(type="pmr", alpha=case["alpha"], coefficient=coefficient)
    method.prototypes = prototypes
    close(stepped(method), case[f"loss_{coefficient}"])


@pytest.mark.parametrize("case", GOLDEN["mmpareto"])
def test_mmpareto(case: dict) -> None:
    joint, own = ([double(g) for g in case[name]] for name in ("g_joint", "g_modality"))
    close(compute_joint_share(joint, own), case["c"])
    for actual, expected in zip(
        integrate_gradients(joint, own, case["gamma"]), case["gradient"], strict=True
    ):
        close(actual, expected)


@pytest.fixture
def alternating(made: Callable[..., Method]) -> MLA:
    method = made(type="mla")
    assert isinstance(method, MLA)
    with torch.no_grad():
        method.head.weight.copy_(double(GOLDEN["mla"]["head"]))
        method.head.bias.zero_()
    return method


def test_mla_projects_the_gradients_of_three_updates(alternating: MLA) -> None:
    """With the head held fixed: a learning rate of 0."""
    found: list[tuple[Tensor, Tensor]] = []

    class Watching(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            found.append((alternating.projection.clone(), alternating.head.weight.grad.clone()))

    alternating.samples = 50  # ten batches of five
    alternating.begin(Training(None, None, Watching(alternating.parameters(), lr=0.0)))
    for _ in range(2):
        alternating.update(BATCH, 0)
    for (projection, gradient), step in zip(found, GOLDEN["mla"]["steps"], strict=False):
        close(projection, step["P"])
        close(gradient, step["grad"])


def test_mla_predicts_by_certainty(alternating: MLA) -> None:
    fusion = alternating.model.fusion
    assert isinstance(fusion, SharedHead)
    close(fusion(Z), GOLDEN["mla"]["prediction"])


def test_mmcosine(made: Callable[..., Method]) -> None:
    method = made(type="mmcosine", scale=GOLDEN["mmcosine"]["scale"])
    assert isinstance(method.model.fusion, CosineHead)
    close(method.model.fusion(Z), GOLDEN["mmcosine"]["logits"])
    close(stepped(method), GOLDEN["mmcosine"]["loss"])


def test_g_blending() -> None:
    case = GOLDEN["g_blending"]
    losses = double([case["train_val_first_last"][name] for name in ("a", "b", "joint")])
    # each is [train, validation] of the first epoch, then of the last
    close(
        compute_blending_weights(losses[:, 0], losses[:, 1]),
        [case["weights"][name] for name in ("a", "b", "joint")],
    )


def test_recon_boost() -> None:
    case = GOLDEN["recon_boost"]
    options = ReconBoostConfig(
        weight1=case["weight1"], weight2=case["weight2"], alpha=case["alpha"]
    )
    other = PARTS[1].softmax(1)
    close(compute_boosting_loss(PARTS[0], other, other, LABELS, options), case["loss"])


def test_lfm(made: Callable[..., Method]) -> None:
    case = GOLDEN["lfm"]
    close(compute_js_alignment(PARTS), case["js"])
    for epoch, weight in case["w_fitted"].items():
        close(compute_fitted_weight(int(epoch), 100), weight)
    w = case["w"]
    joint = torch.nn.functional.cross_entropy(PARTS.mean(0), LABELS)
    close(2 * (w * joint + (1 - w) * compute_js_alignment(PARTS)), case["loss"])


@pytest.mark.parametrize("case", GOLDEN["modality_valuation"]["two"])
def test_valuation_of_two(case: dict) -> None:
    correct = torch.tensor(
        [[False], [case["correct_0"]], [case["correct_1"]], [case["correct_both"]]]
    ).bool()
    phi = compute_valuations(correct)
    close(phi[:, 0], case["phi"])
    assert count_copies(phi)[:, 0].tolist() == case["copies"]


def test_valuation_of_three_and_of_modalities() -> None:
    three = GOLDEN["modality_valuation"]["three"]
    correct = torch.tensor(subsets(three["correct"], 3)).bool()[:, None]
    close(compute_valuations(correct)[:, 0], three["phi"])
    level = GOLDEN["modality_valuation"]["modality_level"]
    share, kept = compute_added_share(double(level["mean_phi"]), level["alpha"])
    assert share == pytest.approx(level["fraction"], abs=1e-9)
    assert kept == level["kept_modality"]
