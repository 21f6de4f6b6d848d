"""Passwords in the addresses of stores and databases: nothing that ibml says has them."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ibml.common.errors import IbmlError
from ibml.common.redaction import redact_secrets, redact_url
from ibml.search.database import Database
from ibml.tracking.store.mlflow_store import MlflowStore

SECRET = "hunter2"


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("sqlite:///mlflow.db", "sqlite:///mlflow.db"),
        ("sqlite:////home/me@work:1/x.db", "sqlite:////home/me@work:1/x.db"),
        ("sqlite:///x.db?timeout=5", "sqlite:///x.db?timeout=5"),
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000"),
        ("http://[::1]:5000/path", "http://[::1]:5000/path"),
        ("postgresql://me@db/x", "postgresql://me@db/x"),
        ("postgresql://me:hunter2@db:5432/x", "postgresql://me:***@db:5432/x"),
        ("postgresql+psycopg://me:hunter2@[::1]/x?sslmode=require", "postgresql+psycopg://me:***@[::1]/x?sslmode=require"),
        ("postgresql://me@db/x?password=hunter2&sslmode=require", "postgresql://me@db/x?password=***&sslmode=require"),
        ("postgresql://me:hunter2@db/x?sslpassword=hunter2", "postgresql://me:***@db/x?sslpassword=***"),
        ("postgresql://db/x?user=me&p%61ssword=hunter2@1", "postgresql://db/x?user=me&p%61ssword=***"),
        ("postgresql://db/x?passfile=/a&PWD=hunter2", "postgresql://db/x?passfile=***&PWD=***"),
        ("mssql+pyodbc:///?odbc_connect=UID%3Dsa%3BPWD%3Dhunter2", "mssql+pyodbc:///?odbc_connect=***"),
        ("https://hunter2@server", "https://***@server"),
        ("https://hunter2:@server/path", "https://***@server/path"),
        ("https://server/?access_token=hunter2", "https://server/?access_token=***"),
        ("http://me:hun@ter2@server:80", "http://me:***@server:80"),
        ("http://me:hun/te?r#2@server:80", "http://me:***@server:80"),
        ("http://me:hunter2@[::1", "http://me:***@[::1"),
        ("postgresql:/me:hunter2@db/x", "postgresql:***@db/x"),
        ("postgresql:///me:hunter2@db/x", "postgresql:///me:***@db/x"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_url_is_shown_without_what_is_secret(url: str, shown: str) -> None:
    assert redact_url(url) == shown


@settings(max_examples=300, deadline=None, derandomize=True)
@given(st.text(min_size=4, max_size=20).filter(lambda text: text.isprintable() and "*" not in text))
def test_any_password_is_left_out_however_it_is_written(password: str) -> None:
    for written in (password, quote(password, safe="")):
        url = f"postgresql://me:{written}@127.0.0.1/x"
        assert redact_url(url) == "postgresql://me:***@127.0.0.1/x"
        said = (
            f"driver: {url} refused {password!r}, that is {password} or {quote(password, safe='')}"
        )
        left = redact_secrets(said, url)
        assert password not in left.replace("driver: postgresql://me:", "").replace(
            "@127.0.0.1/x refused", ""
        )


@pytest.mark.parametrize(
    ("url", "said", "left"),
    [
        ("mysql+pymysql://u:p@host", "No module named 'pymysql'", "No module named 'pymysql'"),
        (
            "mysql+pymysql://u:p@host",
            "mysql+pymysql://u:p@host: a pipe",
            "mysql+pymysql://u:***@host: a pipe",
        ),
        ("mysql+pymysql://u:a@host", "not a URL: 'a', u:a@host", "not a URL: '***', u:***@host"),
        (
            "mysql://u:a%40b@host",
            "is 'b@host' a host, or is a@b?",
            "is '***@host' a host, or is ***?",
        ),
        ("mysql+pymysql://u:pymy@host", "No module named 'pymysql'", "No module named 'pymysql'"),
        ("mysql://u:p%2fss@host", "p%2fss, p%2Fss, p/ss, p%252fss", "***, ***, ***, ***"),
        ("mysql://u:w%C3%A4rm%26@host", "wärm&, w%C3%A4rm%26, w%c3%a4rm%26", "***, ***, ***"),
        ("postgresql://h/x?password=q", "h/x?password=q, quite", "h/x?password=***, quite"),
        ("postgresql://h/x?password=q", "quick: password=q", "quick: password=***"),
        (
            "https://t@server",
            "https://t@server is not a tracking server",
            "https://***@server is not a tracking server",
        ),
    ],
)
def test_a_secret_is_masked_where_it_is_one(url: str, said: str, left: str) -> None:
    assert redact_secrets(said, url) == left


@pytest.mark.parametrize(
    "url",
    [
        "nothing://me:hunter2@127.0.0.1:1/x",
        "postgresql://me:hunter2@127.0.0.1:1/x",
        "postgresql+nothing://me:hunter2@127.0.0.1:1/x",
        "postgresql://me:hunter2@127.0.0.1:port/x",
        "postgresql:/me:hunter2@127.0.0.1/x",
        "postgresql://me@127.0.0.1:1/x?password=hunter2",
        "mysql+pymysql://me:hunter2@127.0.0.1:1/x",
        "mssql+pyodbc:///?odbc_connect=DRIVER%3Dx%3BPWD%3Dhunter2",
        "sqlite:////proc/nothing/x.db?password=hunter2",
        "http://me:hunter2@127.0.0.1:1",
        "http://me:hunter2/x@127.0.0.1:1",
        "http://hunter2@127.0.0.1:1",
        "http://me:a@hunter2@127.0.0.1:1",
        "http://127.0.0.1:hunter2@x",
        "http://me:hunter2@[::1",
        "me:hunter2@127.0.0.1",
    ],
)
@pytest.mark.parametrize(
    "opened", [lambda url: MlflowStore(url).client, lambda url: Database(url).storage]
)
def test_what_is_wrong_with_a_store_is_said_without_its_secrets(
    opened: Callable[[str], object], url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(IbmlError) as caught:
        opened(url)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
