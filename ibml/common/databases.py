"""Database URLs: conversion between SQLite URLs and files, and connections with a time limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from pathlib import Path
from threading import Thread
from typing import TypeVar
from urllib.parse import parse_qsl, quote, unquote

T = TypeVar("T")

CONNECT_TIMEOUT_SECONDS = 10.0
"""Time limit for the first request to a store."""
_DRIVER_PARAMETERS = frozenset(
    (
        "autocommit",
        "cached_statements",
        "check_same_thread",
        "detect_types",
        "isolation_level",
        "timeout",
        "uri",
    )
)
_FILE_PARAMETERS = frozenset(("cache", "immutable", "mode", "modeof", "nolock", "psow", "vfs"))
"""SQLite's own parameters, which take effect with `uri=true` only."""
_EXAMPLE = "sqlite:///mlflow.db, or with an absolute path sqlite:////folder/mlflow.db"


def get_sqlite_path(url: str) -> Path | None:
    """Return the absolute path of the file that a SQLite URL names.

    Args:
        url: URL of a store, for example `sqlite:///mlflow.db?timeout=5`.

    Returns:
        The path, or None if the URL is not a SQLite URL.

    Raises:
        ValueError: If the URL names no file or has a parameter unknown to SQLite.
    """
    parsed = _parse_sqlite(url)
    return None if parsed is None else parsed[0]


def build_sqlite_url(file: Path, parameters: Mapping[str, str] | None = None) -> str:
    """Return the URL of a SQLite file, quoted so that SQLAlchemy reads the same path.

    Args:
        file: Path of the file.
        parameters: Connection parameters. With `uri`, SQLite's own are allowed too, such as `mode`.

    Returns:
        A URL that names the driver. Without a driver, MLflow would create the parent folders of the
        quoted path.
    """
    from sqlalchemy import URL

    given = dict(parameters or {})
    database = str(file.absolute())
    if "uri" in given:
        database = f"file:{quote(database)}"
    url = URL.create("sqlite+pysqlite", database=database, query=given)
    return url.render_as_string(hide_password=False)


def resolve_url(url: str, read_only: bool = False) -> str:
    """Return the URL with the absolute path of its SQLite file, or any other URL unchanged.

    Args:
        url: URL of a store.
        read_only: Open the file for reading only.

    Returns:
        The URL to connect to. It names the same file in every working directory.

    Raises:
        ValueError: See `get_sqlite_path`.
    """
    parsed = _parse_sqlite(url)
    if parsed is None:
        return url
    file, parameters = parsed
    if read_only:
        parameters |= {"mode": "ro", "uri": "true"}
    return build_sqlite_url(file, parameters)


def is_read_only(url: str) -> bool:
    """Return True if the parameters of a SQLite URL forbid writing."""
    parsed = _parse_sqlite(url)
    return parsed is not None and (
        parsed[1].get("mode") == "ro" or parsed[1].get("immutable", "0") not in ("0", "no")
    )


def _parse_sqlite(url: str) -> tuple[Path, dict[str, str]] | None:
    """Return the file and the parameters of a SQLite URL, or None for another URL."""
    scheme = url.partition(":")[0]
    if scheme.partition("+")[0] != "sqlite":
        return None
    if scheme not in ("sqlite", "sqlite+pysqlite"):
        raise ValueError(
            f"the driver {scheme.partition('+')[2]!r} is not supported; write sqlite:///FILE"
        )
    head, _, query = url.partition("?")
    path = head.removeprefix(f"{scheme}://")
    if path == head or (path and not path.startswith("/")):
        raise ValueError(f"the URL names no file; write {_EXAMPLE}")
    database = unquote(path[1:])
    parameters = _read_parameters(query)
    if parameters.get("uri", "false").lower() in ("1", "true", "yes", "on", "t", "y"):
        database, parameters = _read_file_uri(database, parameters)
    elif "uri" in parameters:
        del parameters["uri"]
    _refuse_unknown(parameters)
    if (
        database in ("", ":memory:")
        or parameters.get("mode") == "memory"
        or parameters.get("vfs") == "memdb"
    ):
        raise ValueError(f"an in-memory database is lost when the command ends; write {_EXAMPLE}")
    if "\0" in database:
        raise ValueError("the path contains a NUL character")
    return Path(database).absolute(), parameters


def _read_parameters(query: str) -> dict[str, str]:
    try:
        return dict(parse_qsl(query, keep_blank_values=True, strict_parsing=True)) if query else {}
    except ValueError:
        raise ValueError(
            f"{query!r} is not a list of parameters; write '?' in a path as %3F"
        ) from None


def _read_file_uri(database: str, parameters: dict[str, str]) -> tuple[str, dict[str, str]]:
    """Return the path and all parameters of SQLite's own URI form, `file:PATH?mode=ro`."""
    if not database.startswith("file:"):
        return database, parameters
    path, _, query = database.removeprefix("file:").partition("#")[0].partition("?")
    if path.startswith("//"):
        path = "/" + path[2:].partition("/")[2]
    return unquote(path), {**_read_parameters(query), **parameters}


def _refuse_unknown(parameters: Mapping[str, str]) -> None:
    known = _DRIVER_PARAMETERS | (_FILE_PARAMETERS if "uri" in parameters else frozenset())
    for name in parameters:
        if name in _FILE_PARAMETERS - known:
            raise ValueError(f"the parameter {name!r} takes effect only with uri=true")
        if name not in known:
            raise ValueError(f"SQLite has no parameter {name!r}; write '?' in a path as %3F")


def check_connection(url: str) -> None:
    """Open one connection to a database and close it.

    Args:
        url: URL of the database, of any dialect.

    Raises:
        TimeoutError: If the database does not respond within `CONNECT_TIMEOUT_SECONDS`.
        Exception: Any error of SQLAlchemy or of the driver.
    """
    from sqlalchemy import create_engine
    from sqlalchemy.pool import NullPool

    engine = create_engine(url, poolclass=NullPool)
    call_with_timeout(CONNECT_TIMEOUT_SECONDS, lambda: engine.connect().close())


def call_with_timeout(seconds: float, job: Callable[[], T]) -> T:
    """Call a function that may never return.

    Args:
        seconds: Time limit for the call. Drivers have different limits, and some have none.
        job: Function to call. It runs in a daemon thread, which is abandoned at the time limit.

    Returns:
        The result of the function.

    Raises:
        TimeoutError: If the function does not return in time.
    """
    future: Future[T] = Future()

    def run() -> None:
        try:
            future.set_result(job())
        except BaseException as error:  # noqa: BLE001 -- raised again by `result`
            future.set_exception(error)

    Thread(target=run, name="ibml-first-answer", daemon=True).start()
    try:
        return future.result(seconds)
    except TimeoutError:
        if future.done():
            raise
        raise TimeoutError(f"no answer within {seconds:g} seconds") from None
