"""The runs of trials, from the cache as far as it goes."""

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
"""How far the clocks of machines that write to one server may be apart without costing a search for results."""
_SEARCHED_KEYS = 200
"""The number of keys that are looked for one by one; reading everything takes no longer than more of them."""
DRIVER_TAG = "ibml.driver"
"""On the run of a trial: who trains it."""
SHORTEST_TEXT = 4
"""Of the beginning of a run id or key that names a trial."""
_SHOWN = 5


class TrialReader(Experiment):
    """Reads trials. A run that MLflow has as ended is kept in the cache with the time of its end: it changes only by
    beginning again, and then ends later.

    Of a database, two queries list all runs with that time and the tags of their provenance, so that whatever happened
    to them is noticed. A server cannot list runs without reading them: it is asked for those that ended since the last
    reading, that still run, or that are deleted. Nothing in its API tells of a run that was deleted and removed by
    `mlflow gc`, or lost with the server's database, between two readings; such a result stays until everything is read
    again.
    """

    @cached_property
    def cache(self) -> ResultCache:
        database = get_database_file(self.uri)
        identity = f"sqlite:///{database}" if database else redact_url(self.uri)
        return ResultCache(resolve_cache_file(identity, self.experiment_id, self.created_at))

    def results(self, keys: Collection[str] | None = None) -> dict[str, TrialRecord]:
        """The result of every key: its first ended run, else its last run that failed or never ended. With `keys`,
        of these only, and then no clock that goes wrong can hide one of them."""
        records = _select_results(self.trials(keys or ()))
        return records if keys is None else {key: records[key] for key in keys if key in records}

    def trials(self, keys: Collection[str] = ()) -> list[TrialRecord]:
        """Every run of a trial that is not deleted, oldest first. Of a server, runs of `keys` without a result are
        looked for whenever they may have ended."""
        if not self.exists:
            return []
        began = get_time_ms()
        cached = self.cache.read()
        listed = list_runs(self.address, self.experiment_id)
        if listed is None:
            known, read, deleted = self._read_server(cached, keys)
        else:
            known = {
                id_: r
                for id_, r in cached.records.items()
                if id_ in listed and listed[id_].is_consistent_with(r)
            }
            read, deleted = (
                _build_records(self.search_runs_by_id([id_ for id_ in listed if id_ not in known])),
                frozenset(),
            )
        records = known | read
        self._update_cache(cached, records, deleted, began)
        return sorted(records.values(), key=lambda record: (record.started_at, record.run_id))

    def _read_server(
        self, cached: CachedResults, keys: Collection[str]
    ) -> tuple[dict[str, TrialRecord], dict[str, TrialRecord], frozenset[str]]:
        """What the cache has and is still so, what was read, and the ids of deleted runs."""
        deleted = frozenset(run.info.run_id for run in self.search_runs(_TRIALS, deleted=True))
        if cached.read_at is None:
            return {}, _build_records(self.search_runs(_TRIALS)), deleted
        known = {id_: record for id_, record in cached.records.items() if id_ not in deleted}
        last = min(cached.read_at, max((r.ended_at for r in cached.records.values()), default=0))
        read = _build_records(
            self.search_runs(
                f"{_TRIALS} and attributes.end_time > {max(last - CLOCKS_DIFFER_MS, 0)}"
            )
        )
        read |= _build_records(self.search_runs(f"{_TRIALS} and attributes.status = 'RUNNING'"))
        read |= _build_records(self.search_runs_by_id(sorted(cached.deleted - deleted)))
        ended = {record.key for record in (known | read).values() if record.ended}
        missing = [key for key in keys if key not in ended]
        if len(missing) > _SEARCHED_KEYS:
            return {}, _build_records(self.search_runs(_TRIALS)), deleted
        for key in missing:
            read |= _build_records(self.search_runs(f"{_TRIALS} and tags.`ibml.key` = '{key}'"))
        return known, read, deleted

    def _update_cache(
        self,
        cached: CachedResults,
        records: dict[str, TrialRecord],
        deleted: frozenset[str],
        began: int,
    ) -> None:
        old = cached.records
        new = [r for id_, r in records.items() if r.ended_at and old.get(id_) != r]
        gone = old.keys() - records.keys()
        if new or gone or deleted != cached.deleted or cached.read_at is None:
            self.cache.write(new, gone, deleted, began)

    def find_trial(self, text: str) -> TrialRecord:
        """The trial with this run id or key, or the only one that has an id or key that begins so. A key stands for
        its result. Raises `TrackingError` where there is none, or more than one."""
        trials = self.trials()
        results = _select_results(trials)
        named = [(record.run_id, record) for record in trials] + list(results.items())
        found = {record.run_id: record for name, record in named if name == text}
        if not found and len(text) < SHORTEST_TEXT:
            raise TrackingError(
                f"a trial is named by at least {SHORTEST_TEXT} characters of its run id or key: {text!r}"
            )
        found = found or {record.run_id: record for name, record in named if name.startswith(text)}
        if not found:
            raise TrackingError(
                f"no trial in {redact_url(self.uri)} has a run id or key that begins with {text!r}"
            )
        if len(found) > 1:
            some = ", ".join(
                f"{r.run_id} ({r.arm}, seed {r.seed})"
                for r in itertools.islice(found.values(), _SHOWN)
            )
            more = f", and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
            raise TrackingError(
                f"{text!r} begins the run ids or keys of {len(found)} trials: {some}{more}"
            )
        return next(iter(found.values()))

    def find_runs(self, key: str) -> dict[str, TrialRecord]:
        """The runs of a key that are not deleted as they are now, by id, the oldest first."""
        return _build_records(self.search_runs(f"{_TRIALS} and tags.`ibml.key` = '{key}'"))

    def trial(self, run_id: str) -> TrialRecord:
        """A trial's run as it is now."""
        with translate_errors(self.uri):
            return build_trial_record(self.client.get_run(run_id))

    def read_tags(self, run_id: str) -> dict[str, str]:
        """The tags of a run as they are now."""
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
    """A trial's run of MLflow."""
    tags = run.data.tags
    status = tags.get("ibml.status", "running")
    seed = tags.get("ibml.seed", "")
    return TrialRecord(
        key=tags.get("ibml.key", ""),
        run_id=run.info.run_id,
        status=status if status in ("finished", "diverged", "failed", "pruned") else "running",
        metrics=dict(run.data.metrics),
        reason=tags.get("ibml.reason", ""),
        fingerprint=tags.get("ibml.data", ""),
        revision=tags.get("ibml.revision", ""),
        platform=tags.get("ibml.platform", ""),
        studies=parse_studies(tags),
        ended_at=(run.info.end_time or 0) if run.info.status in TERMINATED else 0,
        started_at=run.info.start_time or 0,
        arm=tags.get("ibml.arm", ""),
        dataset=tags.get("ibml.dataset", ""),
        seed=int(seed) if seed.isdecimal() else None,
        shape=tags.get("ibml.shape", ""),
        driver=tags.get(DRIVER_TAG, ""),
        retries=int(retries) if (retries := tags.get("ibml.retries", "")).isdecimal() else 0,
    )
