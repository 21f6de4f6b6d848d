"""A search space over a base configuration: what is active, what a choice of values means as a trial."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ibml.common.errors import Problem, SourceLocation
from ibml.common.yaml.documents import Document
from ibml.config.loading.layers import Layers, Setting, read_settings
from ibml.config.loading.validation import validate_layers
from ibml.config.search.space import (
    Between,
    ChoiceParameter,
    ConstantParameter,
    Parameter,
    RangeParameter,
    SearchSpaceConfig,
    label,
)
from ibml.config.trial import TrialConfig, build_canonical_form, flatten

MOST_LISTED = 10_000
"""Beyond so many values nobody wants them one by one."""
Values = dict[str, Any]
"""Dotted path -> value, of the parameters that are active."""


@dataclass(frozen=True)
class Dimension:
    """One parameter of a space. `whole`: its field takes whole numbers only."""

    path: str
    parameter: Parameter
    source: SourceLocation
    whole: bool = False

    @cached_property
    def labels(self) -> dict[Any, Any]:
        """Label -> value of each choice. A database keeps scalars as they are and anything else as its JSON."""
        choices = self.parameter.choices if isinstance(self.parameter, ChoiceParameter) else ()
        return {label(choice): choice for choice in choices}

    def encode(self, value: Any) -> Any:
        """The value as the database keeps it."""
        return label(value) if isinstance(self.parameter, ChoiceParameter) else value

    def value(self, label: Any) -> Any:
        """The value of a label."""
        return self.labels[label] if isinstance(self.parameter, ChoiceParameter) else label

    def has_label(self, label: Any) -> bool:
        """Whether the label is that of a value that can be proposed."""
        return (
            label in self.labels
            if isinstance(self.parameter, ChoiceParameter)
            else self.contains(label)
        )

    def contains(self, value: Any) -> bool:
        """Whether the value can be proposed."""
        p = self.parameter
        if isinstance(p, ConstantParameter):
            return bool(p.value == value)
        if isinstance(p, ChoiceParameter):
            return label(value) in self.labels
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not p.low <= value <= p.high
        ):
            return False
        steps = 0.0 if p.step is None else (value - p.low) / p.step
        return abs(steps - round(steps)) < 1e-9 and not (self.whole and value != int(value))

    @cached_property
    def count(self) -> int | None:
        """The number of values, where it is finite."""
        p = self.parameter
        if isinstance(p, ConstantParameter):
            return 1
        if isinstance(p, ChoiceParameter):
            return len(p.choices)
        step = p.step or (1 if self.whole and not p.log else None)
        return None if step is None else int((p.high - p.low) / step + 1e-9) + 1

    def get_value(self, position: int) -> Any:
        """One of so many values."""
        p = self.parameter
        if isinstance(p, ConstantParameter):
            return p.value
        if isinstance(p, ChoiceParameter):
            return p.choices[position]
        value = p.low + position * (p.step or 1)
        return round(value) if self.whole else value

    @property
    def grid(self) -> list[Any] | None:
        """All values, where they are few enough to list."""
        return (
            None
            if self.count is None or self.count > MOST_LISTED
            else list(map(self.get_value, range(self.count)))
        )

    def list_examples(self) -> list[Any]:
        """Values at the ends of the range, or every choice."""
        p = self.parameter
        return [p.low, p.high] if isinstance(p, RangeParameter) else self.grid or []


def count_trials(config: SearchSpaceConfig, space: Space) -> int:
    """The number of proposals of a search: as asked for, or all there are where a grid has less."""
    return (
        min(config.trials, space.size or config.trials)
        if config.sampler.type == "grid"
        else config.trials
    )


class Space:
    """Dimensions around a base, each after those that its conditions name."""

    def __init__(self, base: TrialConfig, dimensions: tuple[Dimension, ...], name: str):
        self.base, self.dimensions, self.name = base, dimensions, name
        self._layers = Layers()
        self._layers.add(read_settings(Document(name, base.model_dump(mode="json"))))

    @property
    def searched(self) -> list[Dimension]:
        return [d for d in self.dimensions if not isinstance(d.parameter, ConstantParameter)]

    def walk(self, choose: Callable[[Dimension], Any]) -> Values:
        """The values that `choose` gives to the dimensions that are active, in order."""
        values: Values = {}
        for dimension in self.dimensions:
            if is_active(dimension, values):
                p = dimension.parameter
                values[dimension.path] = (
                    p.value if isinstance(p, ConstantParameter) else choose(dimension)
                )
        return values

    def trial(self, values: Values) -> tuple[TrialConfig | None, list[Problem]]:
        """The configuration with these values over the base, or what is wrong with it."""
        layers = self._layers.copy()
        sources = {dimension.path: dimension.source for dimension in self.dimensions}
        layer = [
            s for path, value in values.items() for s in _build_settings(path, value, sources[path])
        ]
        problems = layers.add(layer)
        config, found = validate_layers(
            layers, next((s.source for s in layer), SourceLocation(self.name))
        )
        return (None, [*problems, *found]) if problems else (config, found)

    def get_base_values(self, config: TrialConfig | None = None) -> Values:
        """What a configuration (the base, if none is given) has at the active dimensions, as far as the space
        contains it."""
        plain = (config or self.base).model_dump(mode="json")
        flat = flatten(plain)
        values: Values = {}
        for dimension in self.dimensions:
            value = flat.get(dimension.path, lookup(plain, dimension.path))
            if isinstance(dimension.parameter, ChoiceParameter) and isinstance(value, dict):
                value = self._find_same_choice(dimension, config or self.base)
            if is_active(dimension, values) and dimension.contains(value):
                values[dimension.path] = value
        return values

    def _find_same_choice(self, dimension: Dimension, config: TrialConfig) -> Any:
        """The choice of several settings that a configuration has already."""
        around = Space(config, (dimension,), self.name)
        same = build_canonical_form(config)
        for choice in dimension.list_examples():
            made, _ = around.trial({dimension.path: choice})
            if made is not None and build_canonical_form(made) == same:
                return choice
        return None

    @cached_property
    def size(self) -> int | None:
        """The number of different proposals, where it is finite; counting stops at a million."""
        if any(d.count is None for d in self.dimensions):
            return None
        return min(self._count_combinations(0, {}), _MANY)

    def _count_combinations(self, position: int, values: Values) -> int:
        if position == len(self.dimensions):
            return 1
        dimension, total = self.dimensions[position], 0
        if not is_active(dimension, values):
            return self._count_combinations(position + 1, values)
        asked = any(dimension.path in later.parameter.when for later in self.dimensions[position:])
        count = dimension.count or 0
        if not asked:
            return count * self._count_combinations(
                position + 1, {**values, dimension.path: dimension.get_value(0)}
            )
        for value in map(dimension.get_value, range(count)):
            total += self._count_combinations(position + 1, {**values, dimension.path: value})
            if total > _MANY:
                break
        return total


_MANY = 1_000_000


def is_active(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    """Whether all conditions of a dimension hold among the active values."""
    return all(
        path in values and is_condition_met(when, values[path])
        for path, when in dimension.parameter.when.items()
    )


def is_condition_met(condition: Any, value: Any) -> bool:
    """Whether a value meets a condition: one value, a list of them, or bounds."""
    if isinstance(condition, Between):
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        return (condition.low is None or value >= condition.low) and (
            condition.high is None or value <= condition.high
        )
    return value in (condition if isinstance(condition, tuple) else (condition,))


def _build_settings(path: str, value: Any, source: SourceLocation) -> list[Setting]:
    if not isinstance(value, dict) or not value:
        return [Setting(tuple(path.split(".")), value, source)]
    return [
        s for key, part in value.items() for s in _build_settings(f"{path}.{key}", part, source)
    ]


def lookup(tree: Any, path: str) -> Any:
    """What stands at a dotted path of nested mappings, or None."""
    for step in path.split("."):
        tree = tree.get(step) if isinstance(tree, dict) else None
    return tree
