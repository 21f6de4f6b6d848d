"""Where the store is, whether it is there, and its errors in a line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPException
from json import JSONDecodeError
from pathlib import Path
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import urlopen

from ibml.config.base import IbmlError
from ibml.config.urls import shown_url, without_secrets

# Read by mlflow when it is imported: no messages to its makers, no bars among ours; and since whoever writes tries
# again, a call that fails shall say so in seconds.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


DEFAULT_URI = "sqlite:///mlflow.db"
_REFUSALS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")


class TrackingError(IbmlError):
    """The store cannot be used: not reachable, not readable, or without what was asked for. `refused` says that it
    answered, and will not answer otherwise."""

    refused = False


def choose_uri(given: str | None) -> str:
    """The tracking URI: as given, else `MLFLOW_TRACKING_URI`, else a SQLite file in the working folder."""
    return given or os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_URI


def database_file(uri: str) -> Path | None:
    """The file of a SQLite store; nothing for any other."""
    path = uri.removeprefix("sqlite:///")
    return None if path == uri else Path(unquote(path.partition("?")[0])).absolute()


def resolved_uri(uri: str) -> str:
    """A SQLite URI with the absolute path of its file: MLflow keeps one engine per URI and process, whatever the
    working folder was when it met a relative one."""
    database = database_file(uri)
    if database is None:
        return uri
    return "".join([database_uri(database), *uri.partition("?")[1:]])


def database_uri(database: Path) -> str:
    """The URI of a SQLite file."""
    return f"sqlite:///{str(database).replace('%', '%25')}"


def server_address(uri: str) -> str:
    """Where a server is, without what is for its eyes alone."""
    parts = urlsplit(uri)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl().rstrip("/")


def check_reachable(uri: str) -> None:
    """MLflow repeats what fails for minutes, which at the start only hides a wrong URI."""
    database = database_file(uri)
    if database:
        try:
            database.open("ab").close()
        except OSError as error:
            raise TrackingError(f"MLflow at {shown_url(uri)}: {database} cannot be written: {error.strerror}") from None
    if uri.startswith(("http://", "https://")):
        try:
            urlopen(f"{server_address(uri)}/health", timeout=10).close()
        except HTTPError:
            return  # it answered
        except (OSError, ValueError, HTTPException) as error:
            words = without_secrets(str(error), uri)
            raise TrackingError(f"MLflow at {shown_url(uri)} does not answer: {words}") from None


@contextmanager
def as_tracking_error(uri: str, opening: bool = False) -> Iterator[None]:
    """MLflow's and the database's errors as one line that names the store, an answer that is no JSON among them, as of
    a proxy; while it is opened, also those of what reads its URI."""
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (MlflowException, SQLAlchemyError, OSError, ImportError, ValueError) as error:
        if isinstance(error, ValueError) and not (opening or isinstance(error, JSONDecodeError)):
            raise
        lines = [line for line in str(error).strip().splitlines() if not line.startswith("(raised as a result of")]
        first = lines or [type(error).__name__]
        shown, words = shown_url(uri), without_secrets(first[0], uri)[:300]
        wrapped = TrackingError(f"MLflow at {shown}: {words}")
        wrapped.refused = isinstance(error, MlflowException) and error.error_code in _REFUSALS
        raise wrapped from error if shown == uri else None  # a traceback would show what is left out here
