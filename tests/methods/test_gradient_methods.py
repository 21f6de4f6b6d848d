"""OGM-GE, AGM and MMPareto: whole steps against autograd on the written-out formula."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations
from math import exp, tanh

import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.common.rng import stream_seed
from ibml.inputs import InputSpec, Sequences
from ibml.methods import Batch, Precision, build_method
from ibml.methods.mmpareto.method import compute_joint_share, integrate_gradients
from ibml.methods.ogm_ge.method import OGMGE
from ibml.models.fusion import Fusion
from ibml.models.multimodal import MultimodalModel
from tests.methods.steps import (
    Build,
    batches,
    by_parameters,
    close,
    copied,
    gradients,
    same,
    started,
    trainer_with,
)


def scores(parts: Tensor, labels: Tensor) -> list[float]:
    """s_m: the probability of the labels, summed over the batch."""
    return [float(o.detach().softmax(1)[torch.arange(len(labels)), labels].sum()) for o in parts]


@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("ge", [False, True])
def test_ogm_scales_the_encoders_gradients_and_adds_noise_of_their_deviation(
    trial: Build, modalities: int, ge: bool
) -> None:
    trainer = trainer_with(trial, {"type": "ogm_ge", "alpha": 0.7, "ge": ge}, modalities)
    batch = started(trainer, 3)
    model = copied(trainer)
    joint, parts = model(batch.inputs)
    s = scores(parts, batch.labels)
    ratios = [own / ((sum(s) - own) / (modalities - 1)) for own in s]
    assert min(ratios) < 1 < max(ratios)
    loss = F.cross_entropy(joint, batch.labels)
    trainer.method.step(batch, 3)
    generator = torch.Generator().manual_seed(stream_seed(0, "noise", 3))
    for name, ratio in zip(model.modalities, ratios, strict=True):
        k = 1 - tanh(0.7 * ratio) if ratio > 1 else 1.0
        plain = by_parameters(loss, model.encoders[name])
        for own, g in zip(gradients(trainer.model.encoders[name]), plain, strict=True):
            if g.dim() < 2:
                close(own, g)
                continue
            deviation = ((g - g.mean()).square().sum() / (g.numel() - 1)).sqrt() + 1e-8
            noise = torch.randn(g.shape, generator=generator, dtype=torch.float64) * deviation
            close(own, k * g + (noise if ge else 0))
    for own, g in zip(
        gradients(trainer.model.fusion), by_parameters(loss, model.fusion), strict=True
    ):
        close(own, g)


def test_ogm_without_alpha_and_noise_is_joint_bit_for_bit(trial: Build) -> None:
    trainer, joint = (trainer_with(trial, {"type": kind}) for kind in ("ogm_ge", "joint"))
    options = trainer.config.method.model_copy(update={"alpha": 0.0, "ge": False})
    method = OGMGE(trainer.config, options, trainer.model, 24, trainer.precision)
    method.begin(trainer.method.training)
    trainer.method = method
    for _ in range(2):
        trainer.run_epoch(), joint.run_epoch()
    assert same(list(trainer.model.parameters()), list(joint.model.parameters()))


def test_ogm_gives_a_weight_of_one_number_no_noise(trial: Build) -> None:
    # the deviation of one number, with n - 1, is 0 / 0
    one = {"default": {"type": "mlp", "hidden": [1], "features": 1, "activation": "tanh"}}
    trainer = trainer_with(trial, {"type": "ogm_ge"}, encoders=one)
    trainer.method.step(started(trainer), 0)
    assert all(g.isfinite().all() for g in gradients(trainer.model))


def logits_of(fusion: Fusion, z: list[Tensor], kept: set[int]) -> Tensor:
    """v(S)."""
    joint = fusion([part if m in kept else torch.zeros_like(part) for m, part in enumerate(z)])
    return joint if kept else torch.zeros_like(joint)


def shapley_logits(fusion: Fusion, z: list[Tensor]) -> list[Tensor]:
    """phi_m as the mean over all orders in which the modalities can come."""
    orders = list(permutations(range(len(z))))
    phi = [torch.zeros(()) for _ in z]
    for order in orders:
        for place, m in enumerate(order):
            before = set(order[:place])
            phi[m] = phi[m] + (
                logits_of(fusion, z, before | {m}) - logits_of(fusion, z, before)
            ) / len(orders)
    return phi


def misses(phi: list[Tensor], labels: Tensor) -> list[float]:
    """n_m."""
    return [
        float(
            -o.detach().softmax(1)[torch.arange(len(labels)), labels].clamp_min(1e-8).log().mean()
        )
        for o in phi
    ]


def factors(n: list[float], before: list[float], alpha: float) -> list[float]:
    """k_m."""

    def above(values: list[float], m: int) -> float:
        others = [value for place, value in enumerate(values) if place != m]
        return exp(sum(others) / len(others) - values[m])

    return [exp(alpha * min(above(before, m) - above(n, m), 10)) for m in range(len(n))]


@pytest.mark.parametrize("fusion", ["concat", "sum", "film", "gated", "late"])
def test_agm_scales_each_share_of_the_logits_over_two_steps(trial: Build, fusion: str) -> None:
    trainer = trainer_with(trial, {"type": "agm", "alpha": 0.8}, 3, fusion={"type": fusion})
    started(trainer)
    seen: list[list[float]] = []
    for batch in batches(trainer)[:2]:
        model = copied(trainer)
        z = model.features(batch.inputs)
        phi = shapley_logits(model.fusion, z)
        joint = model.fusion(z)
        close(sum(phi), joint)
        shares = trainer.method.compute_shares(
            trainer.method.forward(batch.inputs, batch.labels, 0)
        )
        if (
            fusion == "sum"
        ):  # taken to share its biases as its o_m do: phi would have the mean bias in each
            phi = list(model.fusion.unimodal_logits(z))
        close(shares, torch.stack(phi))
        n = misses(phi, batch.labels)
        before = [sum(each[m] for each in seen) / len(seen) if seen else 0.0 for m in range(3)]
        k = factors(n, before, 0.8)
        assert max(k) - min(k) > 0.01
        by_logits = torch.autograd.grad(
            F.cross_entropy(joint, batch.labels), joint, retain_graph=True
        )[0].detach()
        written = sum(own * (by_logits * share).sum() for own, share in zip(k, phi, strict=True))
        log = trainer.method.update(batch, 0)
        close(log.loss, F.cross_entropy(joint, batch.labels).detach())
        for own, expected in zip(
            gradients(trainer.model), by_parameters(written, model), strict=True
        ):
            close(own, expected)
        seen.append(n)
    close(trainer.method.mean.tolist(), [(seen[0][m] + seen[1][m]) / 2 for m in range(3)])
    assert trainer.method.steps == 2


def test_agm_exponent_is_cut_at_ten_and_probabilities_at_a_hundred_millionth(trial: Build) -> None:
    trainer = trainer_with(trial, {"type": "agm", "alpha": 0.5}, fusion={"type": "sum"})
    batch = started(trainer)
    for head, sign in zip(trainer.model.fusion.heads, (1, -1), strict=True):
        head.bias.data = sign * torch.tensor([100.0, 0.0, -100.0], dtype=torch.float64)
    trainer.method.mean.copy_(torch.tensor([0.0, 9.0]))
    trainer.method.steps.fill_(1)
    model = copied(trainer)
    z = model.features(batch.inputs)
    n = misses(list(model.fusion.unimodal_logits(z)), batch.labels)
    share = -torch.tensor(1e-8, dtype=torch.float64).log() * 2 / 3
    assert max(n) < share + 2, "so that the floor matters: without it n would be a hundred or so"
    trainer.method.step(batch, 0)
    close(trainer.method.mean.tolist(), [n[0] / 2, (9 + n[1]) / 2])
    assert factors(n, [0.0, 9.0], 0.5)[0] == exp(5)
    joint = model.fusion(z)
    by_logits = torch.autograd.grad(F.cross_entropy(joint, batch.labels), joint)[0]
    for own, k in zip(trainer.model.fusion.heads, factors(n, [0.0, 9.0], 0.5), strict=True):
        close(own.bias.grad, k * by_logits.sum(0))


def random_gradients(seed: int) -> tuple[list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    return tuple(
        [
            torch.randn(shape, generator=generator, dtype=torch.float64) * scale
            for shape in [(2, 3), (2,)]
        ]
        for scale in (1.0, 0.4 + seed % 5)
    )


def flat(tensors: list[Tensor]) -> Tensor:
    return torch.cat([t.flatten() for t in tensors])


def test_mmpareto_share_is_the_least_norm_where_gradients_are_in_conflict() -> None:
    inside = outside = 0
    for seed in range(60):
        joint, own = random_gradients(seed)
        a, b = flat(joint), flat(own)
        c = float(compute_joint_share(joint, own))
        if a @ b > 0:
            assert c == 0.5
            continue
        found = minimize_scalar(
            lambda c, a=a, b=b: float((c * a + (1 - c) * b).square().sum()),
            bounds=(0, 1),
            method="bounded",
            options={"xatol": 1e-10},
        )
        assert c == pytest.approx(found.x, abs=1e-6)
        inside += 0.001 < c < 0.999
        # Of two gradients at an obtuse angle neither is the shortest. The ends need zero gradients.
        outside += c in (0.001, 0.999)
    assert inside > 20
    assert outside == 0


def test_mmpareto_without_one_of_the_gradients() -> None:
    joint, _ = random_gradients(0)
    none = [torch.zeros_like(g) for g in joint]
    # c = 0.001, u = 0.002 g_0 is shorter than g_0, and made as long
    close(integrate_gradients(joint, none, 1.5), [1.5 * g for g in joint])
    close(integrate_gradients(none, joint, 1.5), [1.5 * g for g in joint])
    close(integrate_gradients(none, none, 1.5), none)
    # c = 1/2, u = g_0 + g_m
    close(integrate_gradients(joint, joint, 1.5), [3 * g for g in joint])


def pareto(joint: list[Tensor], own: list[Tensor], gamma: float) -> list[Tensor]:
    """The specification in words, tensor by tensor."""
    a, b, d = (float(flat(x) @ flat(y)) for x, y in ((joint, joint), (joint, own), (own, own)))
    c = 0.5 if b > 0 else 0.999 if b >= a else 0.001 if b >= d else (d - b) / (a + d - 2 * b)
    result = []
    for x, y in zip(joint, own, strict=True):
        u = 2 * c * x + 2 * (1 - c) * y
        if (x + y).norm() > u.norm() > 0:
            u = u * (x + y).norm() / u.norm()
        result.append(gamma * u)
    return result


@pytest.mark.parametrize("heads", ["separate", "shared"])
@pytest.mark.parametrize("fusion", ["concat", "film"])
def test_mmpareto_step_is_put_together_from_separate_backward_passes(
    trial: Build, fusion: str, heads: str
) -> None:
    method = {"type": "mmpareto", "gamma": 1.3, "heads": heads}
    trainer = trainer_with(trial, method, 3, fusion={"type": fusion})
    conflicts = 0
    started(trainer)
    for batch in batches(trainer):
        model, own_heads = copied(trainer), [head.requires_grad_() for head in trainer.method.heads]
        z = model.features(batch.inputs)
        joint = F.cross_entropy(model.fusion(z), batch.labels)
        logits = (
            [head(part) for head, part in zip(own_heads, z, strict=True)]
            if own_heads
            else model.fusion.both(z)[1]
        )
        own = [F.cross_entropy(o, batch.labels) for o in logits]
        expected = []
        for name, loss in zip(model.modalities, own, strict=True):
            by_joint, by_own = (by_parameters(each, model.encoders[name]) for each in (joint, loss))
            conflicts += bool(flat(by_joint) @ flat(by_own) < 0)
            expected += pareto(by_joint, by_own, 1.3)
        expected += by_parameters(joint + sum(own), model.fusion)
        expected += [g for head in own_heads for g in by_parameters(joint * 0 + sum(own), head)]
        trainer.method.update(batch, 0)
        actual = [
            *gradients(trainer.model.encoders),
            *gradients(trainer.model.fusion),
            *gradients(trainer.method.heads),
        ]
        assert len(actual) == len(expected)
        for mine, theirs in zip(actual, expected, strict=True):
            close(mine, theirs)
    assert conflicts or fusion == "concat"


def test_mmpareto_leaves_a_frozen_weight_alone_and_trains_with_frozen_encoders(
    trial: Build,
) -> None:
    trainer, free = (trainer_with(trial, {"type": "mmpareto"}) for _ in range(2))
    batch = started(trainer)
    free.method.step(started(free), 0)
    layer = trainer.model.encoders["zer"][0]
    layer.weight.requires_grad_(False)
    trainer.method.step(batch, 0)
    assert layer.weight.grad is None
    for mine, theirs in zip(
        gradients(trainer.model.encoders["pix"]), gradients(free.model.encoders["pix"]), strict=True
    ):
        close(mine, theirs)
    assert len(gradients(trainer.model.encoders["zer"])) == 3
    trainer.model.zero_grad()
    trainer.model.encoders.requires_grad_(False)
    trainer.method.step(batch, 0)
    assert gradients(trainer.model.encoders) == []
    for mine, theirs in zip(
        gradients(trainer.model.fusion), gradients(free.model.fusion), strict=True
    ):
        close(mine, theirs)


def test_mmpareto_reaches_the_word_vectors_of_texts(
    trial: Build, kinds: Callable[..., None]
) -> None:
    kinds(pix="text", zer="vector")
    encoders = {
        "pix": {"type": "text_gru", "embedding": 2, "hidden": 3, "features": 3},
        "zer": {"type": "mlp"},
    }
    config = trial(encoders=encoders, method={"type": "mmpareto", "gamma": 1.0, "heads": "shared"})
    model = MultimodalModel(
        config, {"pix": InputSpec((4,), ("a", "b")), "zer": InputSpec((3,))}, 2
    ).double()
    method = build_method(config, model, 2, Precision("float64", torch.device("cpu")))
    texts = Sequences(torch.tensor([[1, 2, 0], [2, 0, 0]]), torch.tensor([2, 1]))
    inputs = {"pix": texts, "zer": torch.ones(2, 3, dtype=torch.float64)}
    labels = torch.tensor([0, 1])
    joint, parts = model(inputs)
    encoder: nn.Module = model.encoders["pix"]
    losses = (F.cross_entropy(joint, labels), F.cross_entropy(parts[0], labels))
    expected = pareto(*(by_parameters(loss, encoder) for loss in losses), 1.0)
    method.start_epoch(0)
    method.step(Batch(torch.arange(2), inputs, labels), 0)
    assert (encoder.embedding.weight.grad[1:] != 0).any(1).all()
    for mine, theirs in zip(gradients(encoder), expected, strict=True):
        close(mine, theirs)
