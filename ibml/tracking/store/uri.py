"""Tracking URIs: choice of a store, its reachability, and its errors as one line."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.client import HTTPException
from json import JSONDecodeError
from pathlib import Path
from sqlite3 import Error as SqliteError
from urllib.parse import urlsplit

from ibml.common.databases import (
    CONNECT_TIMEOUT_SECONDS,
    call_with_timeout,
    check_connection,
    get_sqlite_path,
)
from ibml.common.errors import IbmlError
from ibml.common.paths import get_home_folder
from ibml.common.redaction import redact_secrets, redact_url

# MLflow reads these when it is imported. No telemetry and no progress bars; failed calls are
# reported within seconds, because ibml retries them itself.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


DEFAULT_URI = "sqlite:///mlflow.db"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""Database dialects that MLflow supports."""
_PROXY_ANSWERS = (403, 407, 502, 503, 504)
"""HTTP statuses that a proxy returns in place of the server."""
_REFUSALS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")
"""MLflow's error codes that a retry cannot change."""


class TrackingError(IbmlError):
    """The store cannot be used: it does not respond, cannot be read, or lacks what was requested.

    Attributes:
        refused: True if the store responded, so that a retry fails too.
    """

    refused = False


def choose_uri(given: str | None) -> str:
    """Return the tracking URI of a command.

    Args:
        given: The user's choice. The default is `MLFLOW_TRACKING_URI`, then `mlflow.db` in the
            working folder.

    Returns:
        The URI.
    """
    chosen = (given or "").strip()
    if not chosen:
        chosen = os.environ.get("MLFLOW_TRACKING_URI", "").strip()
    return chosen or DEFAULT_URI


def get_database_file(uri: str) -> Path | None:
    """Return the file of a SQLite store, or None for other stores.

    Args:
        uri: URI of the store.

    Returns:
        The path of the file.

    Raises:
        TrackingError: A SQLite URI names no file.
    """
    try:
        return get_sqlite_path(uri)
    except ValueError as error:
        problem = redact_secrets(str(error), uri)
        raise TrackingError(f"MLflow at {redact_url(uri)}: {problem}") from None


def get_server_address(uri: str) -> str:
    """Return the address of a server without credentials, query and fragment."""
    parts = urlsplit(uri)
    return (
        parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        .geturl()
        .rstrip("/")
    )


def is_server(uri: str) -> bool:
    """Return whether the store is an MLflow server."""
    return uri.startswith(("http://", "https://"))


def is_database(uri: str) -> bool:
    """Return whether the store is a database that MLflow supports."""
    return uri.partition(":")[0].partition("+")[0] in DATABASES


def check_reachable(uri: str) -> None:
    """Check that a store responds. MLflow itself would retry for minutes.

    Args:
        uri: URI of the store. SQLite files are not checked.

    Raises:
        TrackingError: The store does not respond.
    """
    if is_server(uri):
        _check_server(uri)
    elif is_database(uri) and get_database_file(uri) is None:
        with translate_errors(uri, opening=True):
            check_connection(uri)


def _check_server(uri: str) -> None:
    """Send a request with MLflow's HTTP client, proxies, certificates and credentials."""
    get_home_folder()  # MLflow cannot be imported without one
    import requests
    from mlflow.utils.credentials import get_default_host_creds

    credentials = get_default_host_creds(uri)

    def request_health() -> int:
        with requests.get(
            f"{get_server_address(uri)}/health",
            timeout=CONNECT_TIMEOUT_SECONDS,
            verify=credentials.verify,
            cert=credentials.client_cert_path,
            stream=True,
        ) as response:
            return int(response.status_code)

    try:
        status = call_with_timeout(CONNECT_TIMEOUT_SECONDS, request_health)
    except (OSError, ValueError, HTTPException) as error:
        problem = redact_secrets(_extract_reason(error), uri)
        raise TrackingError(
            f"MLflow at {redact_url(uri)} does not respond: {problem}{_describe_proxy(uri)}"
        ) from None
    if status in _PROXY_ANSWERS and (proxy := _describe_proxy(uri)):
        problem = f"{status} {HTTPStatus(status).phrase}"
        raise TrackingError(f"MLflow at {redact_url(uri)} does not respond: {problem}{proxy}")


def _extract_reason(error: BaseException) -> str:
    """Return the innermost message of an error of urllib3, without the names of objects in it."""
    inner = next((part for part in error.args if isinstance(part, BaseException)), None)
    if inner is None:
        inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException) and inner is not error:
        return _extract_reason(inner)
    prefix, _, message = str(error).partition(": ")
    if message and prefix.startswith(("<urllib3", "HTTP")):
        return message
    return str(error) or type(error).__name__


def _describe_proxy(uri: str) -> str:
    """Return a note about the proxy of a server and how to avoid it; empty without a proxy."""
    from requests.utils import get_environ_proxies, select_proxy

    try:
        address = get_server_address(uri)
        proxy = select_proxy(address, get_environ_proxies(address))
        host = urlsplit(address).hostname
    except ValueError:  # an invalid address; the error itself reports it
        return ""
    if not proxy:
        return ""
    shown = redact_url(proxy)
    return f" (by the proxy {shown} of the environment; set NO_PROXY={host} to avoid it)"


@contextmanager
def translate_errors(uri: str, opening: bool = False) -> Iterator[None]:
    """Raise errors of MLflow and of its database as `TrackingError`, with a message of one line.

    A response that is not JSON, for example from a proxy, is translated too.

    Args:
        uri: URI of the store, for the message.
        opening: If True, errors of parsing the URI are translated as well.

    Yields:
        Nothing; errors inside the context are translated.

    Raises:
        TrackingError: The translated error.
    """
    get_home_folder()  # MLflow cannot be imported without one
    from alembic.util import CommandError
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    known = (
        MlflowException,
        SQLAlchemyError,
        CommandError,
        SqliteError,
        OSError,
        ImportError,
        ValueError,
    )
    try:
        yield
    except known as error:
        is_programming_error = isinstance(error, ValueError) and not isinstance(
            error, JSONDecodeError
        )
        if is_programming_error and not opening:
            raise
        shown = redact_url(uri)
        problem = redact_secrets(_extract_first_line(error), uri)[:300]
        translated = TrackingError(f"MLflow at {shown}: {problem}{_suggest_remedy(problem)}")
        is_refusal = isinstance(error, MlflowException) and error.error_code in _REFUSALS
        translated.refused = is_refusal
        # The traceback of the original error would show the secrets of the URI.
        raise translated from error if shown == uri else None


def _extract_first_line(error: BaseException) -> str:
    for line in str(error).strip().splitlines():
        if not line.startswith("(raised as a result of"):  # a header of SQLAlchemy
            return line
    return type(error).__name__


def _suggest_remedy(problem: str) -> str:
    """Return what to do about an error of a database or of its driver, in parentheses, or empty."""
    if "database is locked" in problem:
        return " (another process is writing to it)"
    if "is full" in problem or "No space left" in problem:
        return " (free disk space)"
    if problem.startswith("No module named"):
        command = ": pip install 'ibml[postgres]'" if "psycopg" in problem else ""
        return f" (install the database's driver{command})"
    return ""
