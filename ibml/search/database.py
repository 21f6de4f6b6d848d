"""The database of searches: Optuna's own, so that its tools and optuna-dashboard read it."""

from __future__ import annotations

import json
import logging
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from typing import Any

import optuna
from optuna.storages import BaseStorage
from sqlalchemy.exc import SQLAlchemyError

from ibml.config.base import IbmlError
from ibml.config.space import Direction
from ibml.config.trial import flatten
from ibml.config.urls import shown_url, without_secrets
from ibml.databases import connect_once, resolve_url, sqlite_file
from ibml.search.samplers import RepeatableSampler

DEFAULT_URL = "sqlite:///optuna.db"
LOCK_SECONDS = 60
"""How long a SQLite file may be locked by another process before that is an error."""
SPEC = "ibml.spec"
"""The study attribute that says what is searched. It is written last, so a study without it was begun and cut off."""
_FAILURES = (SQLAlchemyError, optuna.exceptions.StorageInternalError)


class SearchDatabaseError(IbmlError):
    """The database cannot be used, or holds something else under the name of the search."""


def choose_url(given: str | None) -> str:
    """The database's URL: as given, else `OPTUNA_STORAGE`, else a SQLite file in the working folder."""
    return (given or "").strip() or os.environ.get("OPTUNA_STORAGE", "").strip() or DEFAULT_URL


class Database:
    """Optuna's studies at a URL. Every method raises `SearchDatabaseError` where the database does not answer."""

    def __init__(self, url: str):
        self.url = url

    @cached_property
    def storage(self) -> BaseStorage:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        logging.getLogger("alembic").setLevel(logging.ERROR)
        with as_database_error(self.url, opening=True):
            address = resolve_url(self.url)
            is_file = sqlite_file(self.url) is not None
            if not is_file:
                connect_once(address)
            waiting = {"connect_args": {"timeout": LOCK_SECONDS}} if is_file else {}
            return optuna.storages.get_storage(optuna.storages.RDBStorage(address, engine_kwargs=waiting))

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
        with as_database_error(self.url):
            versions = self._versions(name)
            for version, known in versions.items():
                if known == dict(spec):
                    return optuna.load_study(study_name=version, storage=self.storage, sampler=sampler)
                if known is None and self._is_empty(version):  # it was cut off while it was made
                    optuna.delete_study(study_name=version, storage=self.storage)
                    return self._fill(version, spec, directions, start, sampler)
            if versions and not new_version:
                latest = list(versions)[-1]
                raise SearchDatabaseError(_refusal(latest, versions[latest], spec, shown_url(self.url)))
            return self._fill(_next_version(name, list(versions)), spec, directions, start, sampler)

    def _versions(self, name: str) -> dict[str, dict[str, Any] | None]:
        """The versions of a search, oldest first, each with its spec."""
        found = {}
        for study in self.storage.get_all_studies():
            if study.study_name == name or re.fullmatch(rf"{re.escape(name)} v\d+", study.study_name):
                found[study.study_name] = study.user_attrs.get(SPEC)
        return dict(sorted(found.items(), key=lambda item: _version(item[0])))

    def _is_empty(self, name: str) -> bool:
        trials = self.storage.get_all_trials(self.storage.get_study_id_from_name(name), deepcopy=False)
        return all(trial.state == optuna.trial.TrialState.WAITING for trial in trials)

    def _fill(
        self,
        name: str,
        spec: Mapping[str, Any],
        directions: Sequence[Direction],
        start: Sequence[Mapping[str, Any]],
        sampler: RepeatableSampler,
    ) -> optuna.Study:
        study = optuna.create_study(
            study_name=name,
            storage=self.storage,
            sampler=sampler,
            directions=list(directions),
        )
        for values in start:
            study.enqueue_trial(dict(values))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            study.set_metric_names([objective["metric"] for objective in spec["objectives"]])
        study.set_user_attr(SPEC, dict(spec))
        return study

    def find(self, name: str) -> optuna.Study | None:
        """The latest version of a search, if there is one."""
        with as_database_error(self.url):
            versions = self._versions(name)
            return optuna.load_study(study_name=list(versions)[-1], storage=self.storage) if versions else None


def _version(name: str) -> int:
    found = re.search(r" v(\d+)$", name)
    return int(found[1]) if found else 1


def _next_version(name: str, known: list[str]) -> str:
    return f"{name} v{_version(known[-1]) + 1}" if known else name


def _refusal(name: str, known: Mapping[str, Any] | None, spec: Mapping[str, Any], url: str) -> str:
    if known is None:
        return f"{url} has a study {name!r} that ibml did not make; give the search another name"
    before, now = flatten(dict(known)), flatten(dict(spec))
    changed = [path for path in dict.fromkeys([*before, *now]) if before.get(path) != now.get(path)]
    lines = [f"  {path}: {_shown(before, path)} -> {_shown(now, path)}" for path in changed[:12]]
    more = [f"  and {len(changed) - 12} more"] if len(changed) > 12 else []
    head = f"the search {name!r} in {url} was made with other settings; its trials cannot be compared with new ones:"
    return "\n".join([head, *lines, *more, "Say --new-version to begin another search beside it."])


def _shown(flat: Mapping[str, Any], path: str) -> str:
    return json.dumps(flat[path]) if path in flat else "nothing"


@contextmanager
def as_database_error(url: str, opening: bool = False) -> Iterator[None]:
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
        shown, words = shown_url(url), without_secrets(said, url)[:300]
        cause = error if shown == url else None  # a traceback would show what is left out here
        raise SearchDatabaseError(f"the search database {shown}: {words}{_advice(words)}") from cause


def _advice(words: str) -> str:
    kept = "; what is in it is kept, and the same command goes on"
    if words.startswith("No module named"):
        return " (install the database's driver" + (": pip install 'ibml[postgres]')" if "psycopg" in words else ")")
    if "locked" in words:
        return f" (another process is writing to it{kept})"
    if "is full" in words or "No space left" in words:
        return f" (make room{kept})"
    if "readonly" in words or "unable to open" in words:
        return " (the file or its folder cannot be written)"
    if "compatible" in words or "schema" in words:
        return " (made by another version of Optuna: `optuna storage upgrade --storage URL` brings it up to date)"
    return ""
