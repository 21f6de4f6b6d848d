"""Accuracy with Gaussian noise on the input of every modality.

The standard deviation of the noise is 0.5, 1 and 2 times that of all training values of the
modality. For texts the noise is added to the word vectors; token ids without vectors are unchanged.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.common.rng import stream_seed
from ibml.config.metrics.registry import NOISE_LEVELS
from ibml.inputs import Input, Sequences
from ibml.training.measures.base import MeasuredModel


def noise(measured: MeasuredModel) -> list[float]:
    """Return the test accuracy at each level."""
    deviations = _compute_input_deviations(measured)
    return [_evaluate_with_noise(measured, level, deviations) for level in NOISE_LEVELS]


def _compute_input_deviations(measured: MeasuredModel) -> list[float]:
    """Return the standard deviation of each modality's training values; 0 for token ids."""
    sums = torch.zeros(len(measured.model.modalities), 3, dtype=torch.float64)
    batches = torch.arange(len(measured.train.labels)).split(
        measured.config.trainer.eval_batch_size
    )
    for _, inputs, _ in measured.train.batches(batches):
        embedded = measured.model.embed_inputs(inputs)
        moments = [_compute_moments(embedded[name]) for name in measured.model.modalities]
        sums += torch.stack(moments).cpu()
    count, total, squares = sums.unbind(1)
    mean = total / count.clamp_min(1)
    return (squares / count.clamp_min(1) - mean**2).clamp_min(0).sqrt().tolist()


def _evaluate_with_noise(measured: MeasuredModel, level: str, deviations: list[float]) -> float:
    scales = [NOISE_LEVELS[level] * deviation for deviation in deviations]
    generator = torch.Generator(device=measured.test.labels.device)
    batches = torch.arange(len(measured.test.labels)).split(measured.config.trainer.eval_batch_size)
    correct = torch.zeros((), device=measured.test.labels.device, dtype=torch.long)
    for number, (_, inputs, labels) in enumerate(measured.test.batches(batches)):
        generator.manual_seed(stream_seed(measured.config.seed, "noise", "measure", level, number))
        embedded = measured.model.embed_inputs(inputs)
        noisy = {}
        for name, scale in zip(measured.model.modalities, scales, strict=True):
            noisy[name] = _add_noise(embedded[name], scale, generator)
        with measured.precision.autocast:
            joint, _ = measured.model(noisy)
        correct += (joint.argmax(1) == labels).sum()
    return float(correct) / len(measured.test.labels)


def _compute_moments(values: Input) -> Tensor:
    """Return count, sum and sum of squares of a modality's values, without padding, (3,)."""
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
    def add(numbers: Tensor) -> Tensor:
        drawn = torch.randn(
            numbers.shape, generator=generator, device=numbers.device, dtype=numbers.dtype
        )
        return numbers + scale * drawn

    if not isinstance(values, Sequences):
        return add(values)
    return values if values.are_ids else values.map(add)
