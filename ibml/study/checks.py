"""What is wrong with the names that a study's table uses."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ibml.config import load, metrics
from ibml.config.base import Problem, did_you_mean
from ibml.config.study import StudyConfig
from ibml.config.trial import flatten
from ibml.study.cells import Cell
from ibml.study.designs import Expanded

Named = tuple[tuple[str | int, ...], str]
"""A place in the file, and the name that stands there."""


def table_problems(study: StudyConfig, design: Expanded, cells: list[Cell], document: load.Document) -> list[Problem]:
    """Names of metrics, arms, components and paths in `table` and `seeds` that nothing has."""
    table = study.table
    logged = dict.fromkeys(name for cell in cells for name in _logged(cell))
    compared = _utilisations(cells)
    arms = dict.fromkeys(cell.arm for cell in cells)
    shown = list(table.metrics) if table.metrics else metrics.default_table(shared_modalities(cells))
    steers = study.adaptive.metric if study.adaptive else None
    steering: list[Named] = [(("seeds", "metric"), steers)] if steers else []
    everywhere = [n for n in logged if all(n in _logged(cell) for cell in cells)]
    asked: list[tuple[str, Iterable[str], list[Named]]] = [
        ("no trial logs", [*logged, *compared], [*_askable(table.metrics or (), cells), *steering]),
        ("no arm is called", arms, _listed(("table", "rows"), table.rows or ())),
        ("the table has no metric", shown, steering if steers in everywhere else []),
        ("not every data set has", everywhere, steering if steers in logged else []),
    ]
    for group, members in table.groups.items():
        asked.append(("no arm is called", arms, _listed(("table", "groups", group), members)))
    if isinstance(table.precision, dict):
        precision: list[Named] = [(("table", "precision", name), name) for name in table.precision]
        asked.append(("the table has no metric", shown, precision))
    columns = [*design.factors, *(table.components or ())]
    datasets = dict.fromkeys(cell.dataset for cell in cells)
    everything = [*shown, *arms, *datasets, *columns]
    names: list[Named] = [(("table", "names", name), name) for name in table.names]
    asked.append(("the table shows no metric, arm, data set or component", everything, names))
    paths = dict.fromkeys(path for cell in cells for path in flatten(cell.config.model_dump(mode="json")))
    components: list[Named] = [(("table", "components", name), path) for name, path in (table.components or {}).items()]
    asked.append(("no trial has", paths, components))
    found = [
        Problem(document.source(place), f"{words} {name!r}{did_you_mean(name, known)}")
        for words, known, given in asked
        for place, name in given
        if name not in known
    ]
    found += _not_asked_for(table.metrics or (), logged, compared, cells, document)
    found += _undecidable(study, len(arms) - 1, document)
    return [*found, *_grouped(study, document), *_same_name(study, [shown, arms, datasets, columns], document)]


def _logged(cell: Cell) -> list[str]:
    config = cell.config
    return metrics.table_names(config.data.modalities, config.trainer.measures)


def _utilisations(cells: list[Cell]) -> list[str]:
    """The utilisations that a table can compute: of modalities that an arm has alone."""
    alone = [cell.config.method.modality for cell in cells if cell.config.method.type == "unimodal"]
    return [metrics.UTILISATION + name for name in dict.fromkeys(alone)]


def _askable(names: Iterable[str], cells: list[Cell]) -> list[Named]:
    """The metrics of a table, without those of which `_not_asked_for` says what to do."""
    modalities = {name for cell in cells for name in cell.config.data.modalities}
    return [
        (place, name)
        for place, name in _listed(("table", "metrics"), names)
        if not metrics.measure_of(name, sorted(modalities)) and not name.startswith(metrics.UTILISATION)
    ]


def _not_asked_for(
    names: Iterable[str], logged: Iterable[str], compared: list[str], cells: list[Cell], document: load.Document
) -> Iterator[Problem]:
    """Metrics that trials would have if they were asked to, and utilisations that lack what they compare with."""
    modalities = list(dict.fromkeys(name for cell in cells for name in cell.config.data.modalities))
    for place, name in _listed(("table", "metrics"), names):
        modality = name.removeprefix(metrics.UTILISATION)
        if modality != name and name not in compared:
            alone = f"{{type: unimodal, modality: {modality}}}"
            message = f"{name!r} compares with an arm that has {modality} alone, and there is none: method: {alone}"
            if modality not in modalities:
                message = f"no trial logs {name!r}{did_you_mean(name, [metrics.UTILISATION + m for m in modalities])}"
            yield Problem(document.source(place), message)
        measure = metrics.measure_of(name, modalities)
        if measure and name not in logged:
            yield Problem(document.source(place), f"no trial logs {name!r}; add {measure} to trainer.measures")


def _listed(at: tuple[str, ...], names: Iterable[str]) -> list[Named]:
    return [((*at, index), name) for index, name in enumerate(names)]


def _undecidable(study: StudyConfig, arms: int, document: load.Document) -> list[Problem]:
    """Looks at which a signed-rank test can never pass its level."""
    seeds = study.adaptive
    if seeds is None or study.table.test != "wilcoxon" or arms < 1:
        return []
    from ibml.statistics.sequential import nominal_levels

    last = nominal_levels(seeds.min, seeds.max, study.table.alpha / arms)[seeds.max]
    if 2.0 ** (1 - seeds.max) <= last:
        return []
    message = (
        f"with {seeds.max} seeds no signed-rank p is below {2.0 ** (1 - seeds.max):.2g}, and the last look takes"
        f" {last:.2g}, so that nothing could be decided; give more seeds or take test: t"
    )
    return [Problem(document.source(("seeds", "max")), message)]


def _grouped(study: StudyConfig, document: load.Document) -> Iterator[Problem]:
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


def _same_name(study: StudyConfig, kinds: Iterable[Iterable[str]], document: load.Document) -> Iterator[Problem]:
    """Two arms under one name could not be told apart; nor two metrics, data sets or components."""
    for kind in kinds:
        seen: dict[str, str] = {}
        for name in kind:
            shown = study.table.shown(name)
            if shown in seen and seen[shown] != name:
                source = document.source(("table", "names", name if name in study.table.names else seen[shown]))
                yield Problem(source, f"{name!r} and {seen[shown]!r} would both be shown as {shown!r}")
            seen.setdefault(shown, name)


def shared_modalities(cells: list[Cell]) -> list[str]:
    """The modalities that all data sets have."""
    first, *rest = [cell.config.data.modalities for cell in cells]
    return [name for name in first if all(name in other for other in rest)]
