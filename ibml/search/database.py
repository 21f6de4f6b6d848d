"""The database of searches: Optuna's own, so that its tools and optuna-dashboard read it."""

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
"""How long a SQLite file may be locked by another process before that is an error."""
BEGUN = "ibml.begun"
"""The study attribute that is written first: with it, and without `SPEC`, a study is one that ibml did not finish."""
_FAILURES = (SQLAlchemyError, optuna.exceptions.StorageInternalError)


class SearchDatabaseError(IbmlError):
    """The database cannot be used, or holds something else under the name of the search."""


class Database:
    """Optuna's studies at a URL. Every method raises `SearchDatabaseError` where the database does not answer."""

    def __init__(self, url: str):
        self.url = url

    @cached_property
    def storage(self) -> BaseStorage:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        with translate_database_errors(self.url, opening=True):
            address = resolve_url(self.url)
            is_file = get_sqlite_path(self.url) is not None
            if not is_file:
                check_connection(address)
            waiting = {"connect_args": {"timeout": LOCK_SECONDS}} if is_file else {}
            return optuna.storages.get_storage(
                optuna.storages.RDBStorage(address, engine_kwargs=waiting)
            )

    def open_storage(self) -> None:
        """Connect now, so that a database that cannot be used is known before anything is trained.

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
        """The study of a search as it stands, or a new one in which the trials to start from are waiting.

        The version that was made with the same `spec` goes on. Where there is none, the name is refused with what
        differs, unless it is free or a new version is asked for: `NAME v2`, and so on.
        """
        with translate_database_errors(self.url):
            versions = self._load_versions(name)
            for version, known in versions.items():
                if known == dict(spec):
                    return optuna.load_study(
                        study_name=version, storage=self.storage, sampler=sampler
                    )
                if known is None and self._is_cut_off(version):
                    optuna.delete_study(study_name=version, storage=self.storage)
                    return _fill(self._create(version, directions, sampler), spec, start)
                if known is None and self._is_blank(version, directions):
                    study = optuna.load_study(
                        study_name=version, storage=self.storage, sampler=sampler
                    )
                    return _fill(study, spec, start)
            if versions and not new_version:
                latest = list(versions)[-1]
                raise SearchDatabaseError(
                    _format_refusal(latest, versions[latest], spec, redact_url(self.url))
                )
            study = self._create(get_next_version(name, list(versions)), directions, sampler)
            return _fill(study, spec, start)

    def _load_versions(self, name: str) -> dict[str, dict[str, Any] | None]:
        """The versions of a search, oldest first, each with its spec."""
        found = {
            study.study_name: study.user_attrs.get(SPEC) for study in self.storage.get_all_studies()
        }
        return {version: found[version] for version in select_versions(name, found)}

    def _is_cut_off(self, name: str) -> bool:
        """Return whether ibml was ended while it made this study. A study of other origin lacks ibml's mark."""
        study_id = self.storage.get_study_id_from_name(name)
        trials = self.storage.get_all_trials(study_id, deepcopy=False)
        waiting = all(trial.state == optuna.trial.TrialState.WAITING for trial in trials)
        return waiting and BEGUN in self.storage.get_study_user_attrs(study_id)

    def _is_blank(self, name: str, directions: Sequence[Direction]) -> bool:
        """Return whether a study has nothing in it and can be filled, as after an end before the first mark."""
        study = optuna.load_study(study_name=name, storage=self.storage)
        same = [direction.name.lower() for direction in study.directions] == list(directions)
        return same and not study.user_attrs and not study.get_trials(deepcopy=False)

    def _create(
        self, name: str, directions: Sequence[Direction], sampler: RepeatableSampler
    ) -> optuna.Study:
        return optuna.create_study(
            study_name=name, storage=self.storage, sampler=sampler, directions=list(directions)
        )

    def find(self, name: str) -> optuna.Study | None:
        """The latest version of a search, if there is one."""
        with translate_database_errors(self.url):
            versions = self._load_versions(name)
            return (
                optuna.load_study(study_name=list(versions)[-1], storage=self.storage)
                if versions
                else None
            )


def _fill(
    study: optuna.Study, spec: Mapping[str, Any], start: Sequence[Mapping[str, Any]]
) -> optuna.Study:
    """Put a search into an empty study: the mark, the trials to start from and, last, what is searched."""
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
        return f"{url} has a study {name!r} that ibml did not make; give the search another name"
    before, now = flatten(dict(known)), flatten(dict(spec))
    changes = [format_change(path, before, now) for path in find_changed_paths(before, now)]
    head = f"the search {name!r} in {url} was made with other settings; its trials cannot be compared with new ones:"
    return format_refusal(head, changes, "Say --new-version to begin another search beside it.")


@contextmanager
def translate_database_errors(url: str, opening: bool = False) -> Iterator[None]:
    """The database's errors as one line that says what to do; while it is opened, also those of its driver, of what
    reads its URL, and of its schema's version, which Optuna raises as plain runtime errors."""
    try:
        yield
    except IbmlError:
        raise
    except (*_FAILURES, OSError, RuntimeError, ImportError, ValueError) as error:
        if not opening and not isinstance(error, _FAILURES):
            raise
        said = " ".join(str(error.__cause__ or error).partition("[SQL")[0].split())
        shown, words = redact_url(url), redact_secrets(said, url)[:300]
        cause = error if shown == url else None  # a traceback would show what is left out here
        raise SearchDatabaseError(
            f"the search database {shown}: {words}{_suggest_fix(words)}"
        ) from cause


def _suggest_fix(words: str) -> str:
    kept = "; what is in it is kept, and the same command goes on"
    if words.startswith("No module named"):
        return " (install the database's driver" + (
            ": pip install 'ibml[postgres]')" if "psycopg" in words else ")"
        )
    if "locked" in words:
        return f" (another process is writing to it{kept})"
    if "is full" in words or "No space left" in words:
        return f" (make room{kept})"
    if "readonly" in words or "unable to open" in words:
        return " (the file or its folder cannot be written)"
    if "compatible" in words or "schema" in words:
        return " (made by another version of Optuna: `optuna storage upgrade --storage URL` brings it up to date)"
    return ""
