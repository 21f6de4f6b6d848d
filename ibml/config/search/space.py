"""Search-space files, typed: what a search varies, towards which objectives, and how."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from ibml.config.base import Config, Count, InconsistentConfig, Items, Overrides
from ibml.config.metrics.names import describe_metric
from ibml.config.metrics.specs import Direction
from ibml.config.names import Name, StudyName
from ibml.config.resources import ResourcesConfig
from ibml.config.search.foreign_formats import explain_bounds, explain_parameter
from ibml.config.search.samplers import SamplerConfig, TPEConfig
from ibml.config.search.schedulers import (
    ASHAConfig,
    HyperbandConfig,
    MedianConfig,
    NoSchedulerConfig,
    PBTConfig,
    WilcoxonConfig,
)

MAX_STEPS = 1_000_000
Scalar = None | bool | int | float | str


class Between(Config):
    """A condition on a number: it lies between two bounds, both included."""

    low: float | None = None
    """Lower bound, included; without it, there is none."""
    high: float | None = None
    """Upper bound, included; without it, there is none."""


def _build_form_check(explain: Callable[[Any], str]) -> Callable[[Any], Any]:
    """Return a validator that answers data in another tool's form with ibml's."""

    def check(value: Any) -> Any:
        if not isinstance(value, BaseModel) and (message := explain(value)):
            raise ValueError(message)
        return value

    return check


def _get_condition_tag(condition: Any) -> str:
    if isinstance(condition, Mapping | Between):
        return "(bounds)"
    return "(list)" if isinstance(condition, list | tuple) else "(value)"


Condition = Annotated[
    Annotated[Between, BeforeValidator(_build_form_check(explain_bounds)), Tag("(bounds)")]
    | Annotated[Items[Scalar], Tag("(list)"), Field(min_length=1)]
    | Annotated[Scalar, Tag("(value)")],
    Discriminator(_get_condition_tag),
]
When = dict[str, Condition]
"""The parameter is searched only where other parameters have these values: a value, a list of values, or
{low: ..., high: ...} for a number. All conditions must hold, and a parameter that is not searched itself holds none."""


class RangeParameter(Config):
    """A number between two bounds, both included; `log` searches its logarithm, `step` only every step-th value."""

    low: int | float
    """Lower bound, included."""
    high: int | float
    """Upper bound, included."""
    log: bool = False
    """Search the logarithm of the value."""
    step: Annotated[int | float, Field(gt=0)] | None = None
    """Search only `low` plus multiples of this."""
    when: When = {}
    """Conditions on other parameters; the parameter is searched only where all hold."""

    @model_validator(mode="after")
    def _is_a_range(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} is not below high {self.high:g}")
        if self.log and self.low <= 0:
            raise ValueError(f"a logarithm needs low above 0, got {self.low:g}")
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other")
        if self.step is not None and self.step > self.high - self.low:
            raise ValueError(f"step {self.step:g} is wider than the range")
        if self.step is not None and (self.high - self.low) / MAX_STEPS > self.step:
            raise ValueError(f"step {self.step:g} makes more than a million values; leave it out")
        return self


class ChoiceParameter(Config):
    """One of a list of values; a value may be a mapping, which sets several keys below the path."""

    choices: Annotated[Items[Any], Field(min_length=1)]
    """Values to choose from; a mapping sets several keys below the path."""
    when: When = {}
    """Conditions on other parameters; the parameter is searched only where all hold."""

    @model_validator(mode="after")
    def _each_choice_once(self) -> Self:
        if len({label(choice) for choice in self.choices}) < len(self.choices):
            raise ValueError("two choices are equal")
        return self


def label(value: Any) -> Any:
    """A choice as a database keeps it: scalars as they are, anything else as its JSON."""
    return (
        value if value is None or isinstance(value, bool | int | float | str) else json.dumps(value)
    )


class ConstantParameter(Config):
    """A value that is set and not searched."""

    value: Any
    """The value."""
    when: When = {}
    """Conditions on other parameters; the value is set only where all hold."""


def _get_parameter_tag(parameter: Any) -> str:
    keys = parameter if isinstance(parameter, Mapping) else getattr(parameter, "model_fields", {})
    return "(choices)" if "choices" in keys else "(value)" if "value" in keys else "(range)"


Parameter = Annotated[
    Annotated[RangeParameter, Tag("(range)")]
    | Annotated[ChoiceParameter, Tag("(choices)")]
    | Annotated[ConstantParameter, Tag("(value)")],
    Discriminator(_get_parameter_tag),
    BeforeValidator(_build_form_check(explain_parameter)),
]


class Objective(Config):
    """A metric to optimise: `val.*` at the epoch that is selected, `time.total`, or `time.epoch` (their mean).
    Without a direction it is that of the metric."""

    metric: str
    """Metric to optimise, for example `val.accuracy` or `time.total`."""
    direction: Direction | None = None
    """Direction of optimisation; without it, that of the metric."""

    @property
    def sense(self) -> Direction:
        return self.direction or (
            "maximize" if describe_metric(self.metric).higher_is_better else "minimize"
        )


class Constraint(Config):
    """A bound that a configuration must keep to be called the best: `{metric: time.epoch, max: 0.5}`."""

    metric: str
    """Metric that is bounded, for example `time.epoch`."""
    max: float | None = None
    """Largest value allowed."""
    min: float | None = None
    """Smallest value allowed."""

    @model_validator(mode="after")
    def _is_a_bound(self) -> Self:
        if self.max is None and self.min is None:
            raise ValueError("a constraint needs 'max' or 'min'")
        return self


SchedulerConfig = Annotated[
    NoSchedulerConfig | ASHAConfig | HyperbandConfig | MedianConfig | WilcoxonConfig | PBTConfig,
    Field(discriminator="type"),
]


class BestOf(Config):
    """The best configuration of an earlier search in the same database."""

    search: Annotated[Name, Field(min_length=1)]
    """Name of the earlier search."""


def _get_start_tag(start: Any) -> str:
    if isinstance(start, str):
        return "(name)"
    return (
        "(search)"
        if isinstance(start, BestOf) or (isinstance(start, Mapping) and "search" in start)
        else "(values)"
    )


Start = Annotated[
    Annotated[Literal["paper", "base"], Tag("(name)")]
    | Annotated[BestOf, Tag("(search)")]
    | Annotated[dict[str, Any], Tag("(values)")],
    Discriminator(_get_start_tag),
]


class SearchSpaceConfig(Config):
    """A search over `TrialConfig`: parameters by their dotted paths, around a base configuration."""

    name: StudyName
    """Name of the search in MLflow and on the command line."""
    description: str = ""
    """Description for readers of the report."""
    base: str | Overrides | None = None
    """Preset, .yaml file or mapping with the configuration that everything starts from."""
    overrides: Overrides = {}
    """Settings that change the base, by dotted path or as nested mappings."""
    parameters: Annotated[dict[str, Parameter], Field(min_length=1)]
    """Dotted path into the trial's configuration -> range, choices or constant."""
    objectives: Annotated[Items[Objective], Field(min_length=1)] = (
        Objective(metric="val.accuracy"),
    )
    """Metrics to optimise; with several, the search looks for the Pareto front."""
    constraints: Items[Constraint] = ()
    """Bounds that the best configuration must keep."""
    sampler: SamplerConfig = TPEConfig()
    """Algorithm that proposes configurations."""
    scheduler: SchedulerConfig = NoSchedulerConfig()
    """Algorithm that stops trials early or changes them while they train."""
    trials: Count = 50
    """Number of trials in all, those before an interruption included."""
    seeds_per_trial: Annotated[int, Field(ge=1, le=1000)] = 1
    """Seeds per configuration, trained one after another; its value is their mean."""
    concurrency: Count | None = None
    """Configurations that are tried at the same time; without it, as many as fit. 1 makes a search repeatable."""
    diverged: Literal["failed", "worst"] = "failed"
    """How the sampler sees a trial that diverges: as `failed`, or with the `worst` value of the metric."""
    start_from: Items[Start] = ()
    """Configurations that are tried first: `paper` (the defaults of ibml), `base`, {search: NAME} (the best of another
    search), or values by dotted path."""
    resources: ResourcesConfig = ResourcesConfig()
    """CPUs and GPUs that one trial gets."""

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        several = len(self.objectives) > 1
        findings: list[tuple[tuple[str, ...], str]] = []
        if several and self.scheduler.type != "none":
            message = (
                "early stopping ranks trials by one value; with several objectives it must be none"
            )
            findings.append((("scheduler", "type"), message))
        if len({objective.metric for objective in self.objectives}) < len(self.objectives):
            findings.append((("objectives",), "a metric is listed twice"))
        if (
            self.scheduler.type == "wilcoxon"
            and 0.5 ** (self.seeds_per_trial - 1) >= self.scheduler.p
        ):
            message = f"with {self.seeds_per_trial} seeds_per_trial no comparison gives p below {self.scheduler.p:g}"
            findings.append((("scheduler", "type"), f"{message}, so wilcoxon never stops anything"))
        bounds = [
            (c.metric, kind)
            for c in self.constraints
            for kind in ("max", "min")
            if getattr(c, kind) is not None
        ]
        if len(set(bounds)) < len(bounds):
            findings.append((("constraints",), "a metric has two bounds of one kind"))
        if several and self.sampler.type == "cmaes":
            findings.append(
                (("sampler", "type"), "cmaes has one objective; use nsga2, nsga3, tpe or gp")
            )
        if self.scheduler.type == "pbt":
            findings += self._find_population_errors()
        if findings:
            raise InconsistentConfig(findings)
        return self

    def _find_population_errors(self) -> list[tuple[tuple[str, ...], str]]:
        """What does not fit to population-based training. That there is one objective is said for every scheduler."""
        findings: list[tuple[tuple[str, ...], str]] = []
        if not all(objective.metric.startswith("val.") for objective in self.objectives):
            findings.append(
                (
                    ("objectives",),
                    "pbt copies members that are good now, so it needs a metric val.*",
                )
            )
        if self.constraints:
            message = "pbt changes a member while it trains, so a bound on its whole training says nothing"
            findings.append((("constraints",), message))
        if self.seeds_per_trial > 1:
            message = "pbt copies the state of one training, so a member has one seed; repeat the search instead"
            findings.append((("seeds_per_trial",), message))
        if self.sampler.type == "grid":
            findings.append(
                (
                    ("sampler", "type"),
                    "pbt draws the first values of its members; a grid has no draws",
                )
            )
        if self.trials < 4:
            findings.append(
                (("trials",), f"pbt needs a population of 4 or more, got {self.trials}")
            )
        return findings


class TuneConfig(Config):
    """The search that every arm of an ablation gets before it is evaluated: a search-space file (or mapping) and,
    where given, its number of trials."""

    space: str | Overrides
    """Search-space file, or a mapping with its content."""
    trials: Count | None = None
    """Number of trials of each arm's search; without it, that of the search space."""
