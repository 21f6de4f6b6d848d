"""The search database: an Optuna storage, which Optuna's tools and optuna-dashboard can read."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import optuna
from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError

from ibml.common.databases import check_connection, get_sqlite_path, resolve_url
from ibml.common.errors import IbmlError
from ibml.common.redaction import redact_secrets, redact_url
from ibml.common.version_names import (
    find_changed_paths,
    format_change,
    format_refusal,
    get_next_version,
    select_versions,
)
from ibml.config.metrics.specs import Direction
from ibml.config.trial import flatten
from ibml.search.database_url import SPEC, choose_url
from ibml.search.samplers import RepeatableSampler

__all__ = [
    "LOCK_SECONDS",
    "Database",
    "SearchDatabaseError",
    "choose_url",
    "translate_database_errors",
]

LOCK_SECONDS = 60
"""Time in seconds to wait for a SQLite file that another process has locked."""
BEGUN = "ibml.begun"
"""Study attribute that is written first.

A study with it and without `SPEC` was created by ibml and is incomplete.
"""
_FAILURES = (SQLAlchemyError, optuna.exceptions.StorageInternalError)


class SearchDatabaseError(IbmlError):
    """The database cannot be used, or has another study under the name of the search."""


class Database:
    """Optuna studies of searches.

    All methods raise `SearchDatabaseError` if the database does not respond.

    Args:
        url: URL of the database, in SQLAlchemy's form.
    """

    def __init__(self, url: str):
        self.url = url

    @cached_property
    def storage(self) -> BaseStorage:
        """Optuna's storage, connected on first access."""
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        with translate_database_errors(self.url, opening=True):
            address = resolve_url(self.url)
            options: dict[str, Any] = {}
            if get_sqlite_path(self.url) is None:
                check_connection(address)
            else:
                options = {"connect_args": {"timeout": LOCK_SECONDS}}
            storage = optuna.storages.RDBStorage(address, engine_kwargs=options)
            return optuna.storages.get_storage(storage)

    def open_storage(self) -> None:
        """Connect to the database, so that an error is reported before training starts.

        Raises:
            SearchDatabaseError: The database cannot be used.
        """
        _ = self.storage

    def open(
        self,
        name: str,
        spec: Mapping[str, Any],
        directions: Sequence[Direction],
        start: Sequence[Mapping[str, Any]],
        sampler: RepeatableSampler,
        new_version: bool,
    ) -> optuna.Study:
        """Open the study of a search, or create it.

        The version of the study with the same specification is opened. Without one, a study is
        created if the name is free or `new_version` is set: `NAME`, `NAME v2`, and so on.

        Args:
            name: Name of the search.
            spec: Specification of the search, see `SearchPlan.build_spec`.
            directions: Directions of the objectives.
            start: Values of the first trials, by label.
            sampler: Sampler of the study.
            new_version: True to create a new version if the existing ones have other settings.

        Returns:
            The study; a new one has the trials of `start` enqueued.

        Raises:
            SearchDatabaseError: The database cannot be used, or the name belongs to a search with
                other settings.
        """
        with translate_database_errors(self.url):
            versions = self._load_versions(name)
            for version, known in versions.items():
                if known == dict(spec):
                    return self._load(version, sampler)
                if known is None and self._is_cut_off(version):
                    optuna.delete_study(study_name=version, storage=self.storage)
                    return _fill(self._create(version, directions, sampler), spec, start)
                if known is None and self._is_blank(version, directions):
                    return _fill(self._load(version, sampler), spec, start)
            if versions and not new_version:
                latest = list(versions)[-1]
                shown = redact_url(self.url)
                raise SearchDatabaseError(_format_refusal(latest, versions[latest], spec, shown))
            study = self._create(get_next_version(name, list(versions)), directions, sampler)
            return _fill(study, spec, start)

    def find(self, name: str) -> optuna.Study | None:
        """Return the latest version of a search, if there is one."""
        with translate_database_errors(self.url):
            versions = list(self._load_versions(name))
            return self._load(versions[-1]) if versions else None

    def _load_versions(self, name: str) -> dict[str, dict[str, Any] | None]:
        """Return the specification of each version of a search, oldest first."""
        studies = self.storage.get_all_studies()
        found = {study.study_name: study.user_attrs.get(SPEC) for study in studies}
        return {version: found[version] for version in select_versions(name, found)}

    def _is_cut_off(self, name: str) -> bool:
        """Return True if ibml was interrupted while it created this study."""
        study_id = self.storage.get_study_id_from_name(name)
        trials = self.storage.get_all_trials(study_id, deepcopy=False)
        waiting = all(trial.state == optuna.trial.TrialState.WAITING for trial in trials)
        return waiting and BEGUN in self.storage.get_study_user_attrs(study_id)

    def _is_blank(self, name: str, directions: Sequence[Direction]) -> bool:
        """Return True if a study is empty, as after an interruption before the first attribute."""
        study = self._load(name)
        same = [direction.name.lower() for direction in study.directions] == list(directions)
        return same and not study.user_attrs and not study.get_trials(deepcopy=False)

    def _load(self, name: str, sampler: RepeatableSampler | None = None) -> optuna.Study:
        return optuna.load_study(study_name=name, storage=self.storage, sampler=sampler)

    def _create(
        self, name: str, directions: Sequence[Direction], sampler: RepeatableSampler
    ) -> optuna.Study:
        return optuna.create_study(
            study_name=name, storage=self.storage, sampler=sampler, directions=list(directions)
        )


def _fill(
    study: optuna.Study, spec: Mapping[str, Any], start: Sequence[Mapping[str, Any]]
) -> optuna.Study:
    """Write a search to an empty study: the mark, the trials to start from, the specification."""
    study.set_user_attr(BEGUN, value=True)
    for values in start:
        study.enqueue_trial(dict(values))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([objective["metric"] for objective in spec["objectives"]])
    study.set_user_attr(SPEC, dict(spec))
    return study


def _format_refusal(
    name: str, known: Mapping[str, Any] | None, spec: Mapping[str, Any], url: str
) -> str:
    if known is None:
        return (
            f"{url} has a study {name!r} that was not created by ibml; give the search another name"
        )
    before, now = flatten(dict(known)), flatten(dict(spec))
    changes = [format_change(path, before, now) for path in find_changed_paths(before, now)]
    head = (
        f"the search {name!r} in {url} has other settings, so its trials cannot be compared with"
        " new ones:"
    )
    return format_refusal(head, changes, "Use --new-version to start a new version of the search.")


@contextmanager
def translate_database_errors(url: str, opening: bool = False) -> Iterator[None]:
    """Raise errors of the database as `SearchDatabaseError` with a hint.

    Args:
        url: URL of the database.
        opening: True while the database is opened. Errors of the driver, of the URL and of the
            schema's version are then translated too; Optuna raises some as `RuntimeError`.

    Yields:
        Nothing.

    Raises:
        SearchDatabaseError: The database failed.
    """
    try:
        yield
    except IbmlError:
        raise
    except (*_FAILURES, OSError, RuntimeError, ImportError, ValueError) as error:
        if not opening and not isinstance(error, _FAILURES):
            raise
        said = " ".join(str(error.__cause__ or error).partition("[SQL")[0].split())
        shown = redact_url(url)
        words = redact_secrets(said, url)[:300]
        cause = error if shown == url else None  # a traceback would show the redacted password
        message = f"the search database {shown}: {words}{_suggest_fix(words)}"
        raise SearchDatabaseError(message) from cause


def _suggest_fix(words: str) -> str:
    kept = "; its content is kept: repeat the command to resume"
    if words.startswith("No module named"):
        extra = ": pip install 'ibml[postgres]'" if "psycopg" in words else ""
        return f" (install the database's driver{extra})"
    if "locked" in words:
        return f" (another process is writing to it{kept})"
    if "is full" in words or "No space left" in words:
        return f" (free disk space{kept})"
    if "readonly" in words or "unable to open" in words:
        return " (the file or its directory is not writable)"
    if "compatible" in words or "schema" in words:
        return (
            " (its schema is of another version of Optuna; `optuna storage upgrade --storage URL`"
            " upgrades it)"
        )
    return ""
