"""Arms with equal configurations: one line per factor without effect, with the reason."""

from __future__ import annotations

from typing import Any

import pytest

from ibml.common.errors import ConfigError
from ibml.study.planning.plan import Plan, load_plan

RATE = {"method.tcm.rate": [0, 1]}
SCALE = {"method.tcm.noise_scale": [0.5, 1]}
NO_RATE = {"method.tcm.rate": 0}
NINE = {
    **RATE,
    **SCALE,
    "method.bio.weight": [0.5, 1],
    "optimizer.lr": [0.01, 0.1],
    "trainer.batch_size": [32, 64],
    "method.bio.ramp": ["constant", "linear_up"],
    "fusion.type": ["sum", "concat"],
    "method.window.stop_epoch": [20, 30],
    "method.bio.rule": ["on_off", "lag"],
}


def plan_of(design: dict[str, Any], **more: Any) -> Plan:
    return load_plan({"name": "x", "base": "mfeat", "seeds": 2, "design": design, **more})


def problems(design: dict[str, Any], **more: Any) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        plan_of(design, **more)
    return [problem.message for problem in refusal.value.problems]


def test_of_nine_factors_the_one_without_effect_is_named_in_a_line() -> None:
    assert problems({"type": "factorial", "factors": NINE}) == [
        "'tcm.noise_scale' has no effect where method.tcm.rate is 0 (256 of 512 arms): 0.5 and 1 "
        "are the same"
        " configuration there; remove the factor, or list the arms to compare (type: arms)"
    ]


def test_each_reason_for_having_no_effect_is_named() -> None:
    kinds = {"method.tcm.kind": ["noise", "mixup", "modality_dropout"]}
    found = problems(
        {"type": "factorial", "factors": {**kinds, **SCALE, "method.tcm.strength": [0.3, 0.6]}}
    )
    reasons = [message.partition(" (")[0] for message in found]
    assert sorted(reasons) == [
        "'tcm.noise_scale' has no effect where method.tcm.kind is mixup or method.tcm.kind is "
        "modality_dropout",
        "'tcm.strength' has no effect where method.tcm.kind is noise or method.tcm.kind is "
        "modality_dropout",
    ]


@pytest.mark.parametrize(
    ("design", "overrides", "expected"),
    [
        (
            {"type": "factorial", "factors": {**SCALE, "method.bio.weight": [0.5, 1]}},
            NO_RATE,
            ["'tcm.noise_scale' has no effect since method.tcm.rate is 0 (4 of 4 arms)"],
        ),
        (
            {
                "type": "factorial",
                "factors": {
                    "method.bio.weight": [0, 1],
                    **RATE,
                    "method.window.stop_epoch": [10, 20],
                },
            },
            {},
            [
                "'window.stop_epoch' has no effect where method.bio.weight is 0 and "
                "method.tcm.rate is 0: arm"
            ],
        ),
        (
            {
                "type": "factorial",
                "resolution": 3,
                "factors": {**RATE, **SCALE, "method.tcm.ramp": ["constant", "linear_up"]},
            },
            {},
            [
                "'tcm.noise_scale' has no effect where method.tcm.rate is 0: arm",
                "'tcm.ramp' has no effect where method.tcm.rate is 0: arm",
            ],
        ),
        (
            {
                "type": "factorial",
                "factors": {
                    "method": {
                        "one": {"method": {"type": "unimodal", "modality": "pix"}},
                        "all": {},
                    },
                    "fusion.type": ["sum", "concat"],
                },
            },
            {},
            ["'fusion.type' has no effect where method.type is unimodal: arm"],
        ),
        (
            {
                "type": "factorial",
                "factors": {
                    "fusion": {"film": {"fusion.type": "film"}, "gated": {"fusion.type": "gated"}},
                    "fusion.condition": ["first", "pix"],
                },
            },
            {},
            ["they differ only in fusion.condition (first or pix)"],
        ),
        (
            {
                "type": "factorial",
                "factors": {
                    "data.views": [["pix", "zer"], ["zer", "pix"]],
                    "fusion.condition": ["first", "zer"],
                    "optimizer.lr": [0.1, 0.2],
                },
            },
            {"fusion.type": "film"},
            ["'fusion.condition' has no effect where data.views is [zer, pix] (4 of 8 arms)"],
        ),
        (
            {
                "type": "one_factor",
                "factors": {"method.tcm.noise_scale": [0.5, 1, 2], "method.bio.weight": [0, 1]},
            },
            NO_RATE,
            [
                "'tcm.noise_scale' has no effect since method.tcm.rate is 0: every value is the "
                "same configuration as"
            ],
        ),
        (
            {"type": "one_factor", "factors": {"trainer.device": ["cpu", "auto"]}},
            {},
            [
                "'trainer.device' has no effect: every value is the same configuration as the "
                "base; trainer.device never"
            ],
        ),
        (
            {
                "type": "leave_one_out",
                "pairs": True,
                "components": {"A": {"method.tcm.noise_scale": 0}, "B": {"method.bio.weight": 0}},
            },
            NO_RATE,
            [
                "'A' has no effect since method.tcm.rate is 0 (4 of 4 arms): off and on are the "
                "same configuration there"
            ],
        ),
        (
            {
                "type": "cumulative",
                "components": {"A": {"method.tcm.noise_scale": 0}, "B": {"method.bio.weight": 0}},
            },
            NO_RATE,
            [
                "'A' has no effect since method.tcm.rate is 0: arm '+ A' is the same configuration "
                "as arm 'none'"
            ],
        ),
        (
            {
                "type": "leave_one_out",
                "components": {"A": NO_RATE, "B": {"method.tcm.noise_scale": 0}},
            },
            {},
            [
                "is the same configuration as arm 'w/o A'; they differ only in method.tcm.rate (0 "
                "or 1), method.tcm.noise_s"
            ],
        ),
        (
            {
                "type": "arms",
                "reference": "a",
                "arms": {
                    "a": NO_RATE,
                    "b": {**NO_RATE, "method.tcm.noise_scale": 2},
                    "c": {**NO_RATE, "trainer.keep": "none"},
                },
            },
            {},
            [
                "arm 'a'; method.tcm.noise_scale has no effect where method.tcm.rate is 0",
                "arm 'a'; trainer.keep never changes a result",
            ],
        ),
    ],
)
def test_what_has_no_effect_is_named_with_its_reason(
    design: dict[str, Any], overrides: dict[str, Any], expected: list[str]
) -> None:
    found = problems(design, overrides=overrides)
    assert len(found) == len(expected), found
    assert all(words in message for words, message in zip(expected, found, strict=True)), found


def test_a_factor_without_effect_on_one_data_set_names_that() -> None:
    datasets = {"p": {"data.views": ["pix", "zer"]}, "q": {"data.views": ["fou", "zer"], **NO_RATE}}
    (found,) = problems(
        {"type": "factorial", "factors": {**SCALE, "method.bio.weight": [0.5, 1]}},
        datasets=datasets,
    )
    assert found.endswith("; on q")
    both = {"p": datasets["p"], "q": {"data.views": ["fou", "zer"]}}
    (found,) = problems(
        {"type": "factorial", "factors": {**SCALE, "method.bio.weight": [0.5, 1]}},
        overrides=NO_RATE,
        datasets=both,
    )
    assert "; on" not in found


def test_values_that_are_the_bases_are_left_out_and_noted() -> None:
    factors = {"method.bio.weight": [1], "method.window.stop_epoch": [40, 20]}
    plan = plan_of({"type": "one_factor", "factors": factors})
    assert plan.arms == ["base", "window.stop_epoch=20"]
    assert [note.split()[0] for note in plan.notes] == ["bio.weight=1", "window.stop_epoch=40"]
