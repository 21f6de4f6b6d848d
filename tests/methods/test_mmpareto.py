"""MMPareto: one forward pass for two gradients, and the scale of half precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.methods.steps import (
    Build,
    by_parameters,
    close,
    copied,
    gradients,
    started,
    trainer_with,
)
from tests.methods.test_gradient_methods import pareto


@pytest.mark.parametrize("fusion", ["concat", "film"])
def test_gradients_under_the_scale_of_half_precision_are_those_of_single_precision(
    trial: Build, fusion: str
) -> None:
    found: list[Tensor] = []
    for precision in ("float32", "fp16"):
        trainer = trainer_with(
            trial,
            {"type": "mmpareto"},
            3,
            fusion={"type": fusion},
            trainer={"precision": precision},
        )
        trainer.method.step(started(trainer), 0)
        scale = trainer.precision.scaler.get_scale()
        assert (scale > 1) == (precision == "fp16")
        parts = (*trainer.model.children(), trainer.method.heads)
        found += [torch.cat([g.flatten() for g in gradients(part)]) / scale for part in parts]
    for single, half in zip(found[:3], found[3:], strict=True):
        assert (single - half).norm() < 0.01 * single.norm()


def test_batch_normalisation_sees_a_batch_once_and_is_differentiated_for_both_losses(
    trial: Build,
) -> None:
    trainer = trainer_with(trial, {"type": "mmpareto", "gamma": 1.2})
    for encoder in trainer.model.encoders.values():
        encoder.append(nn.BatchNorm1d(4).double())
    batch = started(trainer)
    model, heads = copied(trainer), trainer.method.heads
    z = model.features(batch.inputs)
    joint = F.cross_entropy(model.fusion(z), batch.labels)
    expected = []
    for name, head, part in zip(model.modalities, heads, z, strict=True):
        own = F.cross_entropy(head(part), batch.labels)
        expected += pareto(
            *(by_parameters(loss, model.encoders[name]) for loss in (joint, own)), 1.2
        )
    trainer.method.update(batch, 0)
    for actual, wanted in zip(gradients(trainer.model.encoders), expected, strict=True):
        close(actual, wanted)
    assert [
        int(encoder[-1].num_batches_tracked) for encoder in trainer.model.encoders.values()
    ] == [1, 1]
