"""Searches that `tune:` gives every arm: the part of the search space that applies to the arm."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from ibml.common.errors import ConfigError, Problem
from ibml.common.yaml import documents
from ibml.common.yaml.documents import Document
from ibml.config.loading.file_kinds import SPACE, describe_other_kind
from ibml.config.loading.validation import parse_document
from ibml.config.search.space import SearchSpaceConfig
from ibml.config.study.study import StudyConfig
from ibml.search.plan import FIRST_SEED, SearchPlan, build_search_plan
from ibml.search.space import Dimension, Space, is_condition_met, lookup
from ibml.search.validation import has_field, order_dimensions
from ibml.study.planning.cells import Cell


@dataclass(frozen=True)
class ArmSearch:
    """The search of an arm on a data set.

    Attributes:
        cell: The arm on the data set.
        plan: Plan of the search; None if no parameter is left to search, so that the arm is
            evaluated as it is.
        fixed: Paths of the search space that the arm sets, or that its configuration lacks.
        space: Search space of all arms.
    """

    cell: Cell
    plan: SearchPlan | None
    fixed: tuple[str, ...]
    space: SearchSpaceConfig


def format_search_name(study: str, cell: Cell, several: bool) -> str:
    """Return the name of an arm's search in the database.

    Args:
        study: Name of the study.
        cell: The arm on the data set.
        several: True if the study has several data sets; the name then contains the data set.

    Returns:
        The name.
    """
    return f"{study}/{cell.dataset}/{cell.arm}" if several else f"{study}/{cell.arm}"


def build_arm_searches(
    study: StudyConfig,
    document: Document,
    directory: Path | None,
    cells: list[Cell],
    problems: list[Problem],
) -> list[ArmSearch]:
    """Build a search for every cell, all with the same sampler, scheduler and number of trials.

    Args:
        study: A study with `tune`.
        document: File of the study.
        directory: Directory that the path of the search space is relative to.
        cells: Cells of the study.
        problems: Problems are appended here.

    Returns:
        One search per cell; empty if the search space has problems.
    """
    assert study.tune is not None
    found = _load_space(study, document, directory, problems)
    if found is None:
        return []
    config, space_document = found
    sources = {path: space_document.source(("parameters", path)) for path in config.parameters}
    dimensions, wrong = order_dimensions(config.parameters, sources)
    if wrong:
        problems += wrong
        return []
    searches = []
    never_searched = {d.path: d for d in dimensions}
    for cell in cells:
        kept, fixed = _select_dimensions(cell, dimensions)
        for dimension in kept:
            never_searched.pop(dimension.path, None)
        search = _build_arm_search(cell, kept, fixed, config, space_document, problems)
        searches.append(search)
    for path, dimension in never_searched.items():
        if not any(_is_pinned(path, cell) for cell in cells):
            problems += _explain_never_searched(cells[0], dimension, config, space_document)
    return searches


def _load_space(
    study: StudyConfig, document: Document, directory: Path | None, problems: list[Problem]
) -> tuple[SearchSpaceConfig, Document] | None:
    """Return the search space that a study names or contains, and its document."""
    assert study.tune is not None
    location = document.source(("tune", "space"))
    if isinstance(study.tune.space, Mapping):
        document = _extract_document(document, study.name)
    else:
        try:
            document = documents.read((directory or Path()) / study.tune.space)
        except ConfigError as error:
            for p in error.problems:
                problems.append(Problem(location, p.message if p.source.line else str(p)))
            return None
        if other := describe_other_kind(document, SPACE):
            problems.append(Problem(location, f"{document.file} is {other}"))
            return None
    config, found = parse_document(document, SearchSpaceConfig, ("parameters",))
    problems += found
    if config is None:
        return None
    problems += _check_space(study, config, document)
    taken = set(range(FIRST_SEED, FIRST_SEED + config.seeds_per_trial)) & set(study.all_seeds)
    if taken:
        message = f"seed {min(taken)} would tune and evaluate; use other seeds for the study"
        problems.append(Problem(location, message))
    return config.model_copy(update={"trials": study.tune.trials or config.trials}), document


def _check_space(
    study: StudyConfig, config: SearchSpaceConfig, document: Document
) -> list[Problem]:
    """Check that a search space can tune arms."""
    assert study.tune is not None
    problems = []
    unused = ["overrides"]
    written: Mapping[str, object] = document.data
    if isinstance(study.tune.space, Mapping):
        unused += ["name", "base", "resources"]
        written = study.tune.space
    for key in unused:
        if key in written:
            message = f"{key!r} of a search space does not apply to arms; set it in the study"
            problems.append(Problem(document.source((key,)), message))
    if len(config.objectives) > 1:
        message = "to choose the best of an arm, a study needs one objective"
        problems.append(Problem(document.source(("objectives",)), message))
    if config.scheduler.type == "pbt":
        message = (
            "the best of pbt is a schedule of values, which the study's seeds cannot be trained"
            " with; use another scheduler"
        )
        problems.append(Problem(document.source(("scheduler", "type")), message))
    return problems


def _extract_document(document: Document, name: str) -> Document:
    """Return the search space inside a study's file as a document with the lines of the file."""
    at = ("tune", "space")
    inside = document.data["tune"]["space"] or {}
    lines = {path[2:]: line for path, line in document.lines.items() if path[:2] == at}
    written = {path[2:]: text for path, text in document.written.items() if path[:2] == at}
    return Document(document.file, {"name": name, **inside}, lines, document.text, written=written)


def _build_arm_search(
    cell: Cell,
    kept: list[Dimension],
    fixed: list[str],
    config: SearchSpaceConfig,
    document: Document,
    problems: list[Problem],
) -> ArmSearch:
    found: list[Problem] = []
    own = config.model_copy(update={"parameters": {d.path: d.parameter for d in kept}})
    plan = build_search_plan(cell.config, own, document, found, searched_elsewhere=fixed)
    problems += [replace(p, message=f"in arm {cell.arm!r}: {p.message}") for p in found]
    if plan.space.searched or found:
        return ArmSearch(cell, plan, tuple(fixed), config)
    constants = plan.space.walk(lambda dimension: None)
    tuned, _ = plan.space.build_config(constants)
    evaluated = replace(cell, config=tuned or cell.config, changes={**cell.changes, **constants})
    return ArmSearch(evaluated, None, tuple(fixed), config)


def _select_dimensions(
    cell: Cell, dimensions: list[Dimension]
) -> tuple[list[Dimension], list[str]]:
    """Return the dimensions that an arm can search, and the paths that it cannot.

    Conditions on paths that the arm cannot search are resolved with the arm's values.
    """
    plain = cell.config.model_dump(mode="json")
    kept: list[Dimension] = []
    fixed: list[str] = []
    for dimension in dimensions:
        when = {}
        met = not _is_pinned(dimension.path, cell)
        for parent, condition in dimension.parameter.when.items():
            if parent in fixed:
                met = met and is_condition_met(condition, lookup(plain, parent))
            else:
                when[parent] = condition
        parameter = dimension.parameter.model_copy(update={"when": when})
        own = replace(dimension, parameter=parameter)
        if met and has_field(Space(cell.config, (*kept, own), "arm"), own):
            kept.append(own)
        else:
            fixed.append(dimension.path)
    return kept, fixed


def _is_pinned(path: str, cell: Cell) -> bool:
    return any(_is_related(path, pin) for pin in cell.pinned)


def _is_related(path: str, other: str) -> bool:
    """Return True if searching one path would undo the other.

    The paths are equal, or one is a part of the other, or one is the type of the other's component.
    """
    component = path.removesuffix("type")
    is_own_type = path.endswith(".type") and other.startswith(component)
    is_part = path.startswith(f"{other}.") or other.startswith(f"{path}.")
    return path == other or is_part or is_own_type


def _explain_never_searched(
    cell: Cell, dimension: Dimension, config: SearchSpaceConfig, document: Document
) -> list[Problem]:
    """Return the problems of a parameter that no arm can search."""
    problems: list[Problem] = []
    alone = dimension.parameter.model_copy(update={"when": {}})
    own = config.model_copy(update={"parameters": {dimension.path: alone}, "start_from": ()})
    build_search_plan(cell.config, own, document, problems)
    return problems or [Problem(dimension.source, "its conditions are met in no arm")]
