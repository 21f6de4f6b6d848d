"""The search that `tune:` gives every arm: the part of the space that means something in the arm."""

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
    """How an arm is tuned on a data set. `fixed`: parameters of the space that the arm itself sets, or that mean
    nothing in it. Without a `plan` nothing is left to search, and the arm is evaluated as it is. `space` is the whole
    search space, which all arms share."""

    cell: Cell
    plan: SearchPlan | None
    fixed: tuple[str, ...]
    space: SearchSpaceConfig


def format_search_name(study: str, cell: Cell, several: bool) -> str:
    """Return the name of an arm's search in the database; with `several` data sets it has the data set's too."""
    return f"{study}/{cell.dataset}/{cell.arm}" if several else f"{study}/{cell.arm}"


def build_arm_searches(
    study: StudyConfig,
    document: Document,
    near: Path | None,
    cells: list[Cell],
    problems: list[Problem],
) -> list[ArmSearch]:
    """A search for every cell, all with the same sampler, scheduler and number of trials."""
    assert study.tune is not None
    found = _load_space(study, document, near, problems)
    if found is None:
        return []
    config, space_document = found
    sources = {path: space_document.source(("parameters", path)) for path in config.parameters}
    dimensions, wrong = order_dimensions(config.parameters, sources)
    if wrong:
        problems += wrong
        return []
    searches, never = [], {d.path: d for d in dimensions}
    for cell in cells:
        kept, fixed = _select_dimensions(cell, dimensions)
        for dimension in kept:
            never.pop(dimension.path, None)
        searches.append(_build_arm_search(cell, kept, fixed, config, space_document, problems))
    for path, dimension in never.items():
        if not any(_is_related(path, pin) for cell in cells for pin in cell.pinned):
            problems += _explain_never_searched(cells[0], dimension, config, space_document)
    return searches


def _load_space(
    study: StudyConfig, document: Document, near: Path | None, problems: list[Problem]
) -> tuple[SearchSpaceConfig, Document] | None:
    """The search space that a study names or holds, and its document."""
    assert study.tune is not None
    place = document.source(("tune", "space"))
    if isinstance(study.tune.space, Mapping):
        document = _extract_document(document, study.name)
    else:
        try:
            document = documents.read((near or Path()) / study.tune.space)
        except ConfigError as error:
            problems += [
                Problem(place, p.message if p.source.line else str(p)) for p in error.problems
            ]
            return None
        if other := describe_other_kind(document, SPACE):
            problems.append(Problem(place, f"{document.file} is {other}"))
            return None
    config, found = parse_document(document, SearchSpaceConfig, ("parameters",))
    problems += found
    if config is None:
        return None
    unused = [
        "overrides",
        *(("name", "base", "resources") if isinstance(study.tune.space, Mapping) else ()),
    ]
    written = study.tune.space if isinstance(study.tune.space, Mapping) else document.data
    for key in [key for key in unused if key in written]:
        message = f"{key!r} of a search space means nothing to arms; it is the study's"
        problems.append(Problem(document.source((key,)), message))
    if len(config.objectives) > 1:
        message = "to choose the best of an arm, a study needs one objective"
        problems.append(Problem(document.source(("objectives",)), message))
    if config.scheduler.type == "pbt":
        message = "the best of pbt is a schedule of values, which the study's seeds cannot be trained with; take another"
        problems.append(Problem(document.source(("scheduler", "type")), message))
    taken = set(range(FIRST_SEED, FIRST_SEED + config.seeds_per_trial)) & set(study.all_seeds)
    if taken:
        problems.append(
            Problem(
                place, f"seed {min(taken)} would tune and evaluate; take other seeds for the study"
            )
        )
    return config.model_copy(update={"trials": study.tune.trials or config.trials}), document


def _extract_document(document: Document, name: str) -> Document:
    """Return the search space inside a study's file as a document of its own, with the lines of the file."""
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
    plan = build_search_plan(cell.config, own, document, found, elsewhere=fixed)
    problems += [replace(p, message=f"in arm {cell.arm!r}: {p.message}") for p in found]
    if plan.space.searched or found:
        return ArmSearch(cell, plan, tuple(fixed), config)
    constants = plan.space.walk(lambda dimension: None)
    tuned = plan.space.trial(constants)[0] or cell.config
    evaluated = replace(cell, config=tuned, changes={**cell.changes, **constants})
    return ArmSearch(evaluated, None, tuple(fixed), config)


def _select_dimensions(
    cell: Cell, dimensions: list[Dimension]
) -> tuple[list[Dimension], list[str]]:
    """The dimensions that an arm can search, conditions on what is fixed resolved, and the paths that it cannot."""
    plain = cell.config.model_dump(mode="json")
    kept: list[Dimension] = []
    fixed: list[str] = []
    for dimension in dimensions:
        when = {}
        met = not any(_is_related(dimension.path, pin) for pin in cell.pinned)
        for parent, condition in dimension.parameter.when.items():
            if parent in fixed:
                met = met and is_condition_met(condition, lookup(plain, parent))
            else:
                when[parent] = condition
        own = replace(dimension, parameter=dimension.parameter.model_copy(update={"when": when}))
        if met and has_field(Space(cell.config, (*kept, own), "arm"), own):
            kept.append(own)
        else:
            fixed.append(dimension.path)
    return kept, fixed


def _is_related(path: str, other: str) -> bool:
    """Whether searching the one undoes the other: the same path, a part of it, or a type that its fields go with."""
    component = path.removesuffix("type")
    own_type = path.endswith(".type") and other.startswith(component)
    return path == other or path.startswith(f"{other}.") or other.startswith(f"{path}.") or own_type


def _explain_never_searched(
    cell: Cell, dimension: Dimension, config: SearchSpaceConfig, document: Document
) -> list[Problem]:
    """What is wrong with a parameter that no arm can search."""
    problems: list[Problem] = []
    alone = dimension.parameter.model_copy(update={"when": {}})
    own = config.model_copy(update={"parameters": {dimension.path: alone}, "start_from": ()})
    build_search_plan(cell.config, own, document, problems)
    return problems or [Problem(dimension.source, "its conditions hold in no arm")]
