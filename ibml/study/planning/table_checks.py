"""Checks of the names that a study's table uses, and of its test."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ibml.common.errors import Problem, format_suggestion
from ibml.common.formatting import format_count
from ibml.common.yaml.documents import Document
from ibml.config.metrics import names as metrics
from ibml.config.study.seeds import MAX_ADAPTIVE_SEEDS, MAX_SEEDS
from ibml.config.study.study import StudyConfig
from ibml.config.trial import flatten
from ibml.study.planning.cells import Cell
from ibml.study.planning.designs import ExpandedDesign

Location = tuple[str | int, ...]
"""A path in the study's file."""
NamedLocation = tuple[Location, str]
"""A location, and the name that is written there."""


def check_table(
    study: StudyConfig, design: ExpandedDesign, cells: list[Cell], document: Document
) -> list[Problem]:
    """Check the metrics, arms, components and paths that `table` and `seeds` name.

    Args:
        study: The study.
        design: Its arms and factors.
        cells: Its arms on each data set.
        document: File of the study, for locations.

    Returns:
        One problem per unknown, repeated or ambiguous name.
    """
    table = study.table
    logged = _list_logged_metrics(cells)
    arms = list(dict.fromkeys(cell.arm for cell in cells))
    datasets = list(dict.fromkeys(cell.dataset for cell in cells))
    columns = [*design.factors, *(table.components or ())]
    metric_names = list(table.metrics or ())
    if not metric_names:
        metric_names = metrics.list_default_metrics(find_shared_modalities(cells))
    paths: dict[str, None] = {}
    for cell in cells:
        paths.update(dict.fromkeys(flatten(cell.config.model_dump(mode="json"))))

    check = _NameCheck(document)
    check.add("no arm is called", arms, _enumerate_names(("table", "rows"), table.rows or ()))
    if study.adaptive and study.adaptive.metric:
        _check_deciding_metric(study.adaptive.metric, metric_names, cells, check)
    for group, members in table.groups.items():
        check.add("no arm is called", arms, _enumerate_names(("table", "groups", group), members))
    if isinstance(table.precision, dict):
        precision = _locate_keys(("table", "precision"), table.precision)
        check.add("the table has no metric", metric_names, precision)
    everything = [*metric_names, *arms, *datasets, *columns]
    names = _locate_keys(("table", "names"), table.names)
    check.add("the table shows no metric, arm, data set or component", everything, names)
    for name, path in (table.components or {}).items():
        check.add("no trial has", paths, [(("table", "components", name), path)])
    problems = check.problems
    for location, text in _check_metrics(study, logged, cells):
        problems.append(Problem(document.source(location), text))
    problems += _check_groups(study, document)
    kinds = [metric_names, arms, datasets, columns]
    return [*problems, *_check_display_names(study, kinds, document)]


class _NameCheck:
    """Collects problems of names that are not known."""

    def __init__(self, document: Document):
        self.document = document
        self.problems: list[Problem] = []

    def add(self, words: str, known: Iterable[str], given: Iterable[NamedLocation]) -> None:
        """Add a problem for each given name that is not known.

        Args:
            words: Start of the message.
            known: Known names.
            given: Names with their locations.
        """
        names = list(known)
        for location, name in given:
            if name not in names:
                message = f"{words} {name!r}{format_suggestion(name, names)}"
                self.problems.append(Problem(self.document.source(location), message))


def _check_deciding_metric(
    metric: str, shown: list[str], cells: list[Cell], check: _NameCheck
) -> None:
    """Check that the metric that decides on seeds is logged on all data sets, and shown."""
    location: NamedLocation = (("seeds", "metric"), metric)
    logged = [_list_cell_metrics(cell) for cell in cells]
    everywhere = [name for name in _list_logged_metrics(cells) if all(name in n for n in logged)]
    if metric in everywhere:
        check.add("the table has no metric", shown, [location])
    elif any(metric in names for names in logged):
        check.add("not every data set has", everywhere, [location])


def _list_logged_metrics(cells: list[Cell]) -> list[str]:
    """Return the test metrics that some cell logs."""
    logged: dict[str, None] = {}
    for cell in cells:
        logged.update(dict.fromkeys(_list_cell_metrics(cell)))
    return list(logged)


def _list_cell_metrics(cell: Cell) -> list[str]:
    config = cell.config
    return metrics.list_table_metrics(config.data.modalities, config.trainer.measures)


def _find_unimodal_arms(cells: list[Cell]) -> dict[str, list[str]]:
    """Return the arms that use one modality alone, by modality."""
    arms: dict[str, list[str]] = {}
    for cell in cells:
        modality = cell.config.method.only_modality
        if modality is not None:
            found = arms.setdefault(modality, [])
            if cell.arm not in found:
                found.append(cell.arm)
    return arms


_NOT_OF_ONE_TRIAL = (
    "the number of seeds depends on a metric of one trial, and {!r} compares two;"
    " name another metric"
)


def _check_metrics(
    study: StudyConfig, logged: list[str], cells: list[Cell]
) -> Iterator[tuple[Location, str]]:
    """Yield location and message of metrics that no trial logs or that cannot be computed."""
    requested = _enumerate_names(("table", "metrics"), study.table.metrics or ())
    decides: Location | None = ("table", "metrics", 0) if study.adaptive else None
    if study.adaptive and study.adaptive.metric:
        decides = ("seeds", "metric")
        requested.append((decides, study.adaptive.metric))
    modalities: dict[str, None] = {}
    for cell in cells:
        modalities.update(dict.fromkeys(cell.config.data.modalities))
    unimodal = _find_unimodal_arms(cells)
    for location, name in requested:
        modality = name.removeprefix(metrics.UTILISATION)
        if modality != name and modality in modalities:
            problem = _explain_incomparable(name, modality, unimodal.get(modality, ()))
            if not problem and location == decides:
                problem = _NOT_OF_ONE_TRIAL.format(name)
            if problem:
                yield location, problem
        elif name not in logged:
            yield location, _explain_not_logged(name, logged, list(modalities))


def _explain_not_logged(name: str, logged: list[str], modalities: list[str]) -> str:
    """Return a message that suggests the measure that logs a metric, or a similar name."""
    measure = metrics.find_measure(name, modalities)
    if measure:
        return f"no trial logs {name!r}; add {measure} to trainer.measures"
    known = [*logged, *(metrics.UTILISATION + modality for modality in modalities)]
    return f"no trial logs {name!r}{format_suggestion(name, known)}"


def _explain_incomparable(name: str, modality: str, arms: Sequence[str]) -> str:
    """Return why a table cannot compute a utilisation; empty if it can."""
    if not arms:
        method = f"{{type: unimodal, modality: {modality}}}"
        return (
            f"{name!r} compares with an arm that uses {modality} alone, but the study has no such"
            f" arm; add one: method: {method}"
        )
    if len(arms) > 1:
        return (
            f"{name!r} compares with the arm that uses {modality} alone, but the study has several:"
            f" {', '.join(arms)}"
        )
    return ""


def _enumerate_names(at: Location, names: Iterable[str]) -> list[NamedLocation]:
    """Return the names of a list with their locations."""
    return [((*at, index), name) for index, name in enumerate(names)]


def _locate_keys(at: Location, names: Iterable[str]) -> list[NamedLocation]:
    """Return the keys of a mapping with their locations."""
    return [((*at, name), name) for name in names]


def check_decidable(study: StudyConfig, cells: list[Cell], document: Document) -> list[Problem]:
    """Report a signed-rank test that cannot decide anything.

    Even the smallest p of such a test is above its significance level.

    Args:
        study: The study.
        cells: Its arms on each data set.
        document: File of the study, for the location.

    Returns:
        At most one problem.
    """
    on_each = Counter(cell.dataset for cell in cells)
    comparisons = max(on_each.values(), default=0) - 1
    if study.table.test != "wilcoxon" or comparisons < 1:
        return []
    from ibml.statistics.paired import smallest_signed_rank

    most = len(study.all_seeds)
    smallest = smallest_signed_rank(most)
    level = _compute_strictest_level(study, most, comparisons)
    if smallest <= level:
        return []
    enough = _find_enough_seeds(study, most, comparisons)
    advice = f"use at least {enough} seeds, or test: t" if enough else "use test: t"
    source = "the last look" if study.adaptive else "Holm's correction"
    message = (
        f"the smallest signed-rank p of {format_count(most, 'seed')} is {smallest:.2g}, above the"
        f" level of {source}, {level:.2g} for {format_count(comparisons, 'comparison')} at alpha"
        f" {study.table.alpha:g}, so that no difference can be significant; {advice}"
    )
    location: Location = ("table", "test")
    if study.adaptive:
        location = ("seeds", "max")
    elif "seeds" in document.data:
        location = ("seeds",)
    return [Problem(document.source(location), message)]


def _compute_strictest_level(study: StudyConfig, most: int, comparisons: int) -> float:
    """Return the largest p that is significant in the first comparison, with `most` seeds."""
    share = study.table.alpha / comparisons
    if study.adaptive is None:
        return math.nextafter(share, 0)  # a corrected p must be below alpha
    from ibml.statistics.sequential import nominal_levels

    return nominal_levels(study.adaptive.min, most, share)[most]


def _find_enough_seeds(study: StudyConfig, most: int, comparisons: int) -> int | None:
    """Return the smallest number of seeds above `most` that can be significant."""
    from ibml.statistics.paired import smallest_signed_rank

    last = MAX_ADAPTIVE_SEEDS if study.adaptive else MAX_SEEDS
    share = study.table.alpha / comparisons
    for count in range(most + 1, last + 1):
        p = smallest_signed_rank(count)
        # the level of a look is below the share, and takes seconds to compute
        if p < share and p <= _compute_strictest_level(study, count, comparisons):
            return count
    return None


def _check_groups(study: StudyConfig, document: Document) -> Iterator[Problem]:
    """Check that an arm is in one group, and among the rows of the table."""
    seen: dict[str, str] = {}
    for group, members in study.table.groups.items():
        for index, arm in enumerate(members):
            source = document.source(("table", "groups", group, index))
            if arm in seen:
                yield Problem(source, f"{arm!r} is already in the group {seen[arm]!r}")
            elif study.table.rows and arm not in study.table.rows:
                yield Problem(source, f"{arm!r} is not among the table's rows")
            seen[arm] = group


def _check_display_names(
    study: StudyConfig, kinds: Iterable[Iterable[str]], document: Document
) -> Iterator[Problem]:
    """Check that two arms, metrics, data sets or components do not have one display name."""
    for kind in kinds:
        seen: dict[str, str] = {}
        for name in kind:
            shown = study.table.get_display_name(name)
            if shown in seen and seen[shown] != name:
                renamed = name if name in study.table.names else seen[shown]
                source = document.source(("table", "names", renamed))
                message = f"{name!r} and {seen[shown]!r} would both be shown as {shown!r}"
                yield Problem(source, message)
            seen.setdefault(shown, name)


def find_shared_modalities(cells: list[Cell]) -> list[str]:
    """Return the modalities that all data sets have."""
    first, *rest = [cell.config.data.modalities for cell in cells]
    return [name for name in first if all(name in other for other in rest)]
