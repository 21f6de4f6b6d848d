"""Plug-ins in configurations: allowed first, then checked like everything else."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from ibml.common.errors import ConfigError, IbmlError
from ibml.config.loading.json_schema import build_schema
from ibml.config.plugins import allowlist as plugin_allowlist
from ibml.config.plugins import plugin_config as plugins
from ibml.config.trial import TrialConfig, build_canonical_form
from ibml.inputs import InputSpec
from ibml.methods import Precision, build_method
from ibml.models.multimodal import MultimodalModel
from ibml.search.plan import load_search
from ibml.study.planning.keys import compute_trial_key
from ibml.study.planning.plan import load_plan, load_trial
from tests.conftest import CommandLine

Build = Callable[..., TrialConfig]

MINE = """\
from pathlib import Path

from torch import nn

from ibml.config.base import Config, NonNegative
from ibml.methods.base import Method
from ibml.models.fusions.concat.fusion import Concat

Path("imported").touch()


class Scaled(Method):
    class Options(Config):
        alpha: NonNegative = 1.0
        target: str = ""

        def problems(self, trial):
            count = len(trial.modalities)
            return [] if count == 2 else [f"needs two modalities, not {count}"]


class Plain(Concat):
    def __init__(self, options, modalities, widths, classes):
        super().__init__(options, modalities, widths, classes)


class Net(nn.Sequential):
    class Options(Config):
        start: float = 0.0

    def __init__(self, options, shape, features):
        super().__init__(nn.Linear(*shape, features))
        self.start = options.start

    def after_initialisation(self):
        nn.init.constant_(self[0].weight, self.start)


class Loose(Method):
    class Options:
        pass


class Broken(Method):
    class Options(Config):
        def problems(self, trial):
            return trial.nothing


number = 3
"""

STUDY = """\
name: plugged
base: mfeat
design:
  type: arms
  reference: IBML
  arms:
    IBML: {}
    Mine:
      method:
        type: plugin
        target: mine:Scaled
        options: {alpha: 0.5}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Create a folder with a plug-in that writes a file when imported. No plug-in is allowed."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(plugin_allowlist.VARIABLE, "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "own"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    (tmp_path / "mine.py").write_text(MINE)
    yield tmp_path
    forget()


def forget() -> None:
    """Forget the plug-in, as in a new process."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "mine"]:
        del sys.modules[name]
    for cached in (plugins.hash_source, plugins.resolve_target, plugin_allowlist.load_user_config):
        cached.cache_clear()


@pytest.fixture
def mine(folder: Path) -> Path:
    """The same folder with the plug-in allowed."""
    plugin_allowlist.allow_packages(["mine"])
    return folder


def method(target: str = "mine:Scaled", **options: object) -> dict[str, object]:
    return {"type": "plugin", "target": target, "options": options}


def study(folder: Path, text: str) -> list[str]:
    """Return the errors of a study's file."""
    (folder / "study.yaml").write_text(text)
    with pytest.raises(ConfigError) as error:
        load_plan("study.yaml")
    return [str(problem) for problem in error.value.problems]


def test_a_plugin_is_refused_and_not_imported_until_it_is_allowed(folder: Path) -> None:
    cli = CommandLine(folder)
    cli.write("study.yaml", STUDY)
    refused = cli.inside("ablate", "study.yaml", "--dry-run")
    assert refused.code == 2
    assert refused.err.startswith(
        "study.yaml:11: design.arms.Mine: method.target: the package 'mine' may not run"
    )
    assert "--allow-plugin mine" in refused.err
    assert "config.yaml" in refused.err
    assert not (folder / "imported").exists()
    taken = cli.inside(
        "ablate", "study.yaml", "--dry-run", "--allow-plugin", "other", "--allow-plugin", "mine"
    )
    assert taken.code == 0, taken.err
    assert "method.options.alpha: 0.5" in taken.out
    assert (folder / "imported").exists()


def test_the_users_own_file_allows_what_is_installed(folder: Path) -> None:
    own = folder / "own" / "ibml" / "config.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("plugins: [mine]\n")
    message = study(folder, STUDY)[0]
    assert "no package 'mine' is installed" in message, (
        "the working folder counts only where it was asked for"
    )
    sys.path.append(str(folder))
    assert load_plan("study.yaml").cells[1].config.method.options["alpha"] == 0.5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("plugin: [mine]", "config.yaml:1: unknown key 'plugin'; did you mean 'plugins'?"),
        ("plugins:\n- mine.methods", "config.yaml:2: plugins[0]: 'mine.methods' is not a package"),
        ("plugins: [", "config.yaml:1: is not YAML"),
    ],
)
def test_the_users_own_file_is_checked_like_any_other(
    folder: Path, text: str, message: str
) -> None:
    own = folder / "own" / "ibml" / "config.yaml"
    own.parent.mkdir(parents=True)
    own.write_text(text)
    assert message in study(folder, STUDY)[0]


def test_the_option_takes_packages_only(folder: Path) -> None:
    answer = CommandLine(folder).inside("train", "mfeat", "--allow-plugin", "mine:Scaled")
    assert answer.code == 2
    assert "'mine:Scaled' is not a package" in answer.err


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "alpha: 0.5",
            "alpah: 0.5",
            "study.yaml:12: design.arms.Mine: unknown key 'method.options.alpah'; did you mean",
        ),
        (
            "alpha: 0.5",
            "alpha: -1",
            "study.yaml:12: design.arms.Mine: method.options.alpha: should be greater than or",
        ),
        ("alpha: 0.5", "alpha: much", "method.options.alpha: expected a number, got 'much'"),
        (
            "{alpha: 0.5}",
            "3",
            "study.yaml:12: design.arms.Mine: method.options: expected a mapping",
        ),
        (
            "options: {alpha: 0.5}",
            "alpha: 0.5",
            "unknown key 'method.alpha'; did you mean 'method.options.alpha'?",
        ),
        ("target:", "tarket:", "unknown key 'method.tarket'; did you mean 'method.target'?"),
        (
            "mine:Scaled",
            "mine:Scald",
            "study.yaml:11: design.arms.Mine: method.target: 'Scald' of mine does not exist; did",
        ),
        ("mine:Scaled", "mine:number", "'number' of mine is not a class"),
        (
            "mine:Scaled",
            "mine:Plain",
            "'Plain' of mine is no method: it must be a subclass of ibml.methods.base.Method",
        ),
        (
            "mine:Scaled",
            "mine:Loose",
            "mine:Loose.Options must be a subclass of ibml.config.base.Config",
        ),
        (
            "mine:Scaled\n        options: {alpha: 0.5}",
            "mine:Broken",
            "problems failed: AttributeError",
        ),
        ("mine:Scaled", "mine.parts:Scaled", "there is no module 'mine.parts'"),
        ("mine:Scaled", "mine:a:b", "'mine:a:b' is not of the form module:Class"),
        ("mine:Scaled", "scaled", "no installed package has a method called 'scaled'"),
        (
            "mfeat",
            "mfeat\noverrides: {data.views: [pix, zer, fou]}",
            "method.target: needs two modalities, not 3",
        ),
    ],
)
def test_what_is_wrong_is_said_at_its_line(mine: Path, old: str, new: str, message: str) -> None:
    assert old in STUDY
    assert any(message in line for line in study(mine, STUDY.replace(old, new))), study(
        mine, STUDY.replace(old, new)
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "import nothing_like_it\n",
            "mine fails: ModuleNotFoundError: No module named 'nothing_like_it' (mine.py:1)",
        ),
        ("\n1 / 0\n", "mine fails: ZeroDivisionError: division by zero (mine.py:2)"),
        ("import sys\nsys.exit(3)\n", "mine fails: SystemExit: 3 (mine.py:2)"),
        ("def (:\n", "mine fails: SyntaxError: invalid syntax (mine.py, line 1)"),
    ],
)
def test_errors_inside_a_plugin_are_said_with_their_place(
    mine: Path, text: str, message: str
) -> None:
    (mine / "mine.py").write_text(text)
    assert message in study(mine, STUDY)[0]


def test_a_missing_package_is_said(mine: Path) -> None:
    (mine / "mine.py").unlink()
    assert "no package 'mine' is installed or in the working folder" in study(mine, STUDY)[0]


def test_options_left_out_are_their_defaults(mine: Path, trial: Build) -> None:
    assert build_canonical_form(trial(method=method(alpha=1))) == build_canonical_form(
        trial(method=method())
    )
    assert build_canonical_form(trial(method=method(alpha=2))) != build_canonical_form(
        trial(method=method())
    )
    again = TrialConfig.model_validate(trial(method=method(alpha=2)).model_dump(mode="json"))
    assert again == trial(method=method(alpha=2))


def test_dotted_paths_reach_options(mine: Path) -> None:
    given = ["method.type=plugin", "method.target=mine:Scaled", "method.options.alpha=0.25"]
    assert load_trial("mfeat", given).method.options == {"alpha": 0.25, "target": ""}
    other = [
        *given,
        "encoders.pix.type=plugin",
        "encoders.pix.target=mine:Net",
        "encoders.pix.options.start=2",
    ]
    made = load_trial("mfeat", other)
    assert (made.get_encoder("pix").type, made.get_encoder("zer").type) == ("plugin", "mlp")


def test_a_changed_target_starts_from_its_own_options(mine: Path) -> None:
    (mine / "more.py").write_text(MINE.replace("alpha", "beta"))
    plugin_allowlist.allow_packages(["more"])
    text = STUDY.replace(
        "base: mfeat", f"base: mfeat\noverrides: {{method: {method(alpha=3)}}}".replace("'", "")
    )
    arm = (
        "    Other: {method.options.beta: 2, method.target: 'more:Scaled'}\n"
        "    Same: {method.options.target: x}\n"
    )
    (mine / "study.yaml").write_text(text + arm)
    configs = {cell.arm: cell.config for cell in load_plan("study.yaml").cells}
    assert configs["Other"].method.options == {"beta": 2, "target": ""}
    assert configs["Same"].method.options == {"alpha": 3, "target": "x"}
    del sys.modules["more"]


def test_options_are_searched(mine: Path) -> None:
    space = {
        "name": "s",
        "base": "mfeat",
        "overrides": {"method": method()},
        "parameters": {
            "method.options.alpha": {"low": 0.5, "high": 2.0},
            "fusion.type": {"choices": ["sum", "late"]},
        },
    }
    plan = load_search(space)
    config, _ = plan.space.build_config({"method.options.alpha": 0.75})
    assert config.method.options["alpha"] == 0.75
    assert plan.space.get_base_values()["method.options.alpha"] == 1.0
    space["parameters"]["method.options.alpha"]["low"] = -1.0
    with pytest.raises(
        ConfigError, match=r"method.options.alpha: should be greater than or equal to 0, got -1"
    ):
        load_search(space)


def test_a_search_is_another_one_when_the_source_of_its_plugins_changes(mine: Path) -> None:
    space = {
        "name": "s",
        "base": "mfeat",
        "parameters": {
            "fusion": {"choices": [{"type": "sum"}, {"type": "plugin", "target": "mine:Plain"}]}
        },
    }
    before = load_search(space).build_spec("data", 1)
    forget()
    (mine / "mine.py").write_text(f"{MINE}\n")
    after = load_search(space).build_spec("data", 1)
    assert before.pop("plugins") != after.pop("plugins")
    assert before == after


def test_the_key_changes_with_the_source_and_with_nothing_else(mine: Path, trial: Build) -> None:
    def keys() -> tuple[str, ...]:
        forget()
        plain, alone = trial(), {"type": "unimodal", "modality": "pix"}
        fused = {"type": "plugin", "target": "mine:Plain"}
        unused = trial(fusion=fused, method=alone)
        return tuple(
            compute_trial_key(c, "data")
            for c in (trial(method=method()), trial(fusion=fused), plain, unused)
        )

    before = keys()
    assert keys() == before
    (mine / "mine.py").write_text(MINE.replace("number = 3", "number = 4"))
    after = keys()
    assert (before[0] != after[0], before[1] != after[1]) == (True, True)
    assert before[2:] == after[2:], "a trial that runs nothing of a plug-in does not depend on it"


def test_the_key_of_a_trial_without_plugins_is_what_it_was(
    trial: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ibml.study.planning.keys.TRAINER_REVISION", 1)
    assert (
        compute_trial_key(trial(), "data")
        == "c9f8b7427fc74374f29516df528f5ed5ecc50bb8476f9a7b61debcbc49231094"
    )


def test_the_source_of_a_package_is_all_of_it(mine: Path) -> None:
    (mine / "mine.py").unlink()
    (mine / "mine" / "deep").mkdir(parents=True)
    (mine / "mine" / "__init__.py").touch()
    found = []
    for name, text in [
        ("deep/a.py", "1"),
        ("deep/a.py", "2"),
        ("deep/notes.txt", "3"),
        ("b.py", "2"),
    ]:
        (mine / "mine" / name).write_text(text)
        forget()
        found.append(plugins.hash_source("mine"))
    assert found[1] == found[2]
    assert len(set(found)) == 3


def test_entry_points_are_short_names_of_allowed_packages(folder: Path, trial: Build) -> None:
    sys.path.append(str(folder))
    info = folder / "mine-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[ibml.methods]\nscaled = mine:Scaled\nbare = mine\n")
    short = STUDY.replace("mine:Scaled", "scaled")
    assert "the package 'mine' may not run as a plug-in" in study(folder, short)[0]
    assert not (folder / "imported").exists()
    plugin_allowlist.allow_packages(["mine"])
    assert build_canonical_form(trial(method=method("scaled"))) == build_canonical_form(
        trial(method=method())
    )
    assert "did you mean 'scaled'?" in study(folder, STUDY.replace("mine:Scaled", "scaledd"))[0]
    assert (
        "'bare' is 'mine', which is not of the form"
        in study(folder, STUDY.replace("mine:Scaled", "bare"))[0]
    )


def test_each_plugin_is_built_with_its_options(mine: Path, trial: Build) -> None:
    config = trial(
        method=method(alpha=0.5),
        fusion={"type": "plugin", "target": "mine:Plain"},
        encoders={
            "default": {
                "type": "plugin",
                "target": "mine:Net",
                "features": 5,
                "options": {"start": 0.25},
            }
        },
    )
    model = MultimodalModel(config, {"pix": InputSpec((4,)), "zer": InputSpec((3,))}, 10)
    assert torch.equal(model.encoders["zer"][0].weight, torch.full((5, 3), 0.25))
    assert model({"pix": torch.ones(2, 4), "zer": torch.ones(2, 3)})[0].shape == (2, 10)
    assert type(model.fusion).__name__ == "Plain"
    made = build_method(config, model, 20, Precision("float32", torch.device("cpu")))
    assert (type(made).__name__, made.options.alpha, made.epochs) == ("Scaled", 0.5, 2)


def test_the_schemas_know_plugins() -> None:
    paths = build_schema("ablation")["$defs"]["Overrides"]["properties"]
    assert {"method.target", "method.options", "fusion.options"} <= set(paths)
    names = build_schema("search")["properties"]["parameters"]["propertyNames"]["anyOf"]
    assert "method.target" in names[0]["enum"]
    assert [
        bool(re.match(names[1]["pattern"], path))
        for path in ("method.options.alpha", "method.alpha")
    ] == [
        True,
        False,
    ]


def test_an_encoder_without_a_type_is_an_mlp_still(trial: Build) -> None:
    assert trial(encoders={"default": {"hidden": [3]}}) == trial(
        encoders={"default": {"type": "mlp", "hidden": [3]}}
    )


def test_a_worker_takes_the_drivers_word_but_not_other_code(mine: Path) -> None:
    sent = plugins.collect_plugin_packages({"method.target": "mine:Scaled"})
    assert list(sent) == ["mine"]
    forget()
    os.environ[plugin_allowlist.VARIABLE] = ""
    sys.path.remove(str(mine))
    plugins.allow_received_plugins(sent)
    assert plugins.load_plugin_class("method", "mine:Scaled").__name__ == "Scaled"
    forget()
    (mine / "mine.py").write_text("")
    with pytest.raises(IbmlError, match="is not the code that the study was started with"):
        plugins.allow_received_plugins(sent)


TYPED = """\
from __future__ import annotations

import dataclasses
import datetime
import enum
from pathlib import Path
from typing import Literal, NamedTuple, Optional

from pydantic import Field, field_validator, model_validator

from ibml.config.base import Config
from ibml.methods.base import Method


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


@dataclasses.dataclass(frozen=True)
class Box:
    size: int
    tags: frozenset[str] = frozenset()


class Inner(Config):
    names: tuple[str, ...] = ()
    at: Path = Path("here")


class Pair(NamedTuple):
    first: int
    second: str


class Typed(Method):
    class Options(Config):
        names: tuple[str, ...] = ("a", "b")
        pair: tuple[int, float] = (1, 2.0)
        words: set[str] = set()
        numbers: frozenset[int] = frozenset({10, 2})
        place: Path | None = None
        mode: Literal["slow", "fast"] = "slow"
        fold: Literal[1, 2] = 1
        colour: Colour = Colour.RED
        level: Level = Level.LOW
        day: datetime.date | None = None
        moment: Optional[datetime.datetime] = None
        span: datetime.timedelta | None = None
        inner: Inner = Inner()
        several: list[Inner] = []
        boxes: dict[str, Box] = {}
        weights: dict[int, float] = {}
        either: int | tuple[int, ...] = 0
        named: Pair = Pair(1, "x")
        even: int = 0
        share: float = Field(0.5, ge=0)
        label: str = ""

        @field_validator("even")
        @classmethod
        def is_even(cls, value):
            assert value % 2 == 0, f"{value} is odd"
            return value

        @field_validator("label")
        @classmethod
        def is_short(cls, value):
            if len(value) > 3:
                raise ValueError(f"{value!r} is long")
            return value

        @model_validator(mode="after")
        def fits(self):
            assert self.share != 0.25
            if self.share == 0.75:
                Inner(names=3)
            return self
"""


@pytest.fixture
def typed(mine: Path) -> Path:
    (mine / "mine.py").write_text(TYPED)
    return mine


def typed_study(folder: Path, options: str) -> str:
    """A study whose arm has these options in line 12."""
    text = STUDY.replace("mine:Scaled", "mine:Typed").replace("{alpha: 0.5}", options)
    (folder / "study.yaml").write_text(text)
    return text


@pytest.mark.parametrize(
    ("option", "plain"),
    [
        ("names: [c, d]", ["c", "d"]),
        ("names: []", []),
        ("pair: [2, 3]", [2, 3.0]),
        ("words: [z, y, z, x]", ["x", "y", "z"]),
        ("numbers: [100, 9]", [9, 100]),
        ("place: data/x", "data/x"),
        ("mode: fast", "fast"),
        ("fold: 2", 2),
        ("colour: blue", "blue"),
        ("level: 2", 2),
        ("day: 2024-01-31", "2024-01-31"),
        ("moment: 2024-01-31T12:00:00", "2024-01-31T12:00:00"),
        ("span: PT1H", "PT1H"),
        ("inner: {names: [q], at: there}", {"names": ["q"], "at": "there"}),
        ("several: [{names: [q]}]", [{"names": ["q"], "at": "here"}]),
        ("boxes: {b: {size: 3, tags: [v, u]}}", {"b": {"size": 3, "tags": ["u", "v"]}}),
        ("weights: {3: 1, 2: 0.5}", {"3": 1.0, "2": 0.5}),
        ("either: [1, 2]", [1, 2]),
        ("named: [5, y]", [5, "y"]),
        ("label: 0.5", "0.5"),
        ("names: [0.50, true, x]", ["0.50", "true", "x"]),
    ],
)
def test_options_of_ordinary_types_are_read_from_yaml(
    typed: Path, option: str, plain: object
) -> None:
    typed_study(typed, f"{{{option}}}")
    name = option.partition(":")[0]
    config = load_plan("study.yaml").cells[1].config
    assert config.method.options[name] == plain
    again = TrialConfig.model_validate(config.model_dump(mode="json"))
    assert build_canonical_form(again) == build_canonical_form(config)
    assert type(getattr(again.method.typed_options, name)) is type(
        getattr(config.method.typed_options, name)
    )
    assert load_trial(
        "mfeat", ["method.type=plugin", "method.target=mine:Typed", f"method.options={{{option}}}"]
    )


def test_defaults_of_options_have_one_form(typed: Path, trial: Build) -> None:
    plain = trial(method=method("mine:Typed")).method.options
    assert (plain["names"], plain["numbers"], plain["named"]) == (["a", "b"], [2, 10], [1, "x"])
    given = trial(method=method("mine:Typed", names=["a", "b"], numbers=[10, 2]))
    assert build_canonical_form(given) == build_canonical_form(trial(method=method("mine:Typed")))


def test_options_of_ordinary_types_are_searched(typed: Path) -> None:
    parameters = {
        "method.options.names": {"choices": [["a"], ["b", "c"]]},
        "method.options.colour": {"choices": ["red", "blue"]},
    }
    space = {
        "name": "s",
        "base": "mfeat",
        "overrides": {"method": method("mine:Typed")},
        "parameters": parameters,
    }
    plan = load_search(space)
    config, _ = plan.space.build_config(
        {"method.options.names": ["b", "c"], "method.options.colour": "blue"}
    )
    assert config.method.typed_options.names == ("b", "c")
    assert config.method.typed_options.colour.value == "blue"


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("names: a", "method.options.names: expected a list, got 'a'"),
        ("names: [[1]]", "method.options.names[0]: expected text, got [1]"),
        ("words: {a: 1}", "method.options.words: expected a list, got {'a': 1}"),
        ("pair: [1]", "'method.options.pair[1]' is missing"),
        ("mode: fats", "method.options.mode: 'fats' is not known; did you mean 'fast'?"),
        ("fold: 3", "method.options.fold: 3 is not known; known: 1, 2"),
        ("colour: blu", "method.options.colour: 'blu' is not known; did you mean 'blue'?"),
        ("day: soon", "method.options.day: expected a date such as 2024-01-31, got 'soon'"),
        (
            "moment: soon",
            "method.options.moment: expected a time such as 2024-01-31T12:00, got 'soon'",
        ),
        (
            "inner: {name: [q]}",
            "unknown key 'method.options.inner.name'; did you mean 'method.options.inner.names'?",
        ),
        (
            "boxes: {b: {sise: 3}}",
            "unknown key 'method.options.boxes.b.sise'; did you mean "
            "'method.options.boxes.b.size'?",
        ),
        ("boxes: {b: 3}", "method.options.boxes.b: expected a mapping of keys to values, got 3"),
        ("even: 3", "method.options.even: 3 is odd"),
        ("label: long", "method.options.label: 'long' is long"),
        ("share: 0.25", "method.options: "),
        ("share: 0.75", "method.options.names: expected a list, got 3"),
    ],
)
def test_wrong_options_are_refused_in_words(typed: Path, option: str, message: str) -> None:
    found = study(typed, typed_study(typed, f"{{{option}}}"))
    assert any(line.startswith(f"study.yaml:12: design.arms.Mine: {message}") for line in found), (
        found
    )
    assert not any(
        "Value error" in line or "Assertion failed" in line or "Input" in line for line in found
    ), found
