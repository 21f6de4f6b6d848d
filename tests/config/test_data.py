"""Data sets in configurations: available and selected modalities, and data sets of plug-ins."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from ibml import data
from ibml.common.errors import ConfigError
from ibml.config.plugins import allowlist as plugin_allowlist
from ibml.config.plugins import plugin_config as plugins
from ibml.config.trial import TrialConfig
from ibml.study.planning.plan import load_trial

Build = Callable[..., TrialConfig]

SOURCE = """\
from ibml.config.base import Config
from ibml.data.base import Source


class Mine(Source):
    made = read = 0

    class Options(Config):
        kind: str = "vector"
        path: str = ""

    def __init__(self, options):
        super().__init__(options)
        type(self).made += 1

    @property
    def kinds(self):
        return {"a": self.options.kind, "b": {"vector": "vector"}[self.options.kind]}

    def fingerprint(self):
        type(self).read += 1
        return f"content {self.read}"

    def load(self, modalities, seed):
        raise NotImplementedError
"""


@pytest.fixture
def mine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder with a data set of the allowed package `mine`."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugin_allowlist.VARIABLE, "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine.py").write_text(SOURCE)
    plugin_allowlist.allow_packages(["mine"])
    yield tmp_path
    sys.modules.pop("mine", None)
    for cached in (plugins.hash_source, plugins.resolve_target, plugin_allowlist.load_user_config):
        cached.cache_clear()


def plugin(**more: object) -> dict[str, object]:
    return {"type": "plugin", "target": "mine:Mine", **more}


def folder(**columns: dict[str, str]) -> dict[str, object]:
    return {"type": "folder", "root": ".", "tables": "samples.csv", "columns": columns}


@pytest.mark.parametrize("given", [{"type": "cremad"}, plugin()], ids=["files", "plugin"])
@pytest.mark.parametrize(
    ("use", "message"),
    [
        (["nothing"], "data.use: no modality is called 'nothing'; known: "),
        (["first", "first"], "data.use: 'first' is listed twice"),
    ],
)
def test_what_a_model_cannot_use_is_said_at_its_line(
    mine: Path, given: dict, use: list[str], message: str
) -> None:
    first = {"cremad": "audio", "plugin": "a"}[given["type"]]
    chosen = ", ".join(name.replace("first", first) for name in use)
    lines = [f"  {key}: {value}" for key, value in given.items()]
    encoders = "encoders: {default: {type: resnet18}}\n" if given["type"] == "cremad" else ""
    (mine / "trial.yaml").write_text("\n".join(["data:", *lines, f"  use: [{chosen}]", encoders]))
    with pytest.raises(ConfigError) as error:
        load_trial("trial.yaml", [])
    [problem] = map(str, error.value.problems)
    assert problem.startswith(f"trial.yaml:{len(lines) + 2}: {message.replace('first', first)}")


def test_modalities_that_are_not_used_may_have_an_encoder(trial: Build) -> None:
    encoders = {"audio": {"type": "resnet18"}, "video": {"type": "small_cnn"}}
    assert trial(data={"type": "cremad", "use": ["video"]}, encoders=encoders).modalities == (
        "video",
    )


def test_every_finding_is_made_once(trial: Build) -> None:
    with pytest.raises(ValidationError) as error:
        trial(fusion={"type": "film", "condition": "nothing"})
    assert str(error.value).count("no modality is called 'nothing'") == 1


@pytest.mark.parametrize("name", ["label", "validation", "type"])
def test_a_modality_is_not_called_as_a_key_of_its_data_set(trial: Build, name: str) -> None:
    with pytest.raises(ValidationError, match=f"'{name}' cannot name a modality"):
        trial(data=folder(**{name: {"kind": "vector", "column": "x"}}))


def test_kinds_that_a_package_does_not_give_or_nobody_knows_are_said(
    trial: Build, mine: Path
) -> None:
    with pytest.raises(
        ValidationError, match=r"mine:Mine.kinds fails: KeyError: 'vctor' \(mine.py:"
    ):
        trial(data=plugin(options={"kind": "vctor"}))
    mine.joinpath("mine.py").write_text(
        SOURCE.replace('"b": {"vector": "vector"}[self.options.kind]', '"b": "video"')
    )
    sys.modules.pop("mine")
    with pytest.raises(ValidationError, match="mine:Mine has 'b' of kind 'video'"):
        trial(data=plugin())


def test_a_package_makes_its_data_set_once_for_a_configuration(trial: Build, mine: Path) -> None:
    config = trial(data=plugin(use=["b"]))
    assert (config.modalities, config.data.kinds, list(config.data.all_kinds)) == (
        ("b",),
        {"b": "vector"},
        ["a", "b"],
    )
    assert sys.modules["mine"].Mine.made == 1


def test_the_content_is_read_again_for_a_study_and_not_for_each_of_its_trials(
    trial: Build, mine: Path
) -> None:
    configs = [trial(data=plugin(), seed=seed).data for seed in range(3)]
    data.prepare_datasets(configs)
    assert [data.fingerprint(config) for config in configs] == ["content 1"] * 3
    data.prepare_datasets(configs)
    assert data.fingerprint(configs[0]) == "content 2"


def test_options_of_a_package_are_no_paths_of_ours(mine: Path) -> None:
    (mine / "trial.yaml").write_text(
        "data: {type: plugin, target: 'mine:Mine', options: {path: a.csv}}\n"
    )
    assert load_trial("trial.yaml", []).data.options == {"kind": "vector", "path": "a.csv"}
