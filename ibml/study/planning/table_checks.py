"""What is wrong with the names that a study's table uses."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from ibml.common.errors import Problem, format_suggestion
from ibml.common.yaml.documents import Document
from ibml.config.metrics import names as metrics
from ibml.config.study.seeds import MAX_ADAPTIVE_SEEDS, MAX_SEEDS
from ibml.config.study.study import StudyConfig
from ibml.config.trial import flatten
from ibml.study.planning.cells import Cell
from ibml.study.planning.designs import ExpandedDesign

Named = tuple[tuple[str | int, ...], str]
"""A place in the file, and the name that stands there."""


def check_table(
    study: StudyConfig, design: ExpandedDesign, cells: list[Cell], document: Document
) -> list[Problem]:
    """Names of metrics, arms, components and paths in `table` and `seeds` that nothing has."""
    table = study.table
    logged = dict.fromkeys(name for cell in cells for name in _list_logged_metrics(cell))
    arms = dict.fromkeys(cell.arm for cell in cells)
    shown = (
        list(table.metrics)
        if table.metrics
        else metrics.list_default_metrics(find_shared_modalities(cells))
    )
    steers = study.adaptive.metric if study.adaptive else None
    steering: list[Named] = [(("seeds", "metric"), steers)] if steers else []
    everywhere = [n for n in logged if all(n in _list_logged_metrics(cell) for cell in cells)]
    asked: list[tuple[str, Iterable[str], list[Named]]] = [
        ("no arm is called", arms, _enumerate_names(("table", "rows"), table.rows or ())),
        ("the table has no metric", shown, steering if steers in everywhere else []),
        ("not every data set has", everywhere, steering if steers in logged else []),
    ]
    for group, members in table.groups.items():
        asked.append(
            ("no arm is called", arms, _enumerate_names(("table", "groups", group), members))
        )
    if isinstance(table.precision, dict):
        precision: list[Named] = [(("table", "precision", name), name) for name in table.precision]
        asked.append(("the table has no metric", shown, precision))
    columns = [*design.factors, *(table.components or ())]
    datasets = dict.fromkeys(cell.dataset for cell in cells)
    everything = [*shown, *arms, *datasets, *columns]
    names: list[Named] = [(("table", "names", name), name) for name in table.names]
    asked.append(("the table shows no metric, arm, data set or component", everything, names))
    paths = dict.fromkeys(
        path for cell in cells for path in flatten(cell.config.model_dump(mode="json"))
    )
    components: list[Named] = [
        (("table", "components", name), path) for name, path in (table.components or {}).items()
    ]
    asked.append(("no trial has", paths, components))
    found = [
        Problem(document.source(place), f"{words} {name!r}{format_suggestion(name, known)}")
        for words, known, given in asked
        for place, name in given
        if name not in known
    ]
    found += [
        Problem(document.source(place), text)
        for place, text in _check_metrics(study, logged, cells)
    ]
    return [
        *found,
        *_check_groups(study, document),
        *_check_shown_names(study, [shown, arms, datasets, columns], document),
    ]


def _list_logged_metrics(cell: Cell) -> list[str]:
    config = cell.config
    return metrics.list_table_metrics(config.data.modalities, config.trainer.measures)


def _find_unimodal_arms(cells: list[Cell]) -> dict[str, list[str]]:
    """By modality the arms that have it alone, with which tables compute utilisations."""
    arms: dict[str, list[str]] = {}
    for cell in cells:
        modality = cell.config.method.only_modality
        if modality is not None:
            found = arms.setdefault(modality, [])
            if cell.arm not in found:
                found.append(cell.arm)
    return arms


def _check_metrics(
    study: StudyConfig, logged: Iterable[str], cells: list[Cell]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Metrics that no trial logs, and utilisations that lack what they compare with: where, and what to do."""
    asked = _enumerate_names(("table", "metrics"), study.table.metrics or ())
    decides: tuple[str | int, ...] | None = ("table", "metrics", 0) if study.adaptive else None
    if study.adaptive and study.adaptive.metric:
        decides = ("seeds", "metric")
        asked.append((decides, study.adaptive.metric))
    modalities = list(dict.fromkeys(name for cell in cells for name in cell.config.data.modalities))
    alone = _find_unimodal_arms(cells)
    for place, name in asked:
        modality = name.removeprefix(metrics.UTILISATION)
        if modality != name and modality in modalities:
            if problem := _explain_incomparable(name, modality, alone.get(modality, ())):
                yield place, problem
            elif place == decides:
                yield (
                    place,
                    f"seeds are decided by what a trial logs, and {name!r} compares two; name another metric",
                )
        elif name not in logged:
            measure = metrics.find_measure(name, modalities)
            known = [*logged, *(metrics.UTILISATION + m for m in modalities)]
            todo = (
                f"; add {measure} to trainer.measures"
                if measure
                else format_suggestion(name, known)
            )
            yield place, f"no trial logs {name!r}{todo}"


def _explain_incomparable(name: str, modality: str, arms: Sequence[str]) -> str:
    """Why a table cannot compute a utilisation."""
    if not arms:
        method = f"{{type: unimodal, modality: {modality}}}"
        return f"{name!r} compares with an arm that has {modality} alone, and there is none; add one: method: {method}"
    several = f"{name!r} compares with the arm that has {modality} alone, and there are several: {', '.join(arms)}"
    return several if len(arms) > 1 else ""


def _enumerate_names(at: tuple[str, ...], names: Iterable[str]) -> list[Named]:
    return [((*at, index), name) for index, name in enumerate(names)]


def check_decidable(study: StudyConfig, cells: list[Cell], document: Document) -> list[Problem]:
    """Report a signed-rank test that cannot decide anything: even its smallest p is above the level that it takes.

    Args:
        study: The study.
        cells: Its arms on each data set.
        document: The study's file, for the place of the error.
    """
    on_each = Counter(cell.dataset for cell in cells)
    comparisons = max(on_each.values(), default=0) - 1
    if study.table.test != "wilcoxon" or comparisons < 1:
        return []
    from ibml.statistics.paired import smallest_signed_rank

    most = len(study.all_seeds)
    smallest, level = smallest_signed_rank(most), _compute_strictest_level(study, most, comparisons)
    if smallest <= level:
        return []
    enough = _find_enough_seeds(study, most, comparisons)
    todo = f"give at least {enough} seeds or take test: t" if enough else "take test: t"
    needs = (
        f"the last look takes {level:.2g}"
        if study.adaptive
        else f"Holm's correction takes {level:.2g}"
    )
    number = f"{comparisons} comparison{'s' if comparisons > 1 else ''}"
    message = (
        f"with {most} seed{'s' if most > 1 else ''} no signed-rank p is below {smallest:.2g}, and {needs} for {number}"
        f" at alpha {study.table.alpha:g}, so that nothing could be decided; {todo}"
    )
    place = (
        ("seeds", "max")
        if study.adaptive
        else ("seeds",)
        if "seeds" in document.data
        else ("table", "test")
    )
    return [Problem(document.source(place), message)]


def _compute_strictest_level(study: StudyConfig, most: int, comparisons: int) -> float:
    """The largest p that decides the first of so many comparisons when each arm has `most` seeds."""
    share = study.table.alpha / comparisons
    if study.adaptive is None:
        return math.nextafter(share, 0)  # a corrected p must be below alpha
    from ibml.statistics.sequential import nominal_levels

    return nominal_levels(study.adaptive.min, most, share)[most]


def _find_enough_seeds(study: StudyConfig, most: int, comparisons: int) -> int | None:
    """The first number of seeds above `most` that can decide something."""
    from ibml.statistics.paired import smallest_signed_rank

    candidates = range(most + 1, (MAX_ADAPTIVE_SEEDS if study.adaptive else MAX_SEEDS) + 1)
    share = study.table.alpha / comparisons  # a look takes less than that, and costs seconds
    return next(
        (
            n
            for n in candidates
            if (p := smallest_signed_rank(n)) < share
            and p <= _compute_strictest_level(study, n, comparisons)
        ),
        None,
    )


def _check_groups(study: StudyConfig, document: Document) -> Iterator[Problem]:
    """An arm is a row once, and none that is not shown."""
    seen: dict[str, str] = {}
    for group, members in study.table.groups.items():
        for index, arm in enumerate(members):
            source = document.source(("table", "groups", group, index))
            if arm in seen:
                yield Problem(source, f"{arm!r} is in the group {seen[arm]!r} already")
            elif study.table.rows and arm not in study.table.rows:
                yield Problem(source, f"{arm!r} is not among the table's rows")
            seen[arm] = group


def _check_shown_names(
    study: StudyConfig, kinds: Iterable[Iterable[str]], document: Document
) -> Iterator[Problem]:
    """Two arms under one name could not be told apart; nor two metrics, data sets or components."""
    for kind in kinds:
        seen: dict[str, str] = {}
        for name in kind:
            shown = study.table.get_display_name(name)
            if shown in seen and seen[shown] != name:
                source = document.source(
                    ("table", "names", name if name in study.table.names else seen[shown])
                )
                yield Problem(
                    source, f"{name!r} and {seen[shown]!r} would both be shown as {shown!r}"
                )
            seen.setdefault(shown, name)


def find_shared_modalities(cells: list[Cell]) -> list[str]:
    """The modalities that all data sets have."""
    first, *rest = [cell.config.data.modalities for cell in cells]
    return [name for name in first if all(name in other for other in rest)]
