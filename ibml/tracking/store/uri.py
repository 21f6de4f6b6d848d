"""Where the store is, whether it is there, and its errors in a line."""

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

# Read by mlflow when it is imported: no messages to its makers, no bars among ours; and since whoever writes tries
# again, a call that fails shall say so in seconds.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "15")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


DEFAULT_URI = "sqlite:///mlflow.db"
DATABASES = ("sqlite", "postgresql", "mysql", "mssql")
"""The dialects of databases that MLflow uses."""
_PROXY_ANSWERS = (403, 407, 502, 503, 504)
"""What a proxy answers in the place of a server."""
_REFUSALS = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "INVALID_STATE")


class TrackingError(IbmlError):
    """The store cannot be used: not reachable, not readable, or without what was asked for. `refused` says that it
    answered, and will not answer otherwise."""

    refused = False


def choose_uri(given: str | None) -> str:
    """The tracking URI: as given, else `MLFLOW_TRACKING_URI`, else a SQLite file in the working folder."""
    return (given or "").strip() or os.environ.get("MLFLOW_TRACKING_URI", "").strip() or DEFAULT_URI


def get_database_file(uri: str) -> Path | None:
    """The file of a SQLite store; nothing for any other. Raises `TrackingError` where a SQLite URI names no file."""
    try:
        return get_sqlite_path(uri)
    except ValueError as error:
        raise TrackingError(
            f"MLflow at {redact_url(uri)}: {redact_secrets(str(error), uri)}"
        ) from None


def get_server_address(uri: str) -> str:
    """Where a server is, without what is for its eyes alone."""
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
    """Return whether the store is a database that MLflow uses."""
    return uri.partition(":")[0].partition("+")[0] in DATABASES


def check_reachable(uri: str) -> None:
    """Ask the store for one answer, since MLflow repeats for minutes what fails.

    Args:
        uri: The URI of the store. A SQLite file is left alone.

    Raises:
        TrackingError: The store does not answer.
    """
    if is_server(uri):
        _check_server(uri)
    elif is_database(uri) and get_database_file(uri) is None:
        with translate_errors(uri, opening=True):
            check_connection(uri)


def _check_server(uri: str) -> None:
    """Ask as MLflow does, with the same client: it knows the same proxies, certificates and passwords."""
    get_home_folder()  # MLflow cannot be imported without one
    import requests
    from mlflow.utils.credentials import get_default_host_creds

    credentials = get_default_host_creds(uri)

    def ask() -> int:
        with requests.get(
            f"{get_server_address(uri)}/health",
            timeout=CONNECT_TIMEOUT_SECONDS,
            verify=credentials.verify,
            cert=credentials.client_cert_path,
            stream=True,
        ) as response:
            return int(response.status_code)

    try:
        status = call_with_timeout(CONNECT_TIMEOUT_SECONDS, ask)
    except (OSError, ValueError, HTTPException) as error:
        words = redact_secrets(_extract_reason(error), uri)
        raise TrackingError(
            f"MLflow at {redact_url(uri)} does not answer: {words}{_describe_proxy(uri)}"
        ) from None
    if status in _PROXY_ANSWERS and (proxy := _describe_proxy(uri)):
        words = f"{status} {HTTPStatus(status).phrase}"
        raise TrackingError(f"MLflow at {redact_url(uri)} does not answer: {words}{proxy}")


def _extract_reason(error: BaseException) -> str:
    """The innermost words of an error of urllib3, which wraps errors in errors and names objects in them."""
    inner = next((part for part in error.args if isinstance(part, BaseException)), None)
    inner = getattr(error, "reason", None) if inner is None else inner
    if isinstance(inner, BaseException) and inner is not error:
        return _extract_reason(inner)
    words = str(error).partition(": ")
    return (
        words[2]
        if words[0].startswith(("<urllib3", "HTTP")) and words[2]
        else str(error) or type(error).__name__
    )


def _describe_proxy(uri: str) -> str:
    """By which proxy a request to a server goes, and how to go without."""
    from requests.utils import get_environ_proxies, select_proxy

    try:
        address = get_server_address(uri)
        proxy, host = (
            select_proxy(address, get_environ_proxies(address)),
            urlsplit(address).hostname,
        )
    except ValueError:  # it is no address, which the error itself says
        return ""
    if not proxy:
        return ""
    return (
        f" (by the proxy {redact_url(proxy)} of the environment; NO_PROXY={host} goes without it)"
    )


@contextmanager
def translate_errors(uri: str, opening: bool = False) -> Iterator[None]:
    """MLflow's and the database's errors as one line that names the store, an answer that is no JSON among them, as of
    a proxy; while it is opened, also those of what reads its URI."""
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
        if isinstance(error, ValueError) and not (opening or isinstance(error, JSONDecodeError)):
            raise
        lines = [
            line
            for line in str(error).strip().splitlines()
            if not line.startswith("(raised as a result of")
        ]
        first = lines or [type(error).__name__]
        shown, words = redact_url(uri), redact_secrets(first[0], uri)[:300]
        wrapped = TrackingError(f"MLflow at {shown}: {words}{_suggest_remedy(words)}")
        wrapped.refused = isinstance(error, MlflowException) and error.error_code in _REFUSALS
        raise wrapped from (
            error if shown == uri else None
        )  # a traceback would show what is left out here


def _suggest_remedy(words: str) -> str:
    """What a person can do about an error of a database or of its driver."""
    if "database is locked" in words:
        return " (another process is writing to it)"
    if "is full" in words or "No space left" in words:
        return " (make room)"
    if words.startswith("No module named"):
        return " (install the database's driver" + (
            ": pip install 'ibml[postgres]')" if "psycopg" in words else ")"
        )
    return ""
