"""Synchronization of trial tags with their study, for renamed arms, removed arms and new runs.

The run of a trial belongs to the study that trained it (`ibml.study`, name of the run, parent run).
Every other study with the same trial has a tag `ibml.study.NAME`. A trial that its own study has
removed belongs to no study.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from ibml.records import UNTUNED, StudyRecord, TrialEntry, TrialRecord
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.study_tags import format_study_tag, parse_studies

_STUDY = "ibml.study"
_PARENT = "mlflow.parentRunId"
_NO_STUDY = ""
"""Value of `ibml.study` after its study has removed the trial. Unowned trials have no tag."""


def update_labels(
    store: MlflowStore, study: StudyRecord, run_id: str, added: Collection[str], is_new: bool
) -> None:
    """Update the tags of a study's trials after the study was run.

    Args:
        store: Store of the study.
        study: The study as it is now.
        run_id: Run of the study.
        added: Ids of runs that were not part of the study before.
        is_new: True if the study's run was created now. Its trials may then have a deleted parent
            run.

    Raises:
        TrackingError: The store cannot be used.
    """
    entries = {trial.key: trial for trial in study.trials if trial.key != UNTUNED}
    untuned = {trial.arm for trial in study.trials if trial.key == UNTUNED}
    outdated = []
    for record in store.trials():
        entry = entries.get(record.key)
        if record.run_id in added or _is_outdated(record, study.name, entry, untuned, is_new):
            outdated.append(record.run_id)
    for run in store.search_runs_by_id(outdated):
        entry = entries.get(run.data.tags.get("ibml.key", ""))
        if entry is None:
            _remove_labels(store, run, study.name)
        else:
            _assign_labels(store, run, study, entry, run_id)


def _is_outdated(
    record: TrialRecord,
    study: str,
    entry: TrialEntry | None,
    untuned: Collection[str],
    is_new: bool,
) -> bool:
    arm = record.studies.get(study)
    if arm is None:
        return False
    if entry is None:
        return arm not in untuned  # the trials of an untuned arm are not known yet
    return is_new or arm != entry.arm


def _remove_labels(store: MlflowStore, run: Any, study: str) -> None:
    tags: dict[str, str] = run.data.tags
    removed = [format_study_tag(study)]
    if tags.get(_STUDY) == study:
        if _PARENT in tags:
            removed.append(_PARENT)
        store.tag_run(run.info.run_id, {_STUDY: _NO_STUDY})
    for name in removed:
        store.remove_tag(run.info.run_id, name)
    studies = parse_studies(tags)
    studies.pop(study, None)
    store.cache.relabel(run.info.run_id, studies, tags.get("ibml.arm", ""))


def _assign_labels(
    store: MlflowStore, run: Any, study: StudyRecord, entry: TrialEntry, run_id: str
) -> None:
    tags: dict[str, str] = run.data.tags
    wanted = {format_study_tag(study.name): entry.arm}
    is_owner = tags.get(_STUDY) in (study.name, _NO_STUDY)
    if is_owner:
        wanted[_STUDY] = study.name
        wanted["ibml.arm"] = entry.arm
        wanted["ibml.dataset"] = entry.dataset
        wanted[_PARENT] = run_id
    changed = {name: value for name, value in wanted.items() if tags.get(name) != value}
    if changed:
        store.tag_run(run.info.run_id, changed)
    if is_owner:
        store.rename_run(run.info.run_id, _format_run_name(study, entry))
    studies = {**parse_studies(tags), study.name: entry.arm}
    arm = entry.arm if is_owner else tags.get("ibml.arm", "")
    store.cache.relabel(run.info.run_id, studies, arm)


def _format_run_name(study: StudyRecord, entry: TrialEntry) -> str:
    prefix = f"{entry.dataset} · " if len(study.datasets) > 1 else ""
    return f"{prefix}{entry.arm} · seed {entry.seed}"


def find_lost_studies(
    trials: Collection[TrialRecord], known: Collection[str]
) -> Iterator[tuple[str, list[TrialRecord]]]:
    """Yield studies that have trials but no run, each with its trials.

    Args:
        trials: All trials of the store.
        known: Names of the studies that have a run.

    Yields:
        The name of a study and its trials.
    """
    found: dict[str, list[TrialRecord]] = {}
    for record in trials:
        for study in record.studies:
            if study not in known:
                found.setdefault(study, []).append(record)
    yield from found.items()
