"""Seeds: a number, a list, or as many as a decision takes."""

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
    """Seeds 0, 1, 2, ... for each arm until it is decided against the reference, `min` at least and `max` at most.

    After each seed from `min` on there is a look at `metric` (the table's first where none is named); the chance of
    any wrong decision over all looks and arms stays at the table's alpha (Lan & DeMets 1983).
    """

    min: Annotated[int, Field(ge=2)] = 3
    """Seeds that every arm gets before the first decision."""
    max: Annotated[int, Field(le=MAX_ADAPTIVE_SEEDS)]
    """Seeds after which an arm stops, decided or not."""
    stop: Literal["decided"] = "decided"
    """When an arm stops: `decided`, once its difference from the reference is significant."""
    metric: str | None = None
    """Metric that decides; without it, the first of the table."""

    def get_deciding_metric(self, metrics: Sequence[str]) -> str:
        """The metric by which arms are decided, of a table with these."""
        return self.metric or metrics[0]

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.min >= self.max:
            raise InconsistentConfig([(("max",), f"max {self.max} is not above min {self.min}")])
        return self


def _expand_seeds(value: Any) -> Any:
    """A number of seeds stands for 0 .. number - 1."""
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
