"""The tags of a study's trials follow the study: arms that were renamed or removed, and a run that was made again.

The run of a trial belongs to the study that trained it (`ibml.study`, name of the run, parent run). Other studies with
the same trial have a tag each (`ibml.study.NAME`). A trial that its own study no longer has belongs to no study.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any

from ibml.records import UNTUNED, StudyRecord, TrialEntry, TrialRecord
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.study_tags import format_study_tag, parse_studies

_STUDY, _PARENT = "ibml.study", "mlflow.parentRunId"
_NO_STUDY = ""
"""The value of `ibml.study` where a study has left out the trial. A trial that no study trained has no such tag."""


def update_labels(
    store: MlflowStore, study: StudyRecord, run_id: str, added: Collection[str], is_new: bool
) -> None:
    """Bring the tags of trials up to date with a study, after it was run.

    Args:
        store: The store of the study.
        study: The study as it is now.
        run_id: Its run.
        added: The ids of runs that were not part of it before.
        is_new: Whether the study's run was made now. Its trials may be below a run that was deleted.

    Raises:
        TrackingError: The store cannot be used.
    """
    entries = {trial.key: trial for trial in study.trials if trial.key != UNTUNED}
    untuned = {trial.arm for trial in study.trials if trial.key == UNTUNED}
    chosen = [
        record.run_id
        for record in store.trials()
        if record.run_id in added
        or _is_outdated(record, study.name, entries.get(record.key), untuned, is_new)
    ]
    for run in store.search_runs_by_id(chosen):
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
        return arm not in untuned  # which trials such an arm has is not known yet
    return is_new or arm != entry.arm


def _remove_labels(store: MlflowStore, run: Any, study: str) -> None:
    tags: dict[str, str] = run.data.tags
    removed = [format_study_tag(study)]
    if tags.get(_STUDY) == study:
        removed += [_PARENT] if _PARENT in tags else []
        store.tag_run(run.info.run_id, {_STUDY: _NO_STUDY})
    for name in removed:
        store.remove_tag(run.info.run_id, name)
    studies = {name: arm for name, arm in parse_studies(tags).items() if name != study}
    store.cache.relabel(run.info.run_id, studies, tags.get("ibml.arm", ""))


def _assign_labels(
    store: MlflowStore, run: Any, study: StudyRecord, entry: TrialEntry, run_id: str
) -> None:
    tags: dict[str, str] = run.data.tags
    wanted = {format_study_tag(study.name): entry.arm}
    owns = tags.get(_STUDY) in (study.name, _NO_STUDY)
    if owns:
        wanted |= {
            _STUDY: study.name,
            "ibml.arm": entry.arm,
            "ibml.dataset": entry.dataset,
            _PARENT: run_id,
        }
    changed = {name: value for name, value in wanted.items() if tags.get(name) != value}
    if changed:
        store.tag_run(run.info.run_id, changed)
    if owns:
        store.rename_run(run.info.run_id, _format_run_name(study, entry))
    studies = {**parse_studies(tags), study.name: entry.arm}
    store.cache.relabel(run.info.run_id, studies, entry.arm if owns else tags.get("ibml.arm", ""))


def _format_run_name(study: StudyRecord, entry: TrialEntry) -> str:
    place = f"{entry.dataset} · " if len(study.datasets) > 1 else ""
    return f"{place}{entry.arm} · seed {entry.seed}"


def find_lost_studies(
    trials: Collection[TrialRecord], known: Collection[str]
) -> Iterator[tuple[str, list[TrialRecord]]]:
    """Yield the studies that have trials but no run of their own, each with its trials."""
    found: dict[str, list[TrialRecord]] = {}
    for record in trials:
        for study in record.studies:
            if study not in known:
                found.setdefault(study, []).append(record)
    yield from found.items()
