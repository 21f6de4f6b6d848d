"""Read access to the runs of trials, through a cache of ended runs."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from functools import cached_property
from typing import Any

from ibml.common.redaction import redact_url
from ibml.records import TrialRecord
from ibml.tracking.journal.events import get_time_ms
from ibml.tracking.store.experiment import Experiment
from ibml.tracking.store.listing import TERMINATED, list_runs
from ibml.tracking.store.result_cache import CachedResults, ResultCache, resolve_cache_file
from ibml.tracking.store.uri import TrackingError, get_database_file, translate_errors
from ibml.tracking.study_tags import parse_studies

_TRIALS = "tags.`ibml.kind` = 'trial'"
CLOCKS_DIFFER_MS = 5 * 60 * 1000
"""Tolerated difference between the clocks of machines that write to one server."""
_SEARCHED_KEYS = 200
"""Largest number of keys that are searched one by one; with more, reading all runs is faster."""
DRIVER_TAG = "ibml.driver"
"""Tag of a run: id of the driver that works on it, or empty."""
SHORTEST_TEXT = 4
"""Minimum length of a prefix of a run id or key that names a trial."""
_SHOWN = 5


class TrialReader(Experiment):
    """Reads the trials of one experiment.

    All methods raise `TrackingError` if the store cannot be read.

    Runs that have ended are cached with the time of their end. Such a run changes only if it starts
    again, and it then ends later.

    For a database, two queries list all runs with this time and their provenance tags, so every
    change is detected. A server cannot list runs without reading them. It is asked for runs that
    ended since the last reading, that are running, or that are deleted. Its API does not report a
    run that was both deleted and purged by `mlflow gc` between two readings, or lost with the
    server's database. The result of such a run stays in the cache until all runs are read again.
    """

    @cached_property
    def cache(self) -> ResultCache:
        """Cache of this experiment's ended runs."""
        database = get_database_file(self.uri)
        identity = f"sqlite:///{database}" if database else redact_url(self.uri)
        return ResultCache(resolve_cache_file(identity, self.experiment_id, self.created_at))

    def results(self, keys: Collection[str] | None = None) -> dict[str, TrialRecord]:
        """Return one record per trial key.

        The record is the first run that has ended with a result, or else the last run that failed
        or has not ended.

        Args:
            keys: Keys to return. They are found even if clocks of machines are wrong. None returns
                all.

        Returns:
            Key -> record.
        """
        records = _select_results(self.trials(keys or ()))
        if keys is None:
            return records
        return {key: records[key] for key in keys if key in records}

    def trials(self, keys: Collection[str] = ()) -> list[TrialRecord]:
        """Read all runs of trials that are not deleted.

        Args:
            keys: Keys whose results must be found on a server even if clocks of machines are wrong.

        Returns:
            Records of the runs, oldest first.
        """
        if not self.exists:
            return []
        began = get_time_ms()
        cached = self.cache.read()
        listed = list_runs(self.address, self.experiment_id)
        if listed is None:
            known, read, deleted = self._read_server(cached, keys)
        else:
            known = {}
            for run_id, record in cached.records.items():
                if run_id in listed and listed[run_id].is_consistent_with(record):
                    known[run_id] = record
            outdated = [run_id for run_id in listed if run_id not in known]
            read = _build_records(self.search_runs_by_id(outdated))
            deleted = frozenset()
        records = known | read
        self._update_cache(cached, records, deleted, began)
        return sorted(records.values(), key=lambda record: (record.started_at, record.run_id))

    def _read_server(
        self, cached: CachedResults, keys: Collection[str]
    ) -> tuple[dict[str, TrialRecord], dict[str, TrialRecord], frozenset[str]]:
        """Return valid cached records, records that were read, and ids of deleted runs."""
        deleted = frozenset(run.info.run_id for run in self.search_runs(_TRIALS, deleted=True))
        if cached.read_at is None:
            return {}, _build_records(self.search_runs(_TRIALS)), deleted
        known = {}
        for run_id, record in cached.records.items():
            if run_id not in deleted:
                known[run_id] = record
        last_end = max((record.ended_at for record in cached.records.values()), default=0)
        since = max(min(cached.read_at, last_end) - CLOCKS_DIFFER_MS, 0)
        read = _build_records(self.search_runs(f"{_TRIALS} and attributes.end_time > {since}"))
        read |= _build_records(self.search_runs(f"{_TRIALS} and attributes.status = 'RUNNING'"))
        restored = sorted(cached.deleted - deleted)
        read |= _build_records(self.search_runs_by_id(restored))
        ended = {record.key for record in (known | read).values() if record.ended}
        missing = [key for key in keys if key not in ended]
        if len(missing) > _SEARCHED_KEYS:
            return {}, _build_records(self.search_runs(_TRIALS)), deleted
        for key in missing:
            read |= self.find_runs(key)
        return known, read, deleted

    def _update_cache(
        self,
        cached: CachedResults,
        records: dict[str, TrialRecord],
        deleted: frozenset[str],
        began: int,
    ) -> None:
        new = []
        for run_id, record in records.items():
            if record.ended_at and cached.records.get(run_id) != record:
                new.append(record)
        gone = cached.records.keys() - records.keys()
        if new or gone or deleted != cached.deleted or cached.read_at is None:
            self.cache.write(new, gone, deleted, began)

    def find_trial(self, text: str) -> TrialRecord:
        """Return the trial with a run id or key. A key selects its result.

        Args:
            text: A run id or key, or its beginning if only one trial's id or key begins with it.

        Returns:
            The record of the trial.

        Raises:
            TrackingError: No trial or several trials match.
        """
        trials = self.trials()
        named = [(record.run_id, record) for record in trials]
        named += _select_results(trials).items()
        found = {record.run_id: record for name, record in named if name == text}
        if not found:
            if len(text) < SHORTEST_TEXT:
                raise TrackingError(
                    f"a trial is named by at least {SHORTEST_TEXT} characters of its run id or key:"
                    f" {text!r}"
                )
            found = {record.run_id: record for name, record in named if name.startswith(text)}
        if not found:
            raise TrackingError(
                f"no trial in {redact_url(self.uri)} has a run id or key that begins with {text!r}"
            )
        if len(found) > 1:
            shown = itertools.islice(found.values(), _SHOWN)
            listing = ", ".join(f"{r.run_id} ({r.arm}, seed {r.seed})" for r in shown)
            more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise TrackingError(
                f"{text!r} begins the run ids or keys of {len(found)} trials: {listing}{more}"
            )
        return next(iter(found.values()))

    def find_runs(self, key: str) -> dict[str, TrialRecord]:
        """Return the runs of a key by id, oldest first, without the cache."""
        return _build_records(self.search_runs(f"{_TRIALS} and tags.`ibml.key` = '{key}'"))

    def trial(self, run_id: str) -> TrialRecord:
        """Return the record of a trial's run, without the cache."""
        with translate_errors(self.uri):
            return build_trial_record(self.client.get_run(run_id))

    def read_tags(self, run_id: str) -> dict[str, str]:
        """Return the tags of a run, without the cache."""
        with translate_errors(self.uri):
            return dict(self.client.get_run(run_id).data.tags)


def _select_results(trials: Iterable[TrialRecord]) -> dict[str, TrialRecord]:
    records: dict[str, TrialRecord] = {}
    for record in trials:
        known = records.get(record.key)
        if known is None or not known.ended:
            records[record.key] = record
    return records


def _build_records(runs: Iterable[Any]) -> dict[str, TrialRecord]:
    return {run.info.run_id: build_trial_record(run) for run in runs}


def build_trial_record(run: Any) -> TrialRecord:
    """Return the record of a trial from its MLflow run."""
    tags = run.data.tags
    status = tags.get("ibml.status", "running")
    if status not in ("finished", "diverged", "failed", "pruned"):
        status = "running"
    has_ended = run.info.status in TERMINATED
    seed = tags.get("ibml.seed", "")
    retries = tags.get("ibml.retries", "")
    return TrialRecord(
        key=tags.get("ibml.key", ""),
        run_id=run.info.run_id,
        status=status,
        metrics=dict(run.data.metrics),
        reason=tags.get("ibml.reason", ""),
        fingerprint=tags.get("ibml.data", ""),
        revision=tags.get("ibml.revision", ""),
        platform=tags.get("ibml.platform", ""),
        studies=parse_studies(tags),
        ended_at=(run.info.end_time or 0) if has_ended else 0,
        started_at=run.info.start_time or 0,
        arm=tags.get("ibml.arm", ""),
        dataset=tags.get("ibml.dataset", ""),
        seed=int(seed) if seed.isdecimal() else None,
        shape=tags.get("ibml.shape", ""),
        driver=tags.get(DRIVER_TAG, ""),
        retries=int(retries) if retries.isdecimal() else 0,
    )
