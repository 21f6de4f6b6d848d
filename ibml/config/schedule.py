"""Schedules of strengths and learning rates: functions of the epoch and the configuration."""

from __future__ import annotations

import math
from typing import Literal

from ibml.config.optimization import ScheduleConfig

Ramp = Literal["constant", "linear_up", "linear_down", "cosine"]


def ramp(kind: Ramp, window: tuple[int, int], epoch: int) -> float:
    """Return the factor of a scheduled value at an epoch; 0 outside the window.

    With n = stop - first epochs, numbered k = 0 .. n - 1: `constant` is 1 (the paper), `linear_up`
    (k + 1) / n, `linear_down` (n - k) / n, `cosine` (1 + cos(pi k / n)) / 2.

    Args:
        kind: Shape of the ramp.
        window: First epoch, and the first epoch after the window.
        epoch: Epoch, counted from 0.

    Returns:
        Factor in [0, 1].
    """
    first, stop = window
    if not first <= epoch < stop:
        return 0.0
    length = stop - first
    position = epoch - first
    match kind:
        case "constant":
            return 1.0
        case "linear_up":
            return (position + 1) / length
        case "linear_down":
            return (length - position) / length
        case "cosine":
            return (1 + math.cos(math.pi * position / length)) / 2


def lr_factor(config: ScheduleConfig, epochs: int, epoch: int) -> float:
    """Return the factor of the learning rate at an epoch.

    Args:
        config: The schedule.
        epochs: Number of training epochs.
        epoch: Epoch, counted from 0.

    Returns:
        Factor by which `optimizer.lr` is multiplied.
    """
    match config.type:
        case "constant":
            return 1.0
        case "step":
            return float(config.gamma ** (epoch // config.step_size))
        case "cosine":
            return config.floor + (1 - config.floor) * (1 + math.cos(math.pi * epoch / epochs)) / 2
        case "warmup":
            before = epoch - 1  # the paper sets the rate at the end of the previous epoch
            if before < 0:
                return 1.0
            if before < config.boost_epochs:
                return min(before / 2 + 1, config.peak)
            return 1.0 if before < config.decay_epoch else config.gamma
