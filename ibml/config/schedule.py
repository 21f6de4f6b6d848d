"""Schedules: pure functions of the epoch and the configuration."""

from __future__ import annotations

import math
from typing import Literal

from ibml.config.optimization import ScheduleConfig

Ramp = Literal["constant", "linear_up", "linear_down", "cosine"]


def ramp(kind: Ramp, window: tuple[int, int], epoch: int) -> float:
    """The share of its value that a knob has at an epoch: 0 outside the window [first, stop).

    With n = stop - first epochs and k = 0 .. n - 1 counting them: `constant` 1 (the paper), `linear_up`
    (k + 1) / n, `linear_down` (n - k) / n, `cosine` (1 + cos(pi k / n)) / 2.
    """
    first, stop = window
    if not first <= epoch < stop:
        return 0.0
    length, position = stop - first, epoch - first
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
    """What the learning rate is multiplied with at an epoch."""
    match config.type:
        case "constant":
            return 1.0
        case "step":
            return float(config.gamma ** (epoch // config.step_size))
        case "cosine":
            return config.floor + (1 - config.floor) * (1 + math.cos(math.pi * epoch / epochs)) / 2
        case "warmup":
            before = epoch - 1  # the paper sets the rate at the end of the epoch before
            if before < 0:
                return 1.0
            if before < config.boost_epochs:
                return min(before / 2 + 1, config.peak)
            return 1.0 if before < config.decay_epoch else config.gamma
