"""Configuration of searches: parameters, objectives, constraints, sampler and scheduler."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, Discriminator, Field, Tag, model_validator

from ibml.config.base import Config, Count, FieldErrors, InconsistentConfig, Items, Overrides
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
    """Condition on a number: a closed interval."""

    low: float | None = None
    """Lower bound, included; null: unbounded."""
    high: float | None = None
    """Upper bound, included; null: unbounded."""


def _build_form_check(explain: Callable[[Any], str]) -> Callable[[Any], Any]:
    """Build a validator that rejects data in another tool's format with the correct notation."""

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
"""Other parameter -> condition: a value, a list of values, or {low: ..., high: ...} for a number.

A parameter is searched only if all its conditions hold. A condition on a parameter that is not
searched does not hold."""


class RangeParameter(Config):
    """A number in a closed interval."""

    low: int | float
    """Lower bound, included."""
    high: int | float
    """Upper bound, included."""
    log: bool = False
    """Search the logarithm of the value."""
    step: Annotated[int | float, Field(gt=0)] | None = None
    """Step between values; only `low` plus multiples of it are searched."""
    when: When = {}
    """Conditions on other parameters; the parameter is searched only if all hold."""

    @model_validator(mode="after")
    def _check_range(self) -> Self:
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
    """One of a list of values."""

    choices: Annotated[Items[Any], Field(min_length=1)]
    """Values to choose from; a mapping sets several keys below the path."""
    when: When = {}
    """Conditions on other parameters; the parameter is searched only if all hold."""

    @model_validator(mode="after")
    def _check_choices(self) -> Self:
        if len({label(choice) for choice in self.choices}) < len(self.choices):
            raise ValueError("two choices are equal")
        return self


def label(value: Any) -> Any:
    """Encode a choice for the search database: scalars unchanged, other values as JSON."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    return json.dumps(value)


class ConstantParameter(Config):
    """A value that is set but not searched."""

    value: Any
    """The value."""
    when: When = {}
    """Conditions on other parameters; the value is set only if all hold."""


def _get_parameter_tag(parameter: Any) -> str:
    keys = parameter if isinstance(parameter, Mapping) else getattr(parameter, "model_fields", {})
    if "choices" in keys:
        return "(choices)"
    return "(value)" if "value" in keys else "(range)"


Parameter = Annotated[
    Annotated[RangeParameter, Tag("(range)")]
    | Annotated[ChoiceParameter, Tag("(choices)")]
    | Annotated[ConstantParameter, Tag("(value)")],
    Discriminator(_get_parameter_tag),
    BeforeValidator(_build_form_check(explain_parameter)),
]


class Objective(Config):
    """A metric to optimise."""

    metric: str
    """Metric to optimise: `val.*` at the selected epoch, `time.total`, or the mean `time.epoch`."""
    direction: Direction | None = None
    """Direction of optimisation; null: that of the metric."""

    @property
    def sense(self) -> Direction:
        """Direction of optimisation: the given one, or that of the metric."""
        if self.direction is not None:
            return self.direction
        return "maximize" if describe_metric(self.metric).higher_is_better else "minimize"


class Constraint(Config):
    """A bound on a metric, for example `{metric: time.epoch, max: 0.5}`.

    A configuration that violates it cannot be the best.
    """

    metric: str
    """Metric to bound, for example `time.epoch`."""
    max: float | None = None
    """Largest value allowed."""
    min: float | None = None
    """Smallest value allowed."""

    @model_validator(mode="after")
    def _check_bounds(self) -> Self:
        if self.max is None and self.min is None:
            raise ValueError("a constraint needs 'max' or 'min'")
        return self


SchedulerConfig = Annotated[
    NoSchedulerConfig | ASHAConfig | HyperbandConfig | MedianConfig | WilcoxonConfig | PBTConfig,
    Field(discriminator="type"),
]


class BestOf(Config):
    """Best configuration of an earlier search in the same database."""

    search: Annotated[Name, Field(min_length=1)]
    """Name of the earlier search."""


def _get_start_tag(start: Any) -> str:
    if isinstance(start, str):
        return "(name)"
    if isinstance(start, BestOf) or (isinstance(start, Mapping) and "search" in start):
        return "(search)"
    return "(values)"


Start = Annotated[
    Annotated[Literal["paper", "base"], Tag("(name)")]
    | Annotated[BestOf, Tag("(search)")]
    | Annotated[dict[str, Any], Tag("(values)")],
    Discriminator(_get_start_tag),
]


class SearchSpaceConfig(Config):
    """A search: a base configuration, and parameters given by their dotted paths."""

    name: StudyName
    """Name of the search in MLflow and on the command line."""
    description: str = ""
    """Description for readers of the report."""
    base: str | Overrides | None = None
    """Base configuration: a preset, a .yaml file or a mapping."""
    overrides: Overrides = {}
    """Changes to the base, by dotted path or as nested mappings."""
    parameters: Annotated[dict[str, Parameter], Field(min_length=1)]
    """Dotted path into the trial's configuration -> range, choices or constant."""
    objectives: Annotated[Items[Objective], Field(min_length=1)] = (
        Objective(metric="val.accuracy"),
    )
    """Metrics to optimise; with several, the search approximates the Pareto front."""
    constraints: Items[Constraint] = ()
    """Bounds that the best configuration must satisfy."""
    sampler: SamplerConfig = TPEConfig()
    """Algorithm that proposes configurations."""
    scheduler: SchedulerConfig = NoSchedulerConfig()
    """Algorithm that stops trials early or changes them during training."""
    trials: Count = 50
    """Total number of trials, including those before an interruption."""
    seeds_per_trial: Annotated[int, Field(ge=1, le=1000)] = 1
    """Seeds per configuration, trained one after another; the objective is their mean."""
    concurrency: Count | None = None
    """Number of configurations evaluated in parallel; null: as many as the resources allow. A
    search is reproducible only with 1."""
    diverged: Literal["failed", "worst"] = "failed"
    """Result of a diverged trial for the sampler: `failed`, or the `worst` value of the metric."""
    start_from: Items[Start] = ()
    """Configurations evaluated first: `paper` (the defaults of ibml), `base`, {search: NAME} (the
    best of another search), or values by dotted path."""
    resources: ResourcesConfig = ResourcesConfig()
    """Backend, and resources per trial."""

    @model_validator(mode="after")
    def _check_consistency(self) -> Self:
        findings = self._find_objective_errors() + self._find_wilcoxon_errors()
        findings += self._find_constraint_errors()
        if len(self.objectives) > 1 and self.sampler.type == "cmaes":
            message = "cmaes has one objective; use nsga2, nsga3, tpe or gp"
            findings.append((("sampler", "type"), message))
        if self.scheduler.type == "pbt":
            findings += self._find_population_errors()
        if findings:
            raise InconsistentConfig(findings)
        return self

    def _find_objective_errors(self) -> FieldErrors:
        findings: FieldErrors = []
        if len(self.objectives) > 1 and self.scheduler.type != "none":
            message = (
                "early stopping ranks trials by one value; with several objectives it must be none"
            )
            findings.append((("scheduler", "type"), message))
        if len({objective.metric for objective in self.objectives}) < len(self.objectives):
            findings.append((("objectives",), "a metric is listed twice"))
        return findings

    def _find_wilcoxon_errors(self) -> FieldErrors:
        """Return an error if no test can become significant."""
        if self.scheduler.type != "wilcoxon":
            return []
        smallest_p = 0.5 ** (self.seeds_per_trial - 1)
        if smallest_p < self.scheduler.p:
            return []
        message = (
            f"with {self.seeds_per_trial} seeds_per_trial no comparison gives p below"
            f" {self.scheduler.p:g}, so wilcoxon never stops anything"
        )
        return [(("scheduler", "type"), message)]

    def _find_constraint_errors(self) -> FieldErrors:
        bounds = []
        for constraint in self.constraints:
            if constraint.max is not None:
                bounds.append((constraint.metric, "max"))
            if constraint.min is not None:
                bounds.append((constraint.metric, "min"))
        if len(set(bounds)) < len(bounds):
            return [(("constraints",), "a metric has two bounds of one kind")]
        return []

    def _find_population_errors(self) -> FieldErrors:
        """Return the settings that population-based training does not support.

        Several objectives are not among them: no scheduler supports these.
        """
        findings: FieldErrors = []
        if not all(objective.metric.startswith("val.") for objective in self.objectives):
            message = "pbt copies members that are good now, so it needs a metric val.*"
            findings.append((("objectives",), message))
        if self.constraints:
            message = (
                "pbt changes a member while it trains,"
                " so a bound on its whole training says nothing"
            )
            findings.append((("constraints",), message))
        if self.seeds_per_trial > 1:
            message = (
                "pbt copies the state of one training, so a member has one seed;"
                " repeat the search instead"
            )
            findings.append((("seeds_per_trial",), message))
        if self.sampler.type == "grid":
            message = "pbt draws the first values of its members; a grid has no draws"
            findings.append((("sampler", "type"), message))
        if self.trials < 4:
            message = f"pbt needs a population of 4 or more, got {self.trials}"
            findings.append((("trials",), message))
        return findings


class TuneConfig(Config):
    """Search that tunes every arm of an ablation before its evaluation."""

    space: str | Overrides
    """Search-space file, or a mapping with its content."""
    trials: Count | None = None
    """Number of trials of each arm's search; null: that of the search space."""
