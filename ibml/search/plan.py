"""From a search-space file to a search; every error is found here, before anything runs."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ibml.common.errors import ConfigError, Problem, SourceLocation, format_suggestion
from ibml.common.yaml import documents
from ibml.common.yaml.documents import Document, KeyPath
from ibml.config.loading.file_kinds import SPACE, check_kind, read_as
from ibml.config.loading.layers import Layers, Setting, find_base, read_settings
from ibml.config.loading.overrides import apply_overrides, find_unknown_sections, parse_override
from ibml.config.loading.validation import parse_document, validate_layers
from ibml.config.metrics import names as metrics
from ibml.config.plugins.plugin_config import hash_plugin_sources
from ibml.config.search.space import (
    BestOf,
    ChoiceParameter,
    ConstantParameter,
    Constraint,
    Objective,
    RangeParameter,
    SearchSpaceConfig,
    Start,
)
from ibml.config.trial import TrialConfig, build_canonical_form, flatten
from ibml.search.pbt_mutable import check_mutable
from ibml.search.space import MOST_LISTED, Space, Values, count_trials
from ibml.search.validation import build_space, order_dimensions, sample_trials

SpaceSource = str | Path | Mapping[str, Any]

FIRST_SEED = 1_000_000
"""Searches train with seeds from here on, so that a study's own seeds, which count from 0, are fresh to what was
found."""


@dataclass(frozen=True)
class SearchPlan:
    """A search, checked and spelled out. `warnings` are what is allowed but probably not meant."""

    config: SearchSpaceConfig
    space: Space
    text: str
    overrides: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.config.name

    @property
    def seeds(self) -> tuple[int, ...]:
        return tuple(range(FIRST_SEED, FIRST_SEED + self.config.seeds_per_trial))

    @property
    def trials(self) -> int:
        """The number of proposals: as asked for, or all there are where a grid has less."""
        return count_trials(self.config, self.space)

    @property
    def epochs(self) -> int:
        """The most that one seed of a proposal trains."""
        found = next(
            (d.list_examples() for d in self.space.dimensions if d.path == "trainer.epochs"), []
        )
        return max(map(int, [self.space.base.trainer.epochs, *found]))

    @property
    def trained_epochs(self) -> int:
        """The same, with what the base's method trains beside them."""
        return self.space.base.count_trained_epochs(self.epochs)

    @property
    def file_hash(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    def build_spec(self, fingerprint: str, revision: int) -> dict[str, Any]:
        """All that determines what is proposed and what a proposal is worth, as plain data."""
        plain = self.config.model_dump(mode="json")
        free = {"name", "description", "base", "overrides", "trials", "concurrency", "resources"}
        if self.config.scheduler.type == "pbt":
            free.remove("trials")  # members decide what becomes of each other
        for key in free:
            del plain[key]
        kept = {
            dimension.path: plain["parameters"][dimension.path]
            for dimension in self.space.dimensions
        }
        base = build_canonical_form(self.space.base.model_copy(update={"seed": 0}))
        spec = {**plain, "parameters": kept, "base": base, "data": fingerprint, "trainer": revision}
        plugins = hash_plugin_sources(flatten(base))
        for dimension in self.space.dimensions:
            for value in dimension.list_examples():
                plugins |= hash_plugin_sources(flatten({dimension.path: value}))
        return spec | ({"plugins": plugins} if plugins else {})

    def resolve_starting_values(self, best_of: Mapping[str, Values]) -> list[Values]:
        """The proposals to try first, by label. `best_of` has the best of the earlier searches that are named, by
        label too."""
        found = []
        for start in self.config.start_from:
            values = resolve_start(self.space, start, best_of)
            by_path = {d.path: d for d in self.space.searched}
            found.append(
                {
                    path: by_path[path].encode(value)
                    for path, value in values.items()
                    if path in by_path
                }
            )
        return found


def resolve_start(space: Space, start: Start, best_of: Mapping[str, Values]) -> Values:
    """The values that a start names, as far as the space has them."""
    if start == "base":
        return space.get_base_values()
    if start == "paper":
        data, encoders = space.base.data, space.base.encoders
        return space.get_base_values(TrialConfig(data=data, encoders=encoders))
    if isinstance(start, BestOf):
        labels = best_of[start.search]
        return {
            d.path: d.value(labels[d.path])
            for d in space.searched
            if d.path in labels and d.has_label(labels[d.path])
        }
    return (
        _flatten_values(start, {d.path for d in space.searched}) if isinstance(start, dict) else {}
    )


def _flatten_values(values: Mapping[str, Any], known: Collection[str], prefix: str = "") -> Values:
    """Nested or dotted values by path; a mapping at a known path is one value."""
    found: Values = {}
    for key, value in values.items():
        path = f"{prefix}{key}"
        nested = isinstance(value, Mapping) and path not in known
        found |= _flatten_values(value, known, f"{path}.") if nested else {path: value}
    return found


def load_search(
    source: SpaceSource, base: str | None = None, overrides: Iterable[str] = ()
) -> SearchPlan:
    """The search of a file or mapping. `base` takes the place of the file's; `overrides` are `a.b=c` texts over the
    file's or the trials' keys. Raises `ConfigError` with everything that is wrong."""
    document = (
        check_kind(documents.build_document(source, "search"), SPACE)
        if isinstance(source, Mapping)
        else read_as(source, SPACE)
    )
    near = None if isinstance(source, Mapping) else Path(source).parent
    given = tuple(overrides)
    extra = [
        _join_parameter_path(setting) for override in given for setting in parse_override(override)
    ]
    document = apply_overrides(
        document, [s for s in extra if s.path[0] in SearchSpaceConfig.model_fields]
    )
    config, problems = parse_document(document, SearchSpaceConfig, ("parameters",))
    if config is None:
        raise ConfigError(problems)
    layers, base_text = _load_base_layers(config, document, near, base, problems)
    problems += find_unknown_sections(extra, [SearchSpaceConfig, TrialConfig])
    in_trials = [s for s in extra if s.path[0] in TrialConfig.model_fields]
    problems += layers.add(in_trials)
    trial, found = validate_layers(layers, document.source(("base",)))
    if trial is None:
        raise ConfigError([*problems, *found])
    told = (*([f"--base {base}"] if base else []), *given)
    plan = build_search_plan(trial, config, document, problems)
    if problems:
        raise ConfigError(problems)
    return replace(plan, text="\0".join([document.text, base_text]), overrides=told)


def _join_parameter_path(setting: Setting) -> Setting:
    """A setting of a parameter, whose path is one key of the file, up to the fields that a parameter has."""
    if setting.path[0] != "parameters":
        return setting
    fields = {
        name
        for kind in (RangeParameter, ChoiceParameter, ConstantParameter)
        for name in kind.model_fields
    }
    end = next(
        (i for i, step in enumerate(setting.path) if i > 1 and step in fields), len(setting.path)
    )
    return replace(setting, path=("parameters", ".".join(setting.path[1:end]), *setting.path[end:]))


def build_search_plan(
    base: TrialConfig,
    config: SearchSpaceConfig,
    document: Document,
    problems: list[Problem],
    elsewhere: Collection[str] = (),
) -> SearchPlan:
    """The search over a base. What is wrong goes to `problems`; `elsewhere` are parameters that only other arms
    search, which starts may name."""
    sources = {path: _locate(document, ("parameters", path)) for path in config.parameters}
    dimensions, found = order_dimensions(config.parameters, sources)
    problems += found + _check_metrics(config, base, document)
    if found:
        return SearchPlan(config, Space(base, (), config.name), document.text)
    space, found = build_space(base, dimensions, config.name)
    problems += found
    if not found:
        problems += _check_sampler(config, space)
        if config.scheduler.type == "pbt":
            problems += check_mutable(space)
        problems += _check_starts(config, space, document, elsewhere)
        problems += _check_sampled_metrics(config, space, document)
    return SearchPlan(
        config, space, document.text, warnings=tuple(_collect_warnings(config, space))
    )


def _load_base_layers(
    config: SearchSpaceConfig,
    document: Document,
    near: Path | None,
    base: str | None,
    problems: list[Problem],
) -> tuple[Layers, str]:
    layers, text = Layers(), ""
    named = base or config.base
    if isinstance(named, str):
        source = SourceLocation("--base") if base else document.source(("base",))
        found = find_base(named, Path() if base else near, source)
        text = found.text
        problems += layers.add(read_settings(found))
    elif named is None:
        message = "no base: name a preset or a .yaml file, here or with --base"
        raise ConfigError([*problems, Problem(SourceLocation(document.file, path="base"), message)])
    else:
        problems += layers.add(read_settings(document, ("base",)))
    if config.overrides:
        problems += layers.add(read_settings(document, ("overrides",)))
    return layers, text


def _locate(document: Document, path: KeyPath) -> SourceLocation:
    return replace(document.source(path), path=documents.format_path(path))


def _list_requested_metrics(
    config: SearchSpaceConfig, document: Document
) -> list[tuple[str, SourceLocation]]:
    """The metrics of objectives and constraints, and where each is asked for."""
    parts: dict[str, tuple[Objective | Constraint, ...]] = {
        "objectives": config.objectives,
        "constraints": config.constraints,
    }
    return [
        (a.metric, document.source((part, i)))
        for part, items in parts.items()
        for i, a in enumerate(items)
    ]


def _check_metrics(
    config: SearchSpaceConfig, base: TrialConfig, document: Document
) -> list[Problem]:
    known = metrics.list_search_metrics(base.modalities)
    problems = []
    for name, source in _list_requested_metrics(config, document):
        if name not in known:
            why = (
                "a search must not see test data"
                if name.startswith("test.")
                else f"no trial logs {name!r}"
            )
            problems.append(Problem(source, f"{why}{format_suggestion(name, known)}"))
    return problems


def _check_sampled_metrics(
    config: SearchSpaceConfig, space: Space, document: Document
) -> list[Problem]:
    """Objectives and constraints that some proposals would not log."""
    known_for_base = metrics.list_search_metrics(space.base.modalities)
    asked = _list_requested_metrics(config, document)
    for values, trial, _ in sample_trials(space):
        known = metrics.list_search_metrics(trial.modalities) if trial else known_for_base
        for name, source in asked:
            if name in known_for_base and name not in known:
                shown = ", ".join(f"{path}: {value}" for path, value in values.items())
                return [Problem(source, f"{name!r} is not logged where {shown}")]
    return []


def _check_sampler(config: SearchSpaceConfig, space: Space) -> list[Problem]:
    if config.sampler.type != "grid":
        return []
    message = f"a grid needs at most {MOST_LISTED:,} values: give a step or choices"
    return [
        Problem(dimension.source, message) for dimension in space.searched if dimension.grid is None
    ]


def _check_starts(
    config: SearchSpaceConfig, space: Space, document: Document, elsewhere: Collection[str]
) -> list[Problem]:
    problems = []
    by_path = {dimension.path: dimension for dimension in space.searched}
    for index, start in enumerate(config.start_from):
        source = document.source(("start_from", index))
        for path, value in (
            _flatten_values(start, by_path).items() if isinstance(start, dict) else ()
        ):
            if path in elsewhere:
                continue
            if path not in by_path:
                problems.append(
                    Problem(source, f"{path!r} is not searched{format_suggestion(path, by_path)}")
                )
            elif not by_path[path].contains(value):
                problems.append(
                    Problem(source, f"{path}: {value!r} is not in the range or among the choices")
                )
    return problems


def _collect_warnings(config: SearchSpaceConfig, space: Space) -> list[str]:
    found = []
    startup = getattr(config.sampler, "startup_trials", 0)
    scheduler = config.scheduler
    if scheduler.type == "pbt" and scheduler.interval_epochs >= space.base.trainer.epochs:
        found.append(
            f"scheduler.interval_epochs {scheduler.interval_epochs}: training ends after {space.base.trainer.epochs}"
            " epochs, so no member is changed"
        )
    if (
        scheduler.type != "pbt"
        and config.trials <= startup
        and config.sampler.type in ("tpe", "gp")
    ):
        found.append(
            f"{config.trials} trials are not more than the {startup} random ones that {config.sampler.type} starts"
            " with; raise trials or lower sampler.startup_trials"
        )
    grace = getattr(config.scheduler, "grace_epochs", 0)
    if grace >= space.base.trainer.epochs and "trainer.epochs" not in config.parameters:
        found.append(
            f"scheduler.grace_epochs {grace}: training ends after {space.base.trainer.epochs} epochs, so "
            "no trial is stopped early"
        )
    found += _warn_of_inactive_method(space)
    if not space.searched:
        found.append("nothing is searched: every parameter is constant")
    return found


def _warn_of_inactive_method(space: Space) -> list[str]:
    """Return a note where the method of the base, or of some proposals, acts in no epoch."""
    deciding = ("trainer.epochs", "method")
    if not any(
        d.path == path or d.path.startswith(f"{path}.") for d in space.searched for path in deciding
    ):
        return space.base.notes
    for values, trial, _ in sample_trials(space):
        if trial and trial.notes:
            shown = ", ".join(
                f"{path}: {value}" for path, value in values.items() if path.startswith(deciding)
            )
            return [f"where {shown}: {trial.notes[0]}"]
    return []
