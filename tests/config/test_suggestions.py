"""The error of an unknown key suggests the key that was probably meant, anywhere in a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from ibml.common.errors import ConfigError, format_suggestion
from ibml.config.loading.annotations import collect_key_paths
from ibml.config.trial import TrialConfig, flatten
from ibml.search.plan import load_search
from ibml.study.planning.plan import load_plan, load_trial

STUDY = "name: s\nbase: mfeat\n%sdesign: {type: arms, reference: a, arms: {a: {}, b: {%s}}}\n%s"
SPACE = {"name": "s", "base": "mfeat", "parameters": {"optimizer.lr": {"low": 0.1, "high": 1}}}


def refused(path: str, value: str = "1", *before: str) -> str:
    """Return the error of `-o path=value`, from the unknown key on."""
    with pytest.raises(ConfigError) as caught:
        load_trial("mfeat", [*before, f"{path}={value}"])
    start = f"-o {path}={value}: unknown key "
    assert len(caught.value.problems) == 1, str(caught.value)
    assert str(caught.value).startswith(start)
    return str(caught.value).removeprefix(start)


@pytest.mark.parametrize(
    ("path", "meant"),
    [
        ("trainer.lr", "optimizer.lr"),
        ("schedule.lr", "optimizer.lr"),
        ("method.lr", "optimizer.lr"),
        ("lr", "optimizer.lr"),
        ("epochs", "trainer.epochs"),
        ("optimizer.epochs", "trainer.epochs"),
        ("method.window.batch_size", "trainer.batch_size"),
        ("trainer.first_epoch", "method.window.first_epoch"),
        ("trainer.seed", "seed"),
        ("trainer.hidden", "encoders.default.hidden"),
        ("method.rate", "method.tcm.rate"),
        ("trainer.weight", "method.bio.weight"),
        ("trainer.epoch", "trainer.epochs"),
        ("trainer.momentun", "optimizer.momentum"),
        ("trainer.LR", "optimizer.lr"),
        ("method.window.stop", "method.window.stop_epoch"),
        ("fusoin.type", "fusion"),
        ("seeds", "seed"),
        ("encoders.pix.hiden", "encoders.pix.hidden"),
    ],
)
def test_the_same_key_elsewhere_comes_first_then_what_is_spelled_alike(
    path: str, meant: str
) -> None:
    assert refused(path).endswith(f"; did you mean {meant!r}?"), refused(path)


def test_a_key_of_several_parts_is_named_with_each_of_them() -> None:
    assert refused("ramp", "cosine").endswith(
        "did you mean 'method.bio.ramp' or 'method.tcm.ramp'?"
    )


def test_a_key_of_another_type_is_named_with_its_type() -> None:
    assert refused("fusion.heads").endswith(
        "'fusion.heads'; it exists where fusion.type is attention"
    )
    assert refused("fusion.condition").endswith(
        "'fusion.condition'; it exists where fusion.type is film or gated"
    )
    assert refused("encoders.pix.kernel").endswith("it exists where encoders.pix.type is small_cnn")
    assert refused("optimizer.betas", "[0.1, 0.2]").endswith(
        "it exists where optimizer.type is adam or adamw"
    )
    assert refused("trainer.alpha", "1", "method.type=pmr").endswith("did you mean 'method.alpha'?")


def study_errors(tmp_path: Path, *parts: str, given: tuple[str, ...] = ()) -> list[str]:
    path = tmp_path / "s.yaml"
    path.write_text(STUDY % parts)
    with pytest.raises(ConfigError) as caught:
        load_plan(path, given)
    return [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]


def test_overrides_arms_and_sections_of_a_study_are_answered_alike(tmp_path: Path) -> None:
    assert study_errors(tmp_path, "overrides: {trainer.lr: 1}\n", "", "") == [
        "s.yaml:3: overrides: unknown key 'trainer.lr'; did you mean 'optimizer.lr'?"
    ]
    assert study_errors(tmp_path, "", "trainer: {lr: 1}", "") == [
        "s.yaml:3: design.arms.b: unknown key 'trainer.lr'; did you mean 'optimizer.lr'?"
    ]
    assert study_errors(tmp_path, "", "fusion.type: sum", "trainer: {epochs: 3}\n") == [
        "s.yaml:4: unknown key 'trainer'; did you mean 'overrides.trainer'?"
    ]
    assert study_errors(tmp_path, "", "fusion.type: sum", "lr: 3\n") == [
        "s.yaml:4: unknown key 'lr'; did you mean 'overrides.optimizer.lr'?"
    ]
    assert study_errors(tmp_path, "", "fusion.type: sum", "rows: [a]\n") == [
        "s.yaml:4: unknown key 'rows'; did you mean 'table.rows'?"
    ]
    assert study_errors(tmp_path, "", "fusion.type: sum", "table: {metric: [test.gap]}\n") == [
        "s.yaml:4: unknown key 'table.metric'; did you mean 'table.metrics'?"
    ]


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("trainer.lr", "optimizer.lr"),
        ("lr", "optimizer.lr"),
        ("seds", "seeds"),
        ("metrics", "table.metrics"),
        ("tabel.alpha", "table.alpha"),
        ("hyper.batch_size", "trainer.batch_size"),
    ],
)
def test_the_command_line_of_a_study_knows_both_its_own_keys_and_a_trials(
    tmp_path: Path, option: str, meant: str
) -> None:
    found = study_errors(tmp_path, "", "fusion.type: sum", "", given=(f"{option}=3",))
    assert found == [f"-o {option}=3: unknown key {option!r}; did you mean {meant!r}?"]


def test_table_components_name_the_path_that_was_meant(tmp_path: Path) -> None:
    found = study_errors(
        tmp_path, "", "fusion.type: sum", "table: {components: {lr: trainer.lr}}\n"
    )
    assert found == [
        "s.yaml:4: table.components.lr: no trial has 'trainer.lr'; did you mean 'optimizer.lr'?"
    ]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"parameters": {"trainer.lr": {"low": 0.1, "high": 1}}},
            "unknown key 'trainer.lr'; did you mean 'optimizer.lr'?",
        ),
        ({"parameters": {"lr": {"value": 1}}}, "unknown key 'lr'; did you mean 'optimizer.lr'?"),
        (
            {
                "parameters": SPACE["parameters"]
                | {"fusion.type": {"choices": ["sum"], "when": {"trainer.lr": 0.1}}}
            },
            "when: 'trainer.lr' is not searched; did you mean 'optimizer.lr'?",
        ),
        (
            {"start_from": [{"trainer.lr": 0.5}]},
            "'trainer.lr' is not searched; did you mean 'optimizer.lr'?",
        ),
        (
            {"constraints": [{"metric": "trainer.epoch", "max": 1}]},
            "no trial logs 'trainer.epoch'; did you mean 'time.epoch'?",
        ),
        (
            {"objectives": [{"metric": "accuracy"}]},
            "no trial logs 'accuracy'; did you mean 'val.accuracy'?",
        ),
        (
            {"overrides": {"trainer.lr": 0.1}},
            "unknown key 'trainer.lr'; did you mean 'optimizer.lr'?",
        ),
        ({"trainer": {"epochs": 3}}, "unknown key 'trainer'; did you mean 'overrides.trainer'?"),
    ],
)
def test_search_spaces_are_answered_alike(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_search(SPACE | change)
    assert message in str(caught.value)


def test_options_of_a_search_are_answered_alike() -> None:
    for option, meant in (
        ("trial", "trials"),
        ("startup_trials", "sampler.startup_trials"),
        ("epochs", "trainer.epochs"),
    ):
        with pytest.raises(
            ConfigError, match=f"-o {option}=3: unknown key '{option}'; did you mean '{meant}'"
        ):
            load_search(SPACE, overrides=[f"{option}=3"])


def test_every_path_of_a_trial_is_known() -> None:
    config = TrialConfig.model_validate({"data": {"type": "mfeat"}, "optimizer": {"type": "adam"}})
    assert set(flatten(config.model_dump(mode="json"))) <= set(collect_key_paths(TrialConfig))


def test_names_that_are_no_paths_are_suggested_as_before() -> None:
    assert format_suggestion("IBLM", ["Joint", "IBML"]) == "; did you mean 'IBML'?"
    assert format_suggestion("12.0", ["345.0", "30"]) == "; known: 345.0, 30", "a number is no path"
    assert format_suggestion("x", ["Joint", "IBML"]) == "; known: Joint, IBML"
    assert format_suggestion("x", [str(number) for number in range(17)]) == ""
