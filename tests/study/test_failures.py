"""Errors in a user's code are reported with file and line, wherever they are raised."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from ibml import data
from ibml.common.errors import ConfigError
from ibml.config.plugins import allowlist as plugin_allowlist
from ibml.config.plugins import plugin_config as plugins
from ibml.config.plugins.failures import describe_failure
from ibml.config.trial import TrialConfig
from ibml.data import DataError
from ibml.study.engine.worker import TrialWorker
from ibml.study.planning.plan import load_trial
from tests.conftest import CommandLine

PARTS = """\
import json

import torch
from torch import nn

import kit_helper
from ibml.config.base import Config
from ibml.data.base import Source
from ibml.methods import Method
from ibml.models.fusions.concat.fusion import Concat


class Bad(Method):
    class Options(Config):
        how: str

    def start_epoch(self, epoch):
        match self.options.how:
            case "raise":
                raise RuntimeError("trouble")  # raise
            case "torch":
                torch.ones(3, 4) @ torch.ones(3, 4)  # torch
            case "python":
                json.loads("{")  # python
            case "long":
                raise ValueError("x" * 3000)  # long
            case "helper":
                kit_helper.fail()


class Fuse(Concat):
    def __init__(self, options, modalities, widths, classes):
        super().__init__(options, modalities, widths, classes)

    def forward(self, features):
        return super().forward([feature[:, :7] for feature in features])  # fusion


class Net(nn.Module):
    def __init__(self, options, shape, features):
        super().__init__()
        self.layer = nn.Linear(*shape, features)

    def forward(self, x):
        return self.layer(x[:, :7])  # encoder


class Numbers(Source):
    kinds = {"a": "vector", "b": "vector"}

    def fingerprint(self):
        return "abc"

    def load(self, modalities, seed):
        return int("x")  # load


class Nameless(Numbers):
    def fingerprint(self):
        return open("/none/such")  # fingerprint


class Odd(Method):
    class Options(Config):
        def problems(self, trial):
            return torch.ones(3, 4) @ torch.ones(3, 4)  # problems
"""
HELPER = """\
def fail():
    return {}["missing"]  # helper
"""
FILES = {"kit_helper.py": HELPER, "kit/parts.py": PARTS}


@pytest.fixture
def kit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a plug-in package that is allowed, and a module that it uses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugin_allowlist.VARIABLE, "kit")
    monkeypatch.setattr(sys, "path", [*sys.path, str(tmp_path)])
    (tmp_path / "kit").mkdir()
    (tmp_path / "kit" / "__init__.py").touch()
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    yield tmp_path
    for name in [name for name in sys.modules if name.partition(".")[0] in ("kit", "kit_helper")]:
        del sys.modules[name]
    for cached in (plugins.hash_source, plugins.resolve_target, plugin_allowlist.load_user_config):
        cached.cache_clear()


def line_of(mark: str) -> str:
    """The place of the line with this mark, as a message should have it."""
    for name, text in FILES.items():
        for number, line in enumerate(text.splitlines(), 1):
            if line.endswith(f"  # {mark}"):
                return f"{name}:{number}"
    raise AssertionError(mark)


def plugged(name: str, **more: Any) -> dict[str, Any]:
    return {"type": "plugin", "target": f"kit.parts:{name}", **more}


def step(**parts: Any) -> dict[str, Any]:
    """Return the report of a worker on a trial's first step."""
    plain = {
        "data": {"type": "mfeat"},
        "encoders": {"default": {"type": "mlp"}},
        "trainer": {"epochs": 1},
        **parts,
    }
    config = TrialConfig.model_validate(plain)
    worker = TrialWorker()
    worker.assign(
        {"task": 0, "trial": config.model_dump(mode="json"), "folder": "states", "rungs": []}
    )
    return worker.step()


@pytest.mark.parametrize(
    ("parts", "error", "mark"),
    [
        (
            {"method": plugged("Bad", options={"how": "raise"})},
            r"RuntimeError\('trouble'\)",
            "raise",
        ),
        (
            {"method": plugged("Bad", options={"how": "torch"})},
            r"RuntimeError\('mat1 and mat2 .*\)",
            "torch",
        ),
        ({"method": plugged("Bad", options={"how": "python"})}, r"JSONDecodeError\(.*\)", "python"),
        ({"method": plugged("Bad", options={"how": "helper"})}, r"KeyError\('missing'\)", "helper"),
        (
            {"method": plugged("Bad", options={"how": "long"})},
            r"ValueError\('x{420,440}\.\.\.",
            "long",
        ),
        ({"method": {"type": "joint"}, "fusion": plugged("Fuse")}, "RuntimeError.*", "fusion"),
        (
            {"method": {"type": "joint"}, "encoders": {"default": plugged("Net", features=4)}},
            "RuntimeError.*",
            "encoder",
        ),
        ({"method": {"type": "joint"}, "data": plugged("Numbers")}, "ValueError.*", "load"),
    ],
)
def test_a_worker_names_the_line_of_the_users_code(
    kit: Path, parts: dict[str, Any], error: str, mark: str
) -> None:
    if torch.cuda.is_initialized():
        pytest.skip("a worker with a GPU ends")
    said = step(**parts)
    assert re.fullmatch(rf"{error} \({re.escape(line_of(mark))}\)", said["error"]), said["error"]
    assert said["traceback"].startswith("Traceback"), "the whole of it is kept"


def test_a_fingerprint_that_fails_is_told_with_its_line(kit: Path) -> None:
    plain = {"data": plugged("Nameless"), "encoders": {"default": {"type": "mlp"}}}
    with pytest.raises(DataError) as told:
        data.fingerprint(TrialConfig.model_validate(plain).data)
    assert "kit.parts:Nameless failed: FileNotFoundError" in str(told.value)
    assert str(told.value).endswith(f"({line_of('fingerprint')})")


def test_options_that_fail_below_the_users_code_name_that(kit: Path) -> None:
    with pytest.raises(ConfigError) as told:
        load_trial("mfeat", ["method={type: plugin, target: 'kit.parts:Odd'}"])
    assert f"({line_of('problems')})" in str(told.value)


def test_what_fails_in_no_code_of_the_user_has_no_place() -> None:
    with pytest.raises(RuntimeError) as told:
        torch.nn.Linear(3, 4)(torch.ones(2, 2))
    error = told.value
    assert error.__traceback__ is not None
    error.__traceback__ = error.__traceback__.tb_next  # without this test's own line
    assert describe_failure(error) == repr(error)


def test_train_and_show_have_the_line(kit: Path) -> None:
    cli = CommandLine(kit)
    given = "method={type: plugin, target: 'kit.parts:Bad', options: {how: torch}}"
    answer = cli.inside(
        "train", "mfeat", "--allow-plugin", "kit", "-o", given, "-o", "trainer.epochs=1"
    )
    assert answer.code == 1
    assert f"({line_of('torch')})" in answer.err
    assert "traceback.txt of MLflow run" in answer.err
    run = answer.err.split()[-1]
    assert f"({line_of('torch')})" in "".join(
        cli.inside("show", run).out.split("traceback.txt")[0].split("\n")
    )
