"""Configuration of seeds: a number, a list, or an adaptive number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Discriminator, Field, Tag, model_validator

from ibml.config.base import Config, InconsistentConfig

Seed = Annotated[int, Field(ge=0, lt=2**32)]
DEFAULT_SEEDS = (0, 1, 2, 3, 4)
MAX_SEEDS = 10_000
MAX_ADAPTIVE_SEEDS = 100


class AdaptiveSeeds(Config):
    """Adaptive number of seeds: an arm stops once its difference from the reference is significant.

    Every arm receives the seeds 0, 1, 2, ..., at least `min` and at most `max`. From `min` on, it
    is tested after each seed. Group-sequential thresholds (Lan & DeMets, 1983) keep the family-wise
    error rate over all tests and arms at the table's alpha.
    """

    min: Annotated[int, Field(ge=2)] = 3
    """Number of seeds of every arm before its first test."""
    max: Annotated[int, Field(le=MAX_ADAPTIVE_SEEDS)]
    """Number of seeds after which an arm stops in any case."""
    stop: Literal["decided"] = "decided"
    """Stopping rule of an arm: `decided`, once its difference from the reference is significant."""
    metric: str | None = None
    """Metric to test; null: the first metric of the table."""

    def get_deciding_metric(self, metrics: Sequence[str]) -> str:
        """Return the metric that is tested, for a table with `metrics`."""
        return self.metric or metrics[0]

    @model_validator(mode="after")
    def _check_range(self) -> Self:
        if self.min >= self.max:
            raise InconsistentConfig([(("max",), f"max {self.max} is not above min {self.min}")])
        return self


def _expand_seeds(value: Any) -> Any:
    """Expand a number of seeds to the seeds 0 .. number - 1."""
    if isinstance(value, bool) or not isinstance(value, (int, list, tuple)):
        raise ValueError(
            f"expected a number of seeds, a list of seeds or {{min: ..., max: ...}}, got {value!r}"
        )
    if isinstance(value, int):
        if not 1 <= value <= MAX_SEEDS:
            raise ValueError(
                f"{value} seeds make no study; give at least 1 and at most {MAX_SEEDS:,}"
            )
        return tuple(range(value))
    if len(set(map(repr, value))) < len(value):
        raise ValueError("a seed is listed twice")
    return value


def _get_seeds_tag(value: Any) -> str:
    return "(adaptive)" if isinstance(value, dict | AdaptiveSeeds) else "(seeds)"


Seeds = Annotated[
    Annotated[AdaptiveSeeds, Tag("(adaptive)")]
    | Annotated[
        Annotated[tuple[Seed, ...], Field(strict=False, min_length=1)],
        BeforeValidator(
            _expand_seeds, json_schema_input_type=Annotated[int, Field(ge=1)] | list[Seed]
        ),
        Tag("(seeds)"),
    ],
    Discriminator(_get_seeds_tag),
]
