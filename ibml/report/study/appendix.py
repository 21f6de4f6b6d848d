"""What a page has besides numbers and figures: configurations, failures, runs, and where results come from."""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence

from ibml.records import StudyRecord, TrialEntry
from ibml.report.tables.layout import format_metric_heading
from ibml.report.tables.notes import collect_provenance
from ibml.report.tables.results import Results
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import MISSING, Column, Entry, Row, TableSpec, build_number_entry

Links = Callable[[str], str | None]
"""Run id -> the address of its page, if there is one."""

STATUS_TEXTS = {"missing": "not run", "running": "not finished"}


def build_change_table(study: StudyRecord) -> TableSpec:
    """Per arm, the paths in which it differs from the reference, with both values; once for all data sets where these
    agree."""
    by_dataset = {dataset: list(_build_change_rows(study, dataset)) for dataset in study.datasets}
    first, *rest = by_dataset.values()
    if all(other == first for other in rest):
        by_dataset = {"": first}
    rows: list[Row | str] = []
    for dataset, of_dataset in by_dataset.items():
        rows += [study.table.get_display_name(dataset)] if dataset else []
        rows += of_dataset
    columns = [
        Column(name, "name")
        for name in ("arm", "setting", study.table.get_display_name(study.reference), "arm's value")
    ]
    return TableSpec("differences in configuration", tuple(columns), tuple(rows))


def _build_change_rows(study: StudyRecord, dataset: str) -> Iterator[Row]:
    reference = study.configs.get(dataset, {})
    for arm in study.arms:
        for path, value in study.changes.get(dataset, {}).get(arm, {}).items():
            own = MISSING if value is None else _format_value(value)
            base = _format_value(reference[path]) if path in reference else MISSING
            yield tuple(map(Entry, (study.table.get_display_name(arm), path, base, own)))


def build_configuration_table(study: StudyRecord) -> TableSpec:
    """The reference's whole configuration, a column for each data set."""
    paths = dict.fromkeys(path for config in study.configs.values() for path in config)
    rows = [
        (
            Entry(path),
            *(
                _build_value_entry(study.configs.get(dataset, {}), path)
                for dataset in study.datasets
            ),
        )
        for path in paths
    ]
    columns = (
        Column("setting", "name"),
        *(Column(study.table.get_display_name(name), "name") for name in study.datasets),
    )
    return TableSpec("the reference's configuration", columns, tuple(rows))


def _build_value_entry(config: Mapping[str, object], path: str) -> Entry:
    return Entry(_format_value(config[path]) if path in config else MISSING)


def _format_value(value: object) -> str:
    return (
        value
        if isinstance(value, str)
        else "none"
        if value is None
        else json.dumps(value, ensure_ascii=False)
    )


def build_failure_table(table: Table, results: Results, links: Links) -> TableSpec:
    """The trials that did not finish, with their reasons."""
    lost = [trial for trial in results.trials if results.status(trial) != "finished"]
    rows = []
    for trial in _sort_by_arm(table, lost):
        record = results.records.get(trial.key)
        reason = Entry(record.reason if record and record.reason else MISSING)
        rows.append(
            (
                *_build_trial_entries(table, results, trial),
                reason,
                _build_run_entry(results, trial, links),
            )
        )
    columns = (*_build_trial_columns(table), Column("reason", "words"), Column("run", "name"))
    return TableSpec("trials that did not finish", columns, tuple(rows))


def build_run_table(table: Table, results: Results, links: Links) -> TableSpec:
    """Every trial that counts, with its value of the first metric."""
    metric = table.metrics[0]
    digits = table.study.table.get_digits(metric.name)
    values = {
        (dataset, arm): results.values(dataset, arm, metric)
        for dataset in table.datasets
        for arm in table.study.arms
    }
    rows = [
        (
            *_build_trial_entries(table, results, trial),
            build_number_entry(values[trial.dataset, trial.arm].get(trial.seed), digits),
            _build_run_entry(results, trial, links),
        )
        for trial in _sort_by_arm(table, results.trials)
    ]
    columns = (
        *_build_trial_columns(table),
        Column(format_metric_heading(table, metric)),
        Column("run", "name"),
    )
    return TableSpec("runs", columns, tuple(rows))


def _sort_by_arm(table: Table, trials: Sequence[TrialEntry]) -> list[TrialEntry]:
    arms, datasets = list(table.study.arms), list(table.datasets)
    return sorted(trials, key=lambda t: (arms.index(t.arm), datasets.index(t.dataset), t.seed))


def _build_trial_columns(table: Table) -> tuple[Column, ...]:
    dataset = (Column("data set", "name"),) if len(table.datasets) > 1 else ()
    return (Column("arm", "name"), *dataset, Column("seed"), Column("status", "words"))


def _build_trial_entries(table: Table, results: Results, trial: TrialEntry) -> Row:
    shown = table.study.table.get_display_name
    dataset = (Entry(shown(trial.dataset)),) if len(table.datasets) > 1 else ()
    status = results.status(trial)
    return (
        Entry(shown(trial.arm)),
        *dataset,
        build_number_entry(trial.seed, 0),
        Entry(STATUS_TEXTS.get(status, status)),
    )


def _build_run_entry(results: Results, trial: TrialEntry, links: Links) -> Entry:
    """Only web addresses are linked, whatever a store says of itself."""
    record = results.records.get(trial.key)
    if record is None:
        return Entry(MISSING)
    link = links(record.run_id)
    safe = link if link and link.startswith(("http://", "https://")) else None
    return Entry(record.run_id, link=safe)


def collect_origin(results: Results) -> list[tuple[str, str]]:
    """What results come from, as terms and what is to be said of them."""
    study, found = results.study, collect_provenance(results)
    return [
        ("study", study.name),
        ("file hash", study.file_hash),
        *([("changed by the command line", " ".join(study.overrides))] if study.overrides else []),
        ("code", ", ".join(found.revisions)),
        ("platform", ", ".join(found.platforms)),
        ("data (fingerprint)", ", ".join(found.fingerprints)),
        ("results", f"{found.results} of {found.keys} trial keys"),
        ("last result", found.date),
    ]


def format_command(study: StudyRecord) -> str:
    """What runs the study again from its file, which MLflow has as study.yaml."""
    words = ["ibml", "ablate", "study.yaml"]
    for override in study.overrides:
        path, _, value = override.partition("=")
        words += ["--seeds", value] if path == "seeds" else ["-o", override]
    return shlex.join(words)
