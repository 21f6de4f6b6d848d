"""Search space over a base configuration: dimensions, conditions and trial configurations."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
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

MAX_GRID_VALUES = 10_000
"""Maximum number of values of a dimension that are listed one by one."""
Values = dict[str, Any]
"""Values of the active parameters, by dotted path."""
_MAX_SIZE = 1_000_000


@dataclass(frozen=True)
class Dimension:
    """One parameter of a space.

    Attributes:
        path: Dotted path of the field in `TrialConfig`.
        parameter: Range, choices or constant, with conditions.
        source: Location in the search-space file.
        whole: True if the field takes only whole numbers.
    """

    path: str
    parameter: Parameter
    source: SourceLocation
    whole: bool = False

    @cached_property
    def labels(self) -> dict[Any, Any]:
        """Value of each choice by label, which is the scalar itself or the JSON of a value."""
        if not isinstance(self.parameter, ChoiceParameter):
            return {}
        return {label(choice): choice for choice in self.parameter.choices}

    def encode(self, value: Any) -> Any:
        """Return the representation of a value in the database."""
        if isinstance(self.parameter, ChoiceParameter):
            return label(value)
        return value

    def decode(self, label: Any) -> Any:
        """Return the value with this representation in the database."""
        if isinstance(self.parameter, ChoiceParameter):
            return self.labels[label]
        return label

    def has_label(self, label: Any) -> bool:
        """Return True if the label represents a value of the dimension."""
        if isinstance(self.parameter, ChoiceParameter):
            return label in self.labels
        return self.contains(label)

    def contains(self, value: Any) -> bool:
        """Return True if a value is in the range or among the choices."""
        p = self.parameter
        if isinstance(p, ConstantParameter):
            return bool(p.value == value)
        if isinstance(p, ChoiceParameter):
            return label(value) in self.labels
        if not is_number(value) or not p.low <= value <= p.high:
            return False
        if p.step is not None:
            steps = (value - p.low) / p.step
            if abs(steps - round(steps)) >= 1e-9:
                return False
        return not self.whole or bool(value == int(value))

    @cached_property
    def count(self) -> int | None:
        """Number of values; None if it is infinite."""
        p = self.parameter
        if isinstance(p, ConstantParameter):
            return 1
        if isinstance(p, ChoiceParameter):
            return len(p.choices)
        step = p.step
        if not step and self.whole and not p.log:
            step = 1
        return int((p.high - p.low) / step + 1e-9) + 1 if step else None

    def get_value(self, position: int) -> Any:
        """Return the value at an index, of a dimension with a finite number of values."""
        p = self.parameter
        if isinstance(p, ConstantParameter):
            return p.value
        if isinstance(p, ChoiceParameter):
            return p.choices[position]
        value = p.low + position * (p.step or 1)
        return round(value) if self.whole else value

    @property
    def grid(self) -> list[Any] | None:
        """All values; None if there are more than `MAX_GRID_VALUES`."""
        if self.count is None or self.count > MAX_GRID_VALUES:
            return None
        return list(map(self.get_value, range(self.count)))

    def list_examples(self) -> list[Any]:
        """Return the ends of a range, every choice, or the constant."""
        p = self.parameter
        return [p.low, p.high] if isinstance(p, RangeParameter) else self.grid or []


def count_trials(config: SearchSpaceConfig, space: Space) -> int:
    """Return the number of trials of a search: the configured one, or fewer if a grid is smaller.

    Args:
        config: Search space with the sampler and the number of trials.
        space: The same search space over its base.

    Returns:
        The number of trials.
    """
    if config.sampler.type != "grid":
        return config.trials
    return min(config.trials, space.size or config.trials)


class Space:
    """Dimensions over a base configuration.

    Args:
        base: Configuration of everything that is not searched.
        dimensions: Dimensions; each one comes after those that its conditions name.
        name: Name of the search, for error messages.
    """

    def __init__(self, base: TrialConfig, dimensions: tuple[Dimension, ...], name: str):
        self.base = base
        self.dimensions = dimensions
        self.name = name
        self._layers = Layers()
        self._layers.add(read_settings(Document(name, base.model_dump(mode="json"))))

    @property
    def searched(self) -> list[Dimension]:
        """Dimensions that are not constant."""
        return [d for d in self.dimensions if not isinstance(d.parameter, ConstantParameter)]

    def walk(self, choose: Callable[[Dimension], Any]) -> Values:
        """Choose values for the active dimensions, in order.

        Args:
            choose: Returns the value of a dimension that is not constant.

        Returns:
            Values of the active dimensions, constants included.
        """
        values: Values = {}
        for dimension in self.dimensions:
            if is_active(dimension, values):
                p = dimension.parameter
                if isinstance(p, ConstantParameter):
                    values[dimension.path] = p.value
                else:
                    values[dimension.path] = choose(dimension)
        return values

    def build_config(self, values: Values) -> tuple[TrialConfig | None, list[Problem]]:
        """Build the configuration with these values.

        Args:
            values: Values by path.

        Returns:
            The configuration, or None if it is not valid; and the problems.
        """
        layers = self._layers.copy()
        sources = {dimension.path: dimension.source for dimension in self.dimensions}
        layer: list[Setting] = []
        for path, value in values.items():
            layer += _build_settings(path, value, sources[path])
        problems = layers.add(layer)
        source = layer[0].source if layer else SourceLocation(self.name)
        config, found = validate_layers(layers, source)
        return (None, [*problems, *found]) if problems else (config, found)

    def get_base_values(self, config: TrialConfig | None = None) -> Values:
        """Return the values that a configuration has at the active dimensions.

        Args:
            config: A configuration; the base if None.

        Returns:
            Values by path. Values that the space does not contain are left out.
        """
        given = config or self.base
        plain = given.model_dump(mode="json")
        flat = flatten(plain)
        values: Values = {}
        for dimension in self.dimensions:
            value = flat.get(dimension.path, lookup(plain, dimension.path))
            if isinstance(dimension.parameter, ChoiceParameter) and isinstance(value, dict):
                value = self._find_same_choice(dimension, given)
            if is_active(dimension, values) and dimension.contains(value):
                values[dimension.path] = value
        return values

    def _find_same_choice(self, dimension: Dimension, config: TrialConfig) -> Any:
        """Return the choice that does not change a configuration, for choices of many settings."""
        around = Space(config, (dimension,), self.name)
        same = build_canonical_form(config)
        for choice in dimension.list_examples():
            made, _ = around.build_config({dimension.path: choice})
            if made is not None and build_canonical_form(made) == same:
                return choice
        return None

    @cached_property
    def size(self) -> int | None:
        """Number of different trials, at most a million; None if it is infinite."""
        if any(d.count is None for d in self.dimensions):
            return None
        return min(self._count_combinations(0, {}), _MAX_SIZE)

    def _count_combinations(self, position: int, values: Values) -> int:
        """Count the combinations of the dimensions from `position` on, given the values before."""
        if position == len(self.dimensions):
            return 1
        dimension = self.dimensions[position]
        if not is_active(dimension, values):
            return self._count_combinations(position + 1, values)
        later = self.dimensions[position:]
        decides = any(dimension.path in other.parameter.when for other in later)
        count = dimension.count or 0
        if not decides:
            rest = {**values, dimension.path: dimension.get_value(0)}
            return count * self._count_combinations(position + 1, rest)
        total = 0
        for value in map(dimension.get_value, range(count)):
            total += self._count_combinations(position + 1, {**values, dimension.path: value})
            if total > _MAX_SIZE:
                break
        return total


def is_active(dimension: Dimension, values: Mapping[str, Any]) -> bool:
    """Return True if the values meet all conditions of a dimension.

    Args:
        dimension: A dimension.
        values: Values of the active dimensions, by path.

    Returns:
        False if a condition is not met, or names a dimension that is not active.
    """
    for path, condition in dimension.parameter.when.items():
        if path not in values or not is_condition_met(condition, values[path]):
            return False
    return True


def is_condition_met(condition: Any, value: Any) -> bool:
    """Return True if a value meets a condition.

    Args:
        condition: A value, a tuple of values, or bounds.
        value: Value of the parameter that the condition names.

    Returns:
        True if the value is equal, among the values, or within the bounds.
    """
    if isinstance(condition, Between):
        if not is_number(value):
            return False
        above_low = condition.low is None or value >= condition.low
        return bool(above_low and (condition.high is None or value <= condition.high))
    return value in list_condition_values(condition)


def list_condition_values(condition: Any) -> tuple[Any, ...]:
    """Return the values of a condition without bounds, which is a value or a tuple of values."""
    return condition if isinstance(condition, tuple) else (condition,)


def is_number(value: Any) -> bool:
    """Return True for integers and floats, but not for booleans."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def is_at_or_below(path: str, others: Iterable[str]) -> bool:
    """Return True if a dotted path is one of the others, or a part of one of them."""
    return any(path == other or path.startswith(f"{other}.") for other in others)


def _build_settings(path: str, value: Any, source: SourceLocation) -> list[Setting]:
    """Return the settings of a value; a mapping has one for each of its leaves."""
    if not isinstance(value, dict) or not value:
        return [Setting(tuple(path.split(".")), value, source)]
    found: list[Setting] = []
    for key, part in value.items():
        found += _build_settings(f"{path}.{key}", part, source)
    return found


def lookup(tree: Any, path: str) -> Any:
    """Return the value at a dotted path of nested mappings, or None."""
    for step in path.split("."):
        tree = tree.get(step) if isinstance(tree, dict) else None
    return tree


def flatten_values(values: Mapping[str, Any], known: Collection[str], prefix: str = "") -> Values:
    """Return nested or dotted values by path.

    Args:
        values: Values by path or by the steps of a path.
        known: Paths of parameters; a mapping at one of them is one value.
        prefix: Path of `values`, with a dot at the end.

    Returns:
        Values by dotted path.
    """
    found: Values = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and path not in known:
            found |= flatten_values(value, known, f"{path}.")
        else:
            found[path] = value
    return found
