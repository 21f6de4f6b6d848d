"""Stores with unusual paths and URIs, other schemas, read-only files, and silent servers."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import socket
import sqlite3
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from ibml.common import databases
from ibml.common.databases import get_sqlite_path, resolve_url
from ibml.common.errors import IbmlError
from ibml.queries import open_store
from ibml.search.database import Database, choose_url
from ibml.tracking.store import schema
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.peek import peek_trials
from ibml.tracking.store.uri import TrackingError, check_reachable, choose_uri
from tests.conftest import CommandLine, free_port
from tests.report.test_table import ACCURACY, study

OLDER = "1971f2d9a75b"
"""A revision of an MLflow that was released."""


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose store has a study."""
    folder = tmp_path_factory.mktemp("recorded")
    with MlflowStore(f"sqlite:///{folder}/mlflow.db").open_run(
        "study", study(ACCURACY), ""
    ) as opened:
        opened.status = "FINISHED"
    return folder


@pytest.fixture
def kept(recorded: Path, tmp_path: Path) -> Path:
    """A copy of that folder."""
    return Path(shutil.copytree(recorded, tmp_path / "kept"))


def digests(folder: Path) -> dict[str, str]:
    """Every file below a folder, by its content."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def revision(file: Path) -> str:
    with closing(sqlite3.connect(file)) as database:
        return str(database.execute("SELECT version_num FROM alembic_version").fetchone()[0])


def downgrade(file: Path, to: str = OLDER) -> None:
    """Convert a database back, by MLflow's own migrations."""
    import sqlalchemy
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config

    engine = sqlalchemy.create_engine(f"sqlite:///{file}")
    config = _get_alembic_config("")
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, to)
    engine.dispose()


SPACE = """\
name: small
base: mfeat
parameters: {optimizer.lr: {low: 0.001, high: 0.1}}
objectives: [{metric: val.accuracy}]
sampler: {type: random}
trials: 1
"""
NAMES = [
    "run?1",
    "run?2",
    "a#b;c",
    "50% + x%20y",
    " a&b=c:d ",
    "q'u\"oä世{SCHEMA_VERSION}",
]


@pytest.mark.slow
@pytest.mark.usefixtures("created_tables")
def test_a_store_lies_in_its_folder_whatever_that_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in NAMES:
        (tmp_path / name).mkdir()
        monkeypatch.chdir(tmp_path / name)
        store, database = MlflowStore(choose_uri(None)), Database(choose_url(None))
        run = store.client.create_run(store.experiment_id)
        store.client.log_text(run.info.run_id, "text", "file.txt")
        assert store.read_artifact(run.info.run_id, "file.txt") == "text"
        assert database.find("demo") is None
    for name in NAMES:
        folder = tmp_path / name
        assert {path.name for path in folder.iterdir()} == {"mlflow.db", "mlruns", "optuna.db"}
        with closing(sqlite3.connect(folder / "mlflow.db")) as opened:
            assert opened.execute("SELECT count(*) FROM runs").fetchone() == (1,)
    assert {path.name for path in tmp_path.iterdir()} == set(NAMES)


@pytest.mark.parametrize(
    "opened", [lambda uri: MlflowStore(uri).experiment_id, lambda uri: Database(uri).find("demo")]
)
@pytest.mark.parametrize(
    ("uri", "file"),
    [
        ("sqlite:///{}/a.db", "a.db"),
        ("sqlite:////{}/a.db", "a.db"),
        ("sqlite+pysqlite:///{}/a.db?timeout=5", "a.db"),
        ("sqlite:///{}/b%3Fc%20d.db", "b?c d.db"),
        ("sqlite:///file:{}/e%253Ff.db?uri=true", "e?f.db"),
        ("sqlite:///relative.db", "relative.db"),
        ("sqlite:///C:\\windows.db", "C:\\windows.db"),
    ],
)
def test_a_uri_names_one_file(
    opened: object, uri: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    opened(uri.format(tmp_path))  # type: ignore[operator]
    assert [path.name for path in tmp_path.iterdir()] == [file]
    found = get_sqlite_path(uri.format(tmp_path))
    assert found
    assert found.samefile(tmp_path / file)


@pytest.mark.parametrize(
    "opened", [lambda uri: MlflowStore(uri).client, lambda uri: Database(uri).storage]
)
@pytest.mark.parametrize(
    ("uri", "words"),
    [
        *(
            (uri, "in-memory database")
            for uri in (
                "sqlite://",
                "sqlite:///",
                "sqlite:///:memory:",
                "sqlite:///%3Amemory%3A",
                "sqlite:///?timeout=3",
                "sqlite+pysqlite://",
                "sqlite:///file::memory:?uri=true",
                "sqlite:///file:x?mode=memory&cache=shared&uri=true",
                "sqlite:///file:x%3Fmode=memory?uri=1",
            )
        ),
        ("sqlite://mlflow.db", "names no file; write sqlite:///mlflow.db"),
        ("sqlite:/mlflow.db", "names no file"),
        ("sqlite:///run?1/mlflow.db", "%3F"),
        ("sqlite:///run?a=b/mlflow.db", "no parameter 'a'"),
        ("sqlite:///x.db?mode=ro", "'mode' takes effect only with uri=true"),
        ("sqlite+aiosqlite:///x.db", "the driver 'aiosqlite' is not supported"),
        ("sqlite:///a%00b.db", "NUL"),
    ],
)
def test_a_uri_without_a_file_is_refused(
    opened: object, uri: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IbmlError) as caught:
        opened(uri)  # type: ignore[operator]
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_store_in_memory_is_refused_before_anything_trains(cli: CommandLine) -> None:
    answer = cli.inside("train", "mfeat", "--tracking-uri", "sqlite://")
    assert answer.code == 1
    assert "in-memory database" in answer.err
    cli.write("space.yaml", SPACE)
    answer = cli.inside("tune", "space.yaml", "--storage", "sqlite:///:memory:")
    assert (answer.code, answer.err.count("\n")) == (1, 1), answer.err
    assert "the search database sqlite:///:memory:: an in-memory database" in answer.err
    assert not (cli.folder / "mlflow.db").exists()


def test_blanks_around_a_uri_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///other.db \n")
    monkeypatch.setenv("OPTUNA_STORAGE", "\tsqlite:///search.db\r\n")
    assert choose_uri(None) == "sqlite:///other.db"
    assert choose_url(" ") == "sqlite:///search.db"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", " \n")
    assert choose_uri(None) == "sqlite:///mlflow.db"


def test_an_older_schema_is_read_and_never_converted(kept: Path) -> None:
    downgrade(kept / "mlflow.db")
    before, uri = digests(kept), f"sqlite:///{kept}/mlflow.db"
    store = open_store(uri, read_only=True)
    assert store.study("demo").name == "demo"
    assert [overview.name for overview in store.overview()] == ["demo"]
    assert store.results() == {}
    assert digests(kept) == before
    with pytest.raises(TrackingError) as caught:
        _ = open_store(uri).experiment_id
    assert f"revision {OLDER}" in str(caught.value)
    assert "run `mlflow db upgrade URI`" in str(caught.value)
    assert digests(kept) == before
    folder = Path(store.address.removeprefix("sqlite+pysqlite:///")).parent
    assert folder.is_dir()
    del store
    assert not folder.exists()


def test_an_unknown_schema_is_named(kept: Path) -> None:
    with closing(sqlite3.connect(kept / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        database.commit()
    before = digests(kept)
    for read_only in (True, False):
        with pytest.raises(
            TrackingError, match=r"does not know revision ffffffffffff .*: upgrade MLflow"
        ):
            _ = open_store(f"sqlite:///{kept}/mlflow.db", read_only=read_only).experiment_id
    assert digests(kept) == before


def test_the_database_of_another_program_is_refused(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/optuna.db"
    assert Database(uri).find("demo") is None
    before = digests(tmp_path)
    with pytest.raises(TrackingError, match="another program made the database"):
        _ = MlflowStore(uri).experiment_id
    assert digests(tmp_path) == before


@pytest.mark.parametrize("content", [b"", b"tables"])
def test_reading_makes_no_tables(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "mlflow.db"
    file.touch()
    if content:
        with closing(sqlite3.connect(file)) as database:
            database.execute("CREATE TABLE others (x)")
    before = digests(tmp_path)
    store = open_store(f"sqlite:///{file}", read_only=True)
    assert (store.overview(), store.results()) == ([], {})
    assert peek_trials(f"sqlite:///{file}").trials == ()
    with pytest.raises(TrackingError, match="no study is called 'demo'"):
        store.study("demo")
    with pytest.raises(
        TrackingError, match=r"nothing was run here yet: .* has no tables of MLflow"
    ):
        _ = store.client
    assert digests(tmp_path) == before


def test_reading_makes_no_experiment(kept: Path) -> None:
    before = digests(kept)
    store = MlflowStore(f"sqlite:///{kept}/mlflow.db", "another", read_only=True)
    assert (store.overview(), store.results(), store.names("study")) == ([], {}, [])
    with pytest.raises(TrackingError, match="no study is called 'demo'"):
        store.study("demo")
    assert digests(kept) == before


def test_a_database_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.db").write_text("this is no database, whatever its name says" * 100)
    (tmp_path / "folder.db").mkdir()
    for name, words in (
        ("text.db", "file is not a database"),
        ("folder.db", "is a folder"),
        ("none.db", "there is no"),
    ):
        with pytest.raises(TrackingError, match=words):
            open_store(f"sqlite:///{tmp_path}/{name}", read_only=True).names("study")
    assert not (tmp_path / "none.db").exists()


def test_a_locked_database_is_said(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_LOCK_SECONDS", 0.1)
    with closing(sqlite3.connect(kept / "mlflow.db", isolation_level=None)) as database:
        database.execute("BEGIN EXCLUSIVE")
        for read_only in (True, False):
            with pytest.raises(
                TrackingError, match=r"database is locked \(another process is writing to it\)"
            ):
                _ = open_store(f"sqlite:///{kept}/mlflow.db", read_only=read_only).client


@pytest.mark.parametrize(
    "opened", [lambda uri: MlflowStore(uri).client, lambda uri: Database(uri).storage]
)
def test_a_driver_that_is_not_installed_is_named(opened: object) -> None:
    with pytest.raises(IbmlError) as caught:
        opened("mysql+pymysql://u:p@host")  # type: ignore[operator]
    assert "mysql+pymysql://u:***@host" in str(caught.value)
    assert str(caught.value).endswith("No module named 'pymysql' (install the database's driver)")


def test_a_store_is_read_with_a_log_beside_it(kept: Path) -> None:
    """The database is in WAL mode, and some rows are only in its log."""
    with closing(sqlite3.connect(kept / "mlflow.db", isolation_level=None)) as database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("UPDATE runs SET status = 'FAILED'")
        assert (kept / "mlflow.db-wal").stat().st_size
        store = open_store(f"sqlite:///{kept}/mlflow.db", read_only=True)
        assert [overview.status for overview in store.overview()] == ["FAILED"]


def test_a_store_is_read_with_a_journal_that_a_killed_process_left(kept: Path) -> None:
    file, journal = kept / "mlflow.db", kept / "mlflow.db-journal"
    with closing(sqlite3.connect(file, isolation_level=None)) as database:
        database.execute("PRAGMA cache_size = 1")
        database.execute("BEGIN IMMEDIATE")
        database.execute("UPDATE runs SET status = 'KILLED'")
        database.execute("CREATE TABLE filler AS SELECT randomblob(1000000)")
        left = {path: path.read_bytes() for path in (file, journal)}
        database.execute("ROLLBACK")
    for path, content in left.items():
        path.write_bytes(content)
    before = digests(kept)
    store = open_store(f"sqlite:///{kept}/mlflow.db", read_only=True)
    assert [overview.status for overview in store.overview()] == ["FINISHED"]
    assert digests(kept) == before


@pytest.fixture(params=["rollback journal", "write-ahead log", "older schema"])
def read_only(request: pytest.FixtureRequest, kept: Path) -> Iterator[Path]:
    """The folder, mounted so that nobody can write to it: root may write to files of mode 444."""
    if request.param == "older schema":
        downgrade(kept / "mlflow.db")
    if request.param == "write-ahead log":
        with closing(sqlite3.connect(kept / "mlflow.db")) as database:
            database.execute("PRAGMA journal_mode = WAL")
    if os.geteuid() or subprocess.run(["mount", "--bind", kept, kept], check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", kept], check=True)
        yield kept
    finally:
        subprocess.run(["umount", "--lazy", kept], check=True)


@pytest.mark.slow
def test_a_read_only_store_is_read(read_only: Path, cli: CommandLine) -> None:
    uri = f"sqlite:///{read_only}/mlflow.db"
    listed = cli.inside("list", "--tracking-uri", uri)
    assert (listed.code, listed.err) == (0, "")
    assert "demo" in listed.out
    assert cli.inside("table", "demo", "--tracking-uri", uri).code == 0
    reported = cli.inside("report", "demo", "--tracking-uri", uri, "--to", "page.html")
    assert reported.code == 0, reported.err
    assert "The report was not added to the study's run." in reported.err
    assert "Read-only file system" in reported.err
    assert (cli.folder / "page.html").is_file()
    refused = cli.inside("sync", "--tracking-uri", uri)
    assert (refused.code, refused.err.count("\n")) == (1, 1)
    assert "cannot be written: Read-only file system" in refused.err


def test_a_report_goes_to_where_it_is_read_from(
    kept: Path, cli: CommandLine, recorded: Path
) -> None:
    before = digests(recorded)
    answer = cli.inside(
        "report", "demo", "--tracking-uri", f"sqlite:///{kept}/mlflow.db", "--to", "page.html"
    )
    assert (answer.code, answer.err) == (0, "")
    assert [path.name for path in kept.rglob("report.html")] == ["report.html"]
    assert digests(recorded) == before, (
        "MLflow still names the folder that the store was copied from"
    )


@pytest.fixture
def silent() -> Iterator[int]:
    """A port that accepts connections and says nothing."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        yield listening.getsockname()[1]


@pytest.mark.parametrize("scheme", ["postgresql", "postgresql+psycopg", "http"])
@pytest.mark.parametrize("read_only", [True, False])
def test_a_store_that_says_nothing_is_given_up(
    silent: int, scheme: str, read_only: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ibml.tracking.store import uri as module

    for place in (databases, module):
        monkeypatch.setattr(place, "CONNECT_TIMEOUT_SECONDS", 0.5)
    began = time.monotonic()
    with pytest.raises(TrackingError, match=r"no answer within 0\.5 seconds|Read timed out"):
        _ = open_store(f"{scheme}://127.0.0.1:{silent}/x", read_only=read_only).client
    assert time.monotonic() - began < 15


def test_a_search_database_that_says_nothing_is_given_up(
    silent: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(databases, "CONNECT_TIMEOUT_SECONDS", 0.5)
    with pytest.raises(IbmlError, match=r"search database .* no answer within 0\.5 seconds"):
        Database(f"postgresql://127.0.0.1:{silent}/x").open_storage()


@pytest.mark.parametrize(
    "opened", [lambda uri: MlflowStore(uri).client, lambda uri: Database(uri).storage]
)
def test_a_database_that_refuses_is_asked_once(opened: object) -> None:
    began = time.monotonic()
    with pytest.raises(IbmlError, match="Connection refused"):
        opened(f"postgresql://127.0.0.1:{free_port()}/x")  # type: ignore[operator]
    assert time.monotonic() - began < 20


class _Proxy(BaseHTTPRequestHandler):
    """Answers whatever it is asked that it may not."""

    def do_GET(self) -> None:
        self.send_response(403)
        self.end_headers()

    do_CONNECT = do_GET

    def log_message(self, *arguments: object) -> None:
        pass


class _Mlflow(_Proxy):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


@pytest.fixture
def addresses() -> Iterator[tuple[str, str]]:
    """Yield the addresses of a server, and of a proxy that refuses every request."""
    servers = [HTTPServer(("127.0.0.1", 0), handler) for handler in (_Mlflow, _Proxy)]
    for server in servers:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"127.0.0.1:{servers[0].server_port}", f"127.0.0.1:{servers[1].server_port}"
    for server in servers:
        server.shutdown()
        server.server_close()


def test_a_server_is_asked_as_mlflow_asks_it(
    addresses: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    server, proxy = addresses
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("http_proxy", f"http://me:hunter2@{proxy}")
    monkeypatch.setenv("https_proxy", f"http://{proxy}")
    for allowed in ("127.0.0.0/8", "127.0.0.1", "localhost,127.0.0.0/24"):
        monkeypatch.setenv("no_proxy", allowed)
        check_reachable(f"http://{server}")
    monkeypatch.delenv("no_proxy")
    for scheme, words in (
        ("http", "403 Forbidden"),
        ("https", "Tunnel connection failed: 403 Forbidden"),
    ):
        with pytest.raises(TrackingError) as caught:
            check_reachable(f"{scheme}://{server}")
        assert words in str(caught.value)
        assert f"@{proxy}" in str(caught.value) or f"http://{proxy}" in str(caught.value)
        assert "NO_PROXY=127.0.0.1" in str(caught.value)
        assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(
        TrackingError, match=r"Connection refused \(by the proxy http://127\.0\.0\.1"
    ):
        check_reachable(f"http://{server}")


def test_a_store_that_disappears_is_told_by_the_error_alone(kept: Path) -> None:
    store = MlflowStore(f"sqlite:///{kept}/mlflow.db")
    run = store.overview()[0].run_id
    told: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = told.append  # type: ignore[method-assign]
    logger = logging.getLogger("mlflow.store.db.utils")
    logger.addHandler(handler)
    try:
        (kept / "mlflow.db").unlink()
        with pytest.raises(TrackingError, match=r"mlflow\.db: \(sqlite3\.OperationalError\)"):
            store.tag_run(run, {"a": "b"})
    finally:
        logger.removeHandler(handler)
    assert not told


def test_a_resolved_uri_means_the_same_file_everywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    resolved = resolve_url("sqlite:///a?timeout=5")
    assert get_sqlite_path(resolved) == tmp_path / "a"
    assert resolved.endswith("?timeout=5")
    assert resolve_url(resolved) == resolved
    assert get_sqlite_path(resolve_url(resolved, read_only=True)) == tmp_path / "a"
    assert resolve_url("postgresql://h/x") == "postgresql://h/x"
