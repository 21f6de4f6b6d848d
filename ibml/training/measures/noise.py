"""Accuracy with Gaussian noise on every modality's input.

The noise has 0.5, 1 and 2 times the deviation of all of that modality's training values. Texts have it on their word
vectors; token ids without vectors stay as they are.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.common.rng import stream_seed
from ibml.config.metrics.registry import NOISE_LEVELS
from ibml.inputs import Input, Sequences
from ibml.training.measures.base import MeasuredModel


def noise(measured: MeasuredModel) -> list[float]:
    """Return the accuracy at each level."""
    deviations = _compute_input_deviations(measured)
    return [_evaluate_with_noise(measured, level, deviations) for level in NOISE_LEVELS]


def _compute_input_deviations(measured: MeasuredModel) -> list[float]:
    """Of all values of each modality's training inputs; 0 where there are none to change."""
    sums = torch.zeros(len(measured.model.modalities), 3, dtype=torch.float64)
    batches = torch.arange(len(measured.train.labels)).split(
        measured.config.trainer.eval_batch_size
    )
    for _, inputs, _ in measured.train.batches(batches):
        embedded = measured.model.embed_inputs(inputs)
        sums += torch.stack(
            [_compute_moments(embedded[name]) for name in measured.model.modalities]
        ).cpu()
    count, total, squares = sums.unbind(1)
    mean = total / count.clamp_min(1)
    return (squares / count.clamp_min(1) - mean**2).clamp_min(0).sqrt().tolist()


def _evaluate_with_noise(measured: MeasuredModel, level: str, deviations: list[float]) -> float:
    scales = [NOISE_LEVELS[level] * deviation for deviation in deviations]
    generator = torch.Generator(device=measured.test.labels.device)
    batches = torch.arange(len(measured.test.labels)).split(measured.config.trainer.eval_batch_size)
    right = torch.zeros((), device=measured.test.labels.device, dtype=torch.long)
    for number, (_, inputs, labels) in enumerate(measured.test.batches(batches)):
        generator.manual_seed(stream_seed(measured.config.seed, "noise", "measure", level, number))
        embedded = measured.model.embed_inputs(inputs)
        changed = {
            name: _add_noise(embedded[name], scale, generator)
            for name, scale in zip(measured.model.modalities, scales, strict=True)
        }
        with measured.precision.autocast:
            joint, _ = measured.model(changed)
        right += (joint.argmax(1) == labels).sum()
    return float(right) / len(measured.test.labels)


def _compute_moments(values: Input) -> Tensor:
    """Count, sum and sum of squares of a modality's values, of texts over the steps that they have."""
    if not isinstance(values, Sequences):
        numbers = values.double()
    elif values.are_ids:
        return torch.zeros(3, dtype=torch.float64)
    else:
        numbers = values.values[values.valid()].double()
    return torch.stack(
        [numbers.new_tensor(numbers.numel()), numbers.sum(), numbers.square().sum()]
    ).cpu()


def _add_noise(values: Input, scale: float, generator: torch.Generator) -> Input:
    def noised(numbers: Tensor) -> Tensor:
        drawn = torch.randn(
            numbers.shape, generator=generator, device=numbers.device, dtype=numbers.dtype
        )
        return numbers + scale * drawn

    if not isinstance(values, Sequences):
        return noised(values)
    return values if values.are_ids else values.map(noised)
