"""Schedules as pure functions of the epoch."""

from __future__ import annotations

import math

import pytest
import torch
from pydantic import TypeAdapter

from ibml.config.optimization import ScheduleConfig
from ibml.config.schedule import lr_factor, ramp


def factors(epochs: int, **config: object) -> list[float]:
    made = TypeAdapter(ScheduleConfig).validate_python(config)
    return [lr_factor(made, epochs, epoch) for epoch in range(epochs)]


def torch_factors(make: object, epochs: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = make(optimizer)
    found = []
    for _ in range(epochs):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return found


def test_step_equals_torchs() -> None:
    made = torch_factors(lambda o: torch.optim.lr_scheduler.StepLR(o, 7, 0.1), 30)
    assert factors(30, type="step", step_size=7, gamma=0.1) == pytest.approx(made)


def test_cosine_equals_torchs() -> None:
    made = torch_factors(
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 30, eta_min=0.1), 30
    )
    assert factors(30, type="cosine", floor=0.1) == pytest.approx(made)


def test_constant_stays() -> None:
    assert factors(3, type="constant") == [1, 1, 1]


def test_warmup_is_the_papers() -> None:
    # At the end of epoch t, for epoch t + 1: t < 35: min(t / 2 + 1, 10); t < 70: 1; then 0.1.
    expected = [1.0] + [min(t / 2 + 1, 10) if t < 35 else 1.0 if t < 70 else 0.1 for t in range(99)]
    assert factors(100, type="warmup") == pytest.approx(expected)
    assert expected[1:4] == [1.0, 1.5, 2.0]
    assert expected[35] == 10
    assert expected[36] == 1.0
    assert expected[71] == 0.1


@pytest.mark.parametrize("kind", ["constant", "linear_up", "linear_down", "cosine"])
def test_ramps_are_zero_outside_the_window(kind: str) -> None:
    values = [ramp(kind, (3, 7), epoch) for epoch in range(10)]
    assert values[:3] == [0, 0, 0]
    assert values[7:] == [0, 0, 0]
    assert all(0 < value <= 1 for value in values[3:7])


def test_ramps_inside_the_window() -> None:
    inside = range(3, 7)
    assert [ramp("constant", (3, 7), e) for e in inside] == [1, 1, 1, 1]
    assert [ramp("linear_up", (3, 7), e) for e in inside] == [0.25, 0.5, 0.75, 1]
    assert [ramp("linear_down", (3, 7), e) for e in inside] == [1, 0.75, 0.5, 0.25]
    assert [ramp("cosine", (3, 7), e) for e in inside] == pytest.approx(
        [(1 + math.cos(math.pi * k / 4)) / 2 for k in range(4)]
    )
