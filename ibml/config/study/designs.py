"""Configurations of designs, which define the arms of a study."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from ibml.config.base import Config, FieldErrors, InconsistentConfig, Items, Overrides
from ibml.config.names import Name, normalize_name

MAX_ARMS = 1024
MAX_COMPONENTS = 5
"""Largest number of components of a cumulative design with `orders: all` (2 to this power arms)."""


def _check_printable(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError(f"{name!r} cannot be shown as a name")
    return name


Label = Annotated[
    str, Field(max_length=100), BeforeValidator(normalize_name), AfterValidator(_check_printable)
]
DisplayName = Annotated[Name, Field(max_length=100), AfterValidator(_check_printable)]
"""A label that is a value in the file, not a key."""

Components = Annotated[dict[Label, Annotated[Overrides, Field(min_length=1)]], Field(min_length=1)]
"""Name of each component of the base -> overrides that switch it off."""


class ArmsDesign(Config):
    """Named arms, each a set of overrides; every arm is compared with `reference`."""

    type: Literal["arms"] = "arms"
    """Name of this design."""
    reference: Name
    """Arm with which all others are compared."""
    arms: Annotated[dict[Label, Overrides], Field(min_length=1)]
    """Name of each arm -> overrides of the base."""


class OneFactorDesign(Config):
    """The base, and one arm for each value of each factor. The reference is the arm `base`."""

    type: Literal["one_factor"] = "one_factor"
    """Name of this design."""
    factors: Annotated[dict[str, Annotated[Items[Any], Field(min_length=1)]], Field(min_length=1)]
    """Dotted path into the trial's configuration -> values to try, one at a time."""


class LeaveOneOutDesign(Config):
    """The base, and one arm without each component. The reference is the base, called `full`."""

    type: Literal["leave_one_out"] = "leave_one_out"
    """Name of this design."""
    components: Components
    """Name of each component -> overrides that switch it off."""
    pairs: bool = False
    """Add an arm without each pair of components."""


class CumulativeDesign(Config):
    """The base without any component, and arms to which the components are added one by one.

    The reference is the arm without components, called `none`. With `orders: all` every subset of
    the components is an arm. The contribution of a component is then its Shapley value, the mean
    over all orders.
    """

    type: Literal["cumulative"] = "cumulative"
    """Name of this design."""
    components: Components
    """Name of each component -> overrides that switch it off."""
    orders: Literal["file", "all"] = "file"
    """`file` adds the components in the order of the file; `all` runs every subset."""

    @model_validator(mode="after")
    def _check_number_of_arms(self) -> Self:
        size = len(self.components)
        if self.orders == "all" and size > MAX_COMPONENTS:
            message = (
                f"every order of {size} components has {2**size} arms;"
                f" it takes at most {MAX_COMPONENTS} components"
            )
            raise InconsistentConfig([(("orders",), message)])
        return self


def _get_levels_tag(levels: Any) -> str:
    return "(levels)" if isinstance(levels, dict) else "(values)"


Levels = Annotated[
    Annotated[dict[Label, Overrides], Tag("(levels)"), Field(min_length=2)]
    | Annotated[Items[Any], Tag("(values)"), Field(min_length=2)],
    Discriminator(_get_levels_tag),
]
"""Levels of a factor: values of a path, or named sets of overrides. The first is the reference."""


class FactorialDesign(Config):
    """All combinations of the levels of the factors, or a regular fraction of them.

    A factor is a dotted path with a list of values, or a name with a mapping of level names to
    overrides. Each entry of `components` is a factor with the levels off and on.

    `resolution` selects a regular fraction (Box & Hunter, 1961). At resolution 3, main effects are
    not aliased with each other. At 4, they are not aliased with two-factor interactions either. At
    5, two-factor interactions are not aliased with each other.
    """

    type: Literal["factorial"] = "factorial"
    """Name of this design."""
    factors: dict[Label, Levels] = {}
    """Dotted path -> list of values, or name -> mapping of level names to overrides."""
    components: dict[Label, Annotated[Overrides, Field(min_length=1)]] = {}
    """Name of each component -> overrides that switch it off; a factor with levels off and on."""
    resolution: Annotated[int, Field(ge=3, le=5)] | None = None
    """Run a regular fraction of this resolution instead of all combinations."""
    reference: Name | None = None
    """Arm with which all others are compared; null: the arm of the first levels."""

    @property
    def sizes(self) -> list[int]:
        """Number of levels of each factor."""
        return [len(levels) for levels in self.factors.values()] + [2] * len(self.components)

    @model_validator(mode="after")
    def _check_factors(self) -> Self:
        findings: FieldErrors = []
        if len(self.sizes) < 2:
            findings.append((("factors",), "a factorial needs two or more factors or components"))
        for name in self.components:
            if name in self.factors:
                findings.append((("components", name), f"{name!r} is the name of a factor too"))
        if self.resolution is not None:
            for name, levels in self.factors.items():
                if len(levels) > 2:
                    message = f"a fraction has factors of two levels; {name!r} has {len(levels)}"
                    findings.append((("factors", name), message))
            if len(self.sizes) > 12:
                findings.append((("resolution",), "a fraction takes at most 12 factors"))
        elif math.prod(self.sizes) > MAX_ARMS:
            message = f"{math.prod(self.sizes):,} combinations; at most {MAX_ARMS:,} can be run"
            findings.append((("factors",), message))
        if findings:
            raise InconsistentConfig(findings)
        return self


Design = Annotated[
    ArmsDesign | OneFactorDesign | LeaveOneOutDesign | CumulativeDesign | FactorialDesign,
    Field(discriminator="type"),
]
