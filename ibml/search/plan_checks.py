"""Checks of a search against its base, and warnings."""

from __future__ import annotations

from collections.abc import Collection

from ibml.common.errors import Problem, SourceLocation, format_suggestion
from ibml.common.yaml.documents import Document
from ibml.config.metrics import names as metrics
from ibml.config.search.space import SearchSpaceConfig
from ibml.config.trial import TrialConfig
from ibml.search.space import MAX_GRID_VALUES, Space, flatten_values, is_at_or_below
from ibml.search.validation import format_values, sample_trials


def _list_requested_metrics(
    config: SearchSpaceConfig, document: Document
) -> list[tuple[str, SourceLocation]]:
    """Return the metrics of objectives and constraints, each with its location."""
    requested: list[tuple[str, SourceLocation]] = []
    for index, objective in enumerate(config.objectives):
        requested.append((objective.metric, document.source(("objectives", index))))
    for index, constraint in enumerate(config.constraints):
        requested.append((constraint.metric, document.source(("constraints", index))))
    return requested


def check_metrics(
    config: SearchSpaceConfig, base: TrialConfig, document: Document
) -> list[Problem]:
    """Check that the base logs the metrics of objectives and constraints.

    Args:
        config: Configuration of the search.
        base: Configuration of everything that is not searched.
        document: File of the search space, for locations.

    Returns:
        A problem per unknown metric.
    """
    known = metrics.list_search_metrics(base.modalities)
    problems = []
    for name, source in _list_requested_metrics(config, document):
        if name in known:
            continue
        why = f"no trial logs {name!r}"
        if name.startswith("test."):
            why = "a search must not use test data"
        problems.append(Problem(source, f"{why}{format_suggestion(name, known)}"))
    return problems


def check_sampled_metrics(
    config: SearchSpaceConfig, space: Space, document: Document
) -> list[Problem]:
    """Check that sampled trials log all metrics that the base logs.

    Args:
        config: Configuration of the search.
        space: The search space.
        document: File of the search space, for locations.

    Returns:
        At most one problem.
    """
    known_for_base = metrics.list_search_metrics(space.base.modalities)
    requested = _list_requested_metrics(config, document)
    for values, trial, _ in sample_trials(space):
        known = metrics.list_search_metrics(trial.modalities) if trial else known_for_base
        for name, source in requested:
            if name in known_for_base and name not in known:
                message = f"{name!r} is not logged where {format_values(values)}"
                return [Problem(source, message)]
    return []


def check_sampler(config: SearchSpaceConfig, space: Space) -> list[Problem]:
    """Check that a grid is finite and not too large.

    Args:
        config: Configuration of the search.
        space: The search space.

    Returns:
        A problem per dimension that a grid cannot list.
    """
    if config.sampler.type != "grid":
        return []
    message = f"a grid needs at most {MAX_GRID_VALUES:,} values: give a step or choices"
    return [Problem(d.source, message) for d in space.searched if d.grid is None]


def check_starts(
    config: SearchSpaceConfig,
    space: Space,
    document: Document,
    searched_elsewhere: Collection[str],
) -> list[Problem]:
    """Check that the space contains the values of `start_from`.

    Args:
        config: Configuration of the search.
        space: The search space.
        document: File of the search space, for locations.
        searched_elsewhere: Parameters that only other arms search; they are not checked.

    Returns:
        A problem per value.
    """
    problems = []
    by_path = {dimension.path: dimension for dimension in space.searched}
    for index, start in enumerate(config.start_from):
        if not isinstance(start, dict):
            continue
        source = document.source(("start_from", index))
        for path, value in flatten_values(start, by_path).items():
            if path in searched_elsewhere:
                continue
            if path not in by_path:
                message = f"{path!r} is not searched{format_suggestion(path, by_path)}"
                problems.append(Problem(source, message))
            elif not by_path[path].contains(value):
                message = f"{path}: {value!r} is not in the range or among the choices"
                problems.append(Problem(source, message))
    return problems


def collect_warnings(config: SearchSpaceConfig, space: Space) -> list[str]:
    """Return notes on settings that are valid but probably not intended.

    Args:
        config: Configuration of the search.
        space: The search space.

    Returns:
        The notes.
    """
    found = []
    epochs = space.base.trainer.epochs
    startup = getattr(config.sampler, "startup_trials", 0)
    sampler = config.sampler.type
    scheduler = config.scheduler
    if scheduler.type == "pbt" and scheduler.interval_epochs >= epochs:
        found.append(
            f"scheduler.interval_epochs {scheduler.interval_epochs}: training ends after {epochs}"
            " epochs, so no member is changed"
        )
    if scheduler.type != "pbt" and config.trials <= startup and sampler in ("tpe", "gp"):
        found.append(
            f"{config.trials} trials are not more than the {startup} random trials that {sampler}"
            " starts with; increase trials or reduce sampler.startup_trials"
        )
    grace = getattr(config.scheduler, "grace_epochs", 0)
    if grace >= epochs and "trainer.epochs" not in config.parameters:
        found.append(
            f"scheduler.grace_epochs {grace}: training ends after {epochs} epochs, so no trial is"
            " stopped early"
        )
    found += _warn_of_inactive_method(space)
    if not space.searched:
        found.append("nothing is searched: every parameter is constant")
    return found


def _warn_of_inactive_method(space: Space) -> list[str]:
    """Return a note if the method of the base, or of sampled trials, is active in no epoch."""
    deciding = ("trainer.epochs", "method")
    if not any(is_at_or_below(d.path, deciding) for d in space.searched):
        return space.base.notes
    for values, trial, _ in sample_trials(space):
        if trial and trial.notes:
            shown = {path: value for path, value in values.items() if path.startswith(deciding)}
            return [f"where {format_values(shown)}: {trial.notes[0]}"]
    return []
