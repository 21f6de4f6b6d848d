"""Designs: which arms a study compares, as its file says it."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Discriminator, Field, Tag, model_validator

from ibml.config.base import Config, InconsistentConfig, Items, Overrides
from ibml.config.names import Name, normalize_name

MAX_ARMS = 1024
MAX_COMPONENTS = 5
"""Of every order of a cumulative design, and of Shapley values: 2 to this power arms."""


def _check_printable(name: str) -> str:
    if not name.strip() or not name.isprintable():
        raise ValueError(f"{name!r} is no name that can be shown")
    return name


Label = Annotated[
    str, Field(max_length=100), BeforeValidator(normalize_name), AfterValidator(_check_printable)
]
DisplayName = Annotated[Name, Field(max_length=100), AfterValidator(_check_printable)]
"""A label that stands as a value in the file, not as a key."""

Components = Annotated[dict[Label, Annotated[Overrides, Field(min_length=1)]], Field(min_length=1)]
"""The parts of the base that are looked at: name -> the settings that switch the part off."""


class ArmsDesign(Config):
    """Named arms, each a set of overrides; every arm is compared with `reference`."""

    type: Literal["arms"] = "arms"
    """Selects this design."""
    reference: Name
    """Arm that all others are compared with."""
    arms: Annotated[dict[Label, Overrides], Field(min_length=1)]
    """Name of each arm -> overrides of the base."""


class OneFactorDesign(Config):
    """Each factor's values one at a time around the base, which is the reference, called `base`."""

    type: Literal["one_factor"] = "one_factor"
    """Selects this design."""
    factors: Annotated[dict[str, Annotated[Items[Any], Field(min_length=1)]], Field(min_length=1)]
    """Dotted path into the trial's configuration -> values to try, one at a time."""


class LeaveOneOutDesign(Config):
    """The base, called `full`, which is the reference, and the base without each component; with `pairs` also without
    each two of them."""

    type: Literal["leave_one_out"] = "leave_one_out"
    """Selects this design."""
    components: Components
    """Name of each component -> overrides that switch it off."""
    pairs: bool = False
    """Also leave out every two components together."""


class CumulativeDesign(Config):
    """The base without any component, called `none`, which is the reference; then the components are added one after
    another in the order of the file. With `orders: all` every subset is an arm, and each component's share of the
    whole gain is its Shapley value, the mean over all orders."""

    type: Literal["cumulative"] = "cumulative"
    """Selects this design."""
    components: Components
    """Name of each component -> overrides that switch it off."""
    orders: Literal["file", "all"] = "file"
    """`file` adds the components in the file's order; `all` runs every subset, for Shapley values."""

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        if self.orders == "all" and len(self.components) > MAX_COMPONENTS:
            message = f"every order of {len(self.components)} components has {2 ** len(self.components)} arms; "
            raise InconsistentConfig(
                [(("orders",), f"{message}it takes at most {MAX_COMPONENTS} components")]
            )
        return self


def _get_levels_tag(levels: Any) -> str:
    return "(levels)" if isinstance(levels, dict) else "(values)"


Levels = Annotated[
    Annotated[dict[Label, Overrides], Tag("(levels)"), Field(min_length=2)]
    | Annotated[Items[Any], Tag("(values)"), Field(min_length=2)],
    Discriminator(_get_levels_tag),
]
"""The levels of a factor: values of a path, or named sets of overrides. The first is compared with."""


class FactorialDesign(Config):
    """Every combination of the factors' levels. A factor is a dotted path with a list of values, or a name with a
    mapping of names to overrides; each of `components` is a factor with the levels off and on. With `resolution` only
    a fraction of the combinations is run, in which no effect of fewer than that many factors together is mixed up with
    the mean: of a resolution of 3 main effects are clear of each other, of 4 also of interactions of two factors, of 5
    these are clear of each other too (Box & Hunter 1961). `reference` is an arm; else that of the first levels."""

    type: Literal["factorial"] = "factorial"
    """Selects this design."""
    factors: dict[Label, Levels] = {}
    """Dotted path -> list of values, or name -> mapping of level names to overrides."""
    components: dict[Label, Annotated[Overrides, Field(min_length=1)]] = {}
    """Name of each component -> overrides that switch it off. Each is a factor with the levels off and on."""
    resolution: Annotated[int, Field(ge=3, le=5)] | None = None
    """Run a regular fraction of this resolution instead of all combinations."""
    reference: Name | None = None
    """Arm that all others are compared with; without it, the arm of the first levels."""

    @property
    def sizes(self) -> list[int]:
        """The number of levels of each factor."""
        return [*map(len, self.factors.values()), *(2 for _ in self.components)]

    @model_validator(mode="after")
    def _can_be_run(self) -> Self:
        findings: list[tuple[tuple[str, ...], str]] = []
        if len(self.sizes) < 2:
            findings.append((("factors",), "a factorial needs two or more factors or components"))
        findings += [
            (("components", name), f"{name!r} is the name of a factor too")
            for name in self.components
            if name in self.factors
        ]
        if self.resolution is not None:
            findings += [
                (
                    ("factors", name),
                    f"a fraction has factors of two levels; {name!r} has {len(levels)}",
                )
                for name, levels in self.factors.items()
                if len(levels) > 2
            ]
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
