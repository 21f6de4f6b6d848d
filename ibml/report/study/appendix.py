"""Appendix of a study's page: configurations, failures, runs and provenance."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

from ibml.records import StudyRecord, TrialEntry
from ibml.report.tables.layout import format_metric_heading
from ibml.report.tables.notes import collect_provenance
from ibml.report.tables.results import Results
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import (
    MISSING,
    Column,
    Entry,
    Row,
    TableSpec,
    build_number_entry,
)

Links = Callable[[str], str | None]
"""Run id -> address of the run's page, or None."""

STATUS_TEXTS = {"missing": "not run", "running": "not finished"}
"""Status -> text, where the text differs."""


def build_change_table(study: StudyRecord) -> TableSpec:
    """Return the settings in which each arm differs from the reference, with both values.

    Data sets with the same differences are listed once.
    """
    rows_by_dataset = {}
    for dataset in study.datasets:
        rows_by_dataset[dataset] = list(_build_change_rows(study, dataset))
    first, *others = rows_by_dataset.values()
    if all(rows == first for rows in others):
        rows_by_dataset = {"": first}
    rows: list[Row | str] = []
    for dataset, dataset_rows in rows_by_dataset.items():
        if dataset:
            rows.append(study.table.get_display_name(dataset))
        rows += dataset_rows
    reference = study.table.get_display_name(study.reference)
    headings = ("arm", "setting", reference, "arm's value")
    columns = tuple(Column(heading, "name") for heading in headings)
    return TableSpec("differences in configuration", columns, tuple(rows))


def _build_change_rows(study: StudyRecord, dataset: str) -> Iterator[Row]:
    reference = study.configs.get(dataset, {})
    changes_by_arm = study.changes.get(dataset, {})
    for arm in study.arms:
        for path, value in changes_by_arm.get(arm, {}).items():
            arm_value = MISSING if value is None else _format_value(value)
            name = study.table.get_display_name(arm)
            yield Entry(name), Entry(path), _build_value_entry(reference, path), Entry(arm_value)


def build_configuration_table(study: StudyRecord) -> TableSpec:
    """Return the whole configuration of the reference, with a column per data set."""
    paths = dict.fromkeys(path for config in study.configs.values() for path in config)
    rows = []
    for path in paths:
        row = [Entry(path)]
        for dataset in study.datasets:
            row.append(_build_value_entry(study.configs.get(dataset, {}), path))
        rows.append(tuple(row))
    columns = [Column("setting", "name")]
    for dataset in study.datasets:
        columns.append(Column(study.table.get_display_name(dataset), "name"))
    return TableSpec("the reference's configuration", tuple(columns), tuple(rows))


def _build_value_entry(config: Mapping[str, object], path: str) -> Entry:
    return Entry(_format_value(config[path]) if path in config else MISSING)


def _format_value(value: object) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        return "none"
    return json.dumps(value, ensure_ascii=False)


def build_failure_table(table: Table, results: Results, links: Links) -> TableSpec:
    """Return the trials that did not finish, with their reasons.

    Args:
        table: The table of the study.
        results: Results of the study.
        links: Function from run id to address.

    Returns:
        One row per trial, ordered by arm, data set and seed.
    """
    lost = [trial for trial in results.trials if results.get_status(trial) != "finished"]
    rows = []
    for trial in _sort_by_arm(table, lost):
        record = results.records.get(trial.key)
        reason = record.reason if record else ""
        entries = _build_trial_entries(table, results, trial)
        rows.append((*entries, Entry(reason or MISSING), _build_run_entry(results, trial, links)))
    columns = (*_build_trial_columns(table), Column("reason", "words"), Column("run", "name"))
    return TableSpec("trials that did not finish", columns, tuple(rows))


def build_run_table(table: Table, results: Results, links: Links) -> TableSpec:
    """Return all trials that count, with their values of the first metric.

    Args:
        table: The table of the study.
        results: Results of the study.
        links: Function from run id to address.

    Returns:
        One row per trial, ordered by arm, data set and seed.
    """
    metric = table.metrics[0]
    digits = table.study.table.get_digits(metric.name)
    rows = []
    for trial in _sort_by_arm(table, results.trials):
        values = results.get_values(trial.dataset, trial.arm, metric)
        rows.append(
            (
                *_build_trial_entries(table, results, trial),
                build_number_entry(values.get(trial.seed), digits),
                _build_run_entry(results, trial, links),
            )
        )
    heading = format_metric_heading(table, metric)
    columns = (*_build_trial_columns(table), Column(heading), Column("run", "name"))
    return TableSpec("runs", columns, tuple(rows))


def _sort_by_arm(table: Table, trials: Sequence[TrialEntry]) -> list[TrialEntry]:
    arms, datasets = list(table.study.arms), list(table.datasets)
    return sorted(trials, key=lambda t: (arms.index(t.arm), datasets.index(t.dataset), t.seed))


def _build_trial_columns(table: Table) -> tuple[Column, ...]:
    dataset = (Column("data set", "name"),) if len(table.datasets) > 1 else ()
    return (Column("arm", "name"), *dataset, Column("seed"), Column("status", "words"))


def _build_trial_entries(table: Table, results: Results, trial: TrialEntry) -> Row:
    get_name = table.study.table.get_display_name
    dataset = (Entry(get_name(trial.dataset)),) if len(table.datasets) > 1 else ()
    status = results.get_status(trial)
    return (
        Entry(get_name(trial.arm)),
        *dataset,
        build_number_entry(trial.seed, 0),
        Entry(STATUS_TEXTS.get(status, status)),
    )


def _build_run_entry(results: Results, trial: TrialEntry, links: Links) -> Entry:
    """Return the run id of a trial; only a web address becomes a link."""
    record = results.records.get(trial.key)
    if record is None:
        return Entry(MISSING)
    link = links(record.run_id)
    is_safe = link is not None and link.startswith(("http://", "https://"))
    return Entry(record.run_id, link=link if is_safe else None)


def collect_origin(results: Results) -> list[tuple[str, str]]:
    """Return the origin of the results as pairs of term and description."""
    study, found = results.study, collect_provenance(results)
    origin = [("study", study.name), ("file hash", study.file_hash)]
    if study.overrides:
        origin.append(("command-line overrides", " ".join(study.overrides)))
    origin += [
        ("code", ", ".join(found.revisions)),
        ("platform", ", ".join(found.platforms)),
        ("data (fingerprint)", ", ".join(found.fingerprints)),
        ("results", f"{found.results} of {found.keys} trial keys"),
        ("last result", found.date),
    ]
    return origin


def format_command(study: StudyRecord) -> str:
    """Return the command that repeats a study from `study.yaml`, which its MLflow run has."""
    words = ["ibml", "ablate", "study.yaml"]
    for override in study.overrides:
        path, _, value = override.partition("=")
        words += ["--seeds", value] if path == "seeds" else ["-o", override]
    return shlex.join(words)
