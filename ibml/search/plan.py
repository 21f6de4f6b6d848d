"""Plan of a search: a search-space file, checked completely before anything runs."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ibml.common.errors import ConfigError, Problem, SourceLocation
from ibml.common.yaml import documents
from ibml.common.yaml.documents import Document, KeyPath
from ibml.config.loading.file_kinds import SPACE, check_kind, read_as
from ibml.config.loading.layers import Layers, Setting, find_base, read_settings
from ibml.config.loading.overrides import apply_overrides, find_unknown_sections, parse_override
from ibml.config.loading.validation import parse_document, validate_layers
from ibml.config.plugins.plugin_config import hash_plugin_sources
from ibml.config.search.space import (
    BestOf,
    ChoiceParameter,
    ConstantParameter,
    RangeParameter,
    SearchSpaceConfig,
    Start,
)
from ibml.config.trial import TrialConfig, build_canonical_form, flatten
from ibml.search.pbt_mutable import check_mutable
from ibml.search.plan_checks import (
    check_metrics,
    check_sampled_metrics,
    check_sampler,
    check_starts,
    collect_warnings,
)
from ibml.search.space import Space, Values, count_trials, flatten_values
from ibml.search.validation import (
    build_space,
    order_dimensions,
)

SpaceSource = str | Path | Mapping[str, Any]

FIRST_SEED = 1_000_000
"""First seed of a search.

Seeds of a study count from 0, so that an arm is not evaluated with the seeds that tuned it.
"""


@dataclass(frozen=True)
class SearchPlan:
    """A checked search.

    Attributes:
        config: Configuration of the search.
        space: Search space over the base.
        text: Text of the file and its base, for the hash.
        overrides: Overrides from the command line.
        warnings: Notes on settings that are valid but probably not intended.
    """

    config: SearchSpaceConfig
    space: Space
    text: str
    overrides: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """Name of the search."""
        return self.config.name

    @property
    def seeds(self) -> tuple[int, ...]:
        """Seeds that each trial is trained with."""
        return tuple(range(FIRST_SEED, FIRST_SEED + self.config.seeds_per_trial))

    @property
    def trials(self) -> int:
        """Number of trials: the configured one, or fewer if a grid is smaller."""
        return count_trials(self.config, self.space)

    @property
    def epochs(self) -> int:
        """Maximum number of epochs of one seed of a trial."""
        most = self.space.base.trainer.epochs
        for dimension in self.space.dimensions:
            if dimension.path == "trainer.epochs":
                most = max(most, *map(int, dimension.list_examples()))
        return most

    @property
    def trained_epochs(self) -> int:
        """Maximum number of epochs of one seed, with additional training of the base's method."""
        return self.space.base.count_trained_epochs(self.epochs)

    @property
    def file_hash(self) -> str:
        """SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def build_spec(self, fingerprint: str, revision: int) -> dict[str, Any]:
        """Return everything that determines the trials and their values, as plain data.

        Args:
            fingerprint: Fingerprint of the data set.
            revision: Revision of the trainer.

        Returns:
            The specification, which the database stores with the study.
        """
        plain = self.config.model_dump(mode="json")
        free = {"name", "description", "base", "overrides", "trials", "concurrency", "resources"}
        if self.config.scheduler.type == "pbt":
            free.remove("trials")  # the members of a population influence each other
        for key in free:
            del plain[key]
        kept: dict[str, Any] = {}
        base = build_canonical_form(self.space.base.model_copy(update={"seed": 0}))
        plugins = hash_plugin_sources(flatten(base))
        for dimension in self.space.dimensions:
            kept[dimension.path] = plain["parameters"][dimension.path]
            for value in dimension.list_examples():
                plugins |= hash_plugin_sources(flatten({dimension.path: value}))
        spec = {
            **plain,
            "parameters": kept,
            "base": base,
            "data": fingerprint,
            "trainer": revision,
        }
        return spec | {"plugins": plugins} if plugins else spec

    def resolve_starting_values(self, best_of: Mapping[str, Values]) -> list[Values]:
        """Return the values of the first trials.

        Args:
            best_of: Best values of earlier searches that `start_from` names, by label.

        Returns:
            Values by label, one per entry of `start_from`.
        """
        by_path = {dimension.path: dimension for dimension in self.space.searched}
        found = []
        for start in self.config.start_from:
            labels: Values = {}
            for path, value in resolve_start(self.space, start, best_of).items():
                if path in by_path:
                    labels[path] = by_path[path].encode(value)
            found.append(labels)
        return found


def resolve_start(space: Space, start: Start, best_of: Mapping[str, Values]) -> Values:
    """Return the values that an entry of `start_from` names, as far as the space has them.

    Args:
        space: The search space.
        start: `base`, `paper`, the best of an earlier search, or values.
        best_of: Best values of earlier searches, by label.

    Returns:
        Values by path.
    """
    if start == "base":
        return space.get_base_values()
    if start == "paper":
        data, encoders = space.base.data, space.base.encoders
        return space.get_base_values(TrialConfig(data=data, encoders=encoders))
    if isinstance(start, BestOf):
        labels = best_of[start.search]
        values: Values = {}
        for dimension in space.searched:
            path = dimension.path
            if path in labels and dimension.has_label(labels[path]):
                values[path] = dimension.decode(labels[path])
        return values
    return flatten_values(start, {dimension.path for dimension in space.searched})


def load_search(
    source: SpaceSource, base: str | None = None, overrides: Iterable[str] = ()
) -> SearchPlan:
    """Load the search of a file or mapping.

    Args:
        source: Path of a search-space file, or its content.
        base: Preset or file that replaces the base of the search space.
        overrides: `a.b=c` texts that override keys of the file or of the trials.

    Returns:
        The plan of the search.

    Raises:
        ConfigError: Something is wrong; the error lists all problems.
    """
    if isinstance(source, Mapping):
        document = check_kind(documents.build_document(source, "search"), SPACE)
        directory = None
    else:
        document = read_as(source, SPACE)
        directory = Path(source).parent
    given = tuple(overrides)
    extra: list[Setting] = []
    for override in given:
        extra += map(_join_parameter_path, parse_override(override))
    in_search: list[Setting] = []
    in_trials: list[Setting] = []
    for setting in extra:
        if setting.path[0] in SearchSpaceConfig.model_fields:
            in_search.append(setting)
        if setting.path[0] in TrialConfig.model_fields:
            in_trials.append(setting)
    document = apply_overrides(document, in_search)
    config, problems = parse_document(document, SearchSpaceConfig, ("parameters",))
    if config is None:
        raise ConfigError(problems)
    layers, base_text = _load_base_layers(config, document, directory, base, problems)
    problems += find_unknown_sections(extra, [SearchSpaceConfig, TrialConfig])
    problems += layers.add(in_trials)
    trial, found = validate_layers(layers, document.source(("base",)))
    if trial is None:
        raise ConfigError([*problems, *found])
    plan = build_search_plan(trial, config, document, problems)
    if problems:
        raise ConfigError(problems)
    shown = (f"--base {base}", *given) if base else given
    return replace(plan, text="\0".join([document.text, base_text]), overrides=shown)


def _join_parameter_path(setting: Setting) -> Setting:
    """Join the path of a searched parameter, which is one key of the file.

    `parameters.optimizer.lr.low` becomes the steps `parameters`, `optimizer.lr` and `low`.
    """
    if setting.path[0] != "parameters":
        return setting
    fields: set[str] = set()
    for kind in (RangeParameter, ChoiceParameter, ConstantParameter):
        fields.update(kind.model_fields)
    end = 2
    while end < len(setting.path) and setting.path[end] not in fields:
        end += 1
    return replace(setting, path=("parameters", ".".join(setting.path[1:end]), *setting.path[end:]))


def build_search_plan(
    base: TrialConfig,
    config: SearchSpaceConfig,
    document: Document,
    problems: list[Problem],
    searched_elsewhere: Collection[str] = (),
) -> SearchPlan:
    """Build and check the search over a base.

    Args:
        base: Configuration of everything that is not searched.
        config: Configuration of the search.
        document: File of the search space, for locations.
        problems: Problems are appended here.
        searched_elsewhere: Parameters that only other arms search; `start_from` may name them.

    Returns:
        The plan. It is not usable if problems were found.
    """
    locations = {path: _locate(document, ("parameters", path)) for path in config.parameters}
    dimensions, found = order_dimensions(config.parameters, locations)
    problems += found + check_metrics(config, base, document)
    if found:
        return SearchPlan(config, Space(base, (), config.name), document.text)
    space, found = build_space(base, dimensions, config.name)
    problems += found
    if not found:
        problems += check_sampler(config, space)
        if config.scheduler.type == "pbt":
            problems += check_mutable(space)
        problems += check_starts(config, space, document, searched_elsewhere)
        problems += check_sampled_metrics(config, space, document)
    notes = tuple(collect_warnings(config, space))
    return SearchPlan(config, space, document.text, warnings=notes)


def _load_base_layers(
    config: SearchSpaceConfig,
    document: Document,
    directory: Path | None,
    base: str | None,
    problems: list[Problem],
) -> tuple[Layers, str]:
    """Return the layers of the base with the search's overrides, and the text of the base."""
    layers, text = Layers(), ""
    named = base or config.base
    if isinstance(named, str):
        at = SourceLocation("--base") if base else document.source(("base",))
        found = find_base(named, Path() if base else directory, at)
        text = found.text
        problems += layers.add(read_settings(found))
    elif named is None:
        message = "no base; name a preset or a .yaml file here or with --base"
        location = SourceLocation(document.file, path="base")
        raise ConfigError([*problems, Problem(location, message)])
    else:
        problems += layers.add(read_settings(document, ("base",)))
    if config.overrides:
        problems += layers.add(read_settings(document, ("overrides",)))
    return layers, text


def _locate(document: Document, path: KeyPath) -> SourceLocation:
    return replace(document.source(path), path=documents.format_path(path))
