"""A user without a home folder, and one whose home cannot be used."""

from __future__ import annotations

import os
import pwd
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import pytest

from ibml.common.errors import IbmlError
from ibml.common.paths import (
    HomeError,
    expand_home,
    get_cache_folder,
    get_state_folder,
    get_user_folder,
)
from ibml.common.storage import parse_storage_path
from ibml.config.plugins.allowlist import find_allowed_package, get_user_file
from ibml.study.ray.cluster import set_ray_environment
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.result_cache import ResultCache, resolve_cache_file
from tests.conftest import CommandLine


@pytest.fixture
def homeless(monkeypatch: pytest.MonkeyPatch) -> None:
    """Simulate a container with an arbitrary user id: no HOME and no user entry."""

    def unknown(uid: int) -> pwd.struct_passwd:
        raise KeyError(f"getpwuid(): uid not found: {uid}")

    for name in (
        "HOME",
        "XDG_CONFIG_HOME",
        "XDG_STATE_HOME",
        "XDG_CACHE_HOME",
        "IBML_CACHE",
        "MLFLOW_TRACKING_URI",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)


def _ray_environment() -> None:
    with set_ray_environment("127.0.0.1:1"):
        pass


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    "call",
    [
        get_user_file,
        lambda: find_allowed_package("package"),
        get_state_folder,
        get_cache_folder,
        lambda: expand_home("~/x"),
        _ray_environment,
        lambda: MlflowStore("sqlite:///never.db").experiment_id,
        lambda: MlflowStore("http://127.0.0.1:1").client,
        lambda: MlflowStore("postgresql://127.0.0.1:1/x").client,
    ],
)
def test_a_home_that_is_needed_and_not_there_is_named(
    call: Callable[[], object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        HomeError, match=rf"HOME is not set, .* user {os.getuid()}: set HOME to a folder"
    ):
        call()
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("kind", "default"),
    [("cache", ".cache/ibml"), ("config", ".config/ibml"), ("state", ".local/state/ibml")],
)
def test_folders_of_the_user_stay_where_they_were(
    kind: Literal["cache", "config", "state"],
    default: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", "/home/me")
    for value, expected in [
        (None, f"/home/me/{default}"),
        ("", f"/home/me/{default}"),
        ("/var/mine", "/var/mine/ibml"),
        ("~/mine", "/home/me/mine/ibml"),
        ("mine", f"{tmp_path}/mine/ibml"),
    ]:
        if value is None:
            monkeypatch.delenv(f"XDG_{kind.upper()}_HOME", raising=False)
        else:
            monkeypatch.setenv(f"XDG_{kind.upper()}_HOME", value)
        assert get_user_folder(kind) == Path(expected)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("homeless")
@pytest.mark.parametrize(
    "arguments",
    [("train", "mfeat"), ("sync",), ("cluster", "check"), ("logs", "study"), ("stop", "study")],
)
def test_a_command_without_a_home_ends_in_one_line(
    cli: CommandLine, arguments: tuple[str, ...]
) -> None:
    answer = cli.inside(*arguments)
    assert answer.code == 1
    assert "set HOME to a folder" in answer.err
    assert answer.err.count("\n") == 1


@pytest.mark.usefixtures("homeless")
def test_what_needs_no_home_does_without(cli: CommandLine) -> None:
    assert resolve_cache_file("sqlite:///x", "1", 2) is None
    assert cli.inside("schema", "trial").code == 0
    cli.write(
        "smoke.yaml",
        "name: s\nbase: mfeat\ndesign: {type: arms, reference: A, arms: {A: {}}}\nseeds: 1\n",
    )
    answer = cli.inside("ablate", "smoke.yaml", "--dry-run")
    assert (answer.code, answer.err) == (0, "")


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "~nobody-of-this-name"])
def test_the_home_of_an_unknown_user_is_named(path: str) -> None:
    with pytest.raises(IbmlError, match="there is no user 'nobody-of-this-name'"):
        expand_home(path)
    with pytest.raises(ValueError, match="names a home folder that does not exist"):
        parse_storage_path(path)


def test_a_cache_in_a_home_that_cannot_be_used_is_done_without(tmp_path: Path) -> None:
    cache = ResultCache(tmp_path / ("x" * 300) / "results.sqlite")
    assert cache.read().records == {}
    cache.write([], [], [], 1)
