"""Fields that belong to a trial's identity, and fields that do not."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from ibml.config.loading.json_schema import build_schema
from ibml.config.metrics.names import describe_metric, find_measure, list_table_metrics
from ibml.config.trial import TrialConfig, build_canonical_form, flatten

Build = Callable[..., TrialConfig]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (
            {"method": {"type": "ibml", "bio": {"weight": 0}, "tcm": {"rate": 0}}},
            {"method": {"type": "joint"}},
        ),
        (
            {"method": {"type": "ibml", "tcm": {"rate": 0, "noise_scale": 3.0, "ramp": "cosine"}}},
            {"method": {"type": "ibml", "tcm": {"rate": 0}}},
        ),
        (
            {"method": {"type": "ibml", "tcm": {"noise_scale": 0}}},
            {"method": {"type": "ibml", "tcm": {"rate": 0}}},
        ),
        (
            {"method": {"type": "ibml", "bio": {"weight": 0, "ramp": "linear_up"}}},
            {"method": {"type": "ibml", "bio": {"weight": 0}}},
        ),
        (
            {"method": {"type": "ibml", "window": {"stop_epoch": 2}}},
            {"method": {"type": "ibml", "window": {"stop_epoch": None}}},
        ),
        (
            {"fusion": {"type": "film", "condition": "first"}},
            {"fusion": {"type": "film", "condition": "pix"}},
        ),
        (
            {"method": {"type": "unimodal", "modality": "pix"}, "fusion": {"type": "late"}},
            {
                "method": {"type": "unimodal", "modality": "pix"},
                "data": {"type": "mfeat", "views": ["fou", "pix"]},
            },
        ),
        ({"trainer": {"epochs": 2, "device": "cpu"}}, {}),
        ({"encoders": {"default": {"type": "mlp"}, "pix": {"type": "mlp"}}}, {}),
        ({"optimizer": {"type": "sgd", "lr": 0.01}}, {}),
    ],
)
def test_what_cannot_change_the_result_is_not_in_the_identity(
    trial: Build, first: dict, second: dict
) -> None:
    assert build_canonical_form(trial(**first)) == build_canonical_form(trial(**second))


@pytest.mark.parametrize(
    "change",
    [
        {"seed": 1},
        {"data": {"type": "mfeat", "views": ["zer", "pix"]}},
        {"data": {"type": "mfeat", "test": 0.2}},
        {"encoders": {"default": {"type": "mlp"}, "pix": {"type": "mlp", "hidden": []}}},
        {"fusion": {"type": "sum"}},
        {"method": {"type": "ibml", "bio": {"ramp": "cosine"}}},
        {"method": {"type": "ibml", "window": {"first_epoch": 0}}},
        {"optimizer": {"type": "adam", "lr": 0.01}},
        {"schedule": {"type": "cosine"}},
        {"trainer": {"epochs": 3}},
        {"trainer": {"epochs": 2, "threads": 2}},
        {"trainer": {"epochs": 2, "precision": "bf16"}},
    ],
)
def test_what_can_change_the_result_is(trial: Build, change: dict) -> None:
    assert build_canonical_form(trial(**change)) != build_canonical_form(trial())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": {"type": "mfeat", "views": ["pix"]}}, "at least 2"),
        ({"data": {"type": "mfeat", "views": ["pix", "pix"]}}, "listed twice"),
        ({"data": {"type": "mfeat", "views": ["pix", "zre"]}}, "zre"),
        ({"data": {"type": "mfeat", "validation": 0.6, "test": 0.4}}, "too little to train on"),
        ({"data": {"type": "mfeat", "validation": 0.001}}, "greater than or equal to 0.01"),
        (
            {"optimizer": {"type": "sgd", "nesterov": True, "momentum": 0}},
            "nesterov needs a momentum",
        ),
        ({"encoders": {"default": {"type": "mlp"}, "zre": {"type": "mlp"}}}, "did you mean 'zer'"),
        ({"encoders": {"pix": {"type": "mlp"}}}, "no encoder for zer"),
        ({"fusion": {"type": "film", "condition": "fou"}}, "no modality is called 'fou'"),
        (
            {"fusion": {"type": "attention", "width": 10, "heads": 4}},
            "cannot be divided among 4 heads",
        ),
        ({"method": {"type": "unimodal", "modality": "fou"}}, "no modality is called 'fou'"),
        (
            {"method": {"type": "ibml", "window": {"stop_epoch": 3}}},
            "epoch 3 is outside the 2 epochs",
        ),
        (
            {"method": {"type": "ibml", "window": {"first_epoch": 1, "stop_epoch": 1}}},
            r"window \[1, 1\) is empty",
        ),
        ({"method": {"type": "ibml", "bio": {"weight": -1}}}, "greater than or equal to 0"),
        ({"method": {"type": "ibml", "bio": {"weight": float("nan")}}}, "finite"),
        ({"trainer": {"epochs": True}}, "epochs"),
        ({"trainer": {"epochs": 0}}, "epochs"),
        ({"optimizer": {"type": "sgd", "lr": 0}}, "greater than 0"),
    ],
)
def test_configurations_that_make_no_sense_are_refused(
    trial: Build, change: dict, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        trial(**change)


def test_a_metrics_direction_is_not_read_from_a_modalitys_name() -> None:
    for name in ("test.accuracy.time", "test.accuracy.loss", "selected.val.accuracy.gap"):
        assert (describe_metric(name).higher_is_better, describe_metric(name).unit) == (True, "%")
    assert (describe_metric("test.gap").higher_is_better, describe_metric("test.gap").scale) == (
        False,
        100,
    )
    assert (describe_metric("test.loss").higher_is_better, describe_metric("test.loss").unit) == (
        False,
        "",
    )
    assert describe_metric("time.total").unit == "s"


def test_flatten_gives_dotted_paths(trial: Build) -> None:
    flat = flatten(build_canonical_form(trial()))
    assert flat["method.bio.weight"] == 1.0
    assert flat["encoders.pix.hidden"] == [128]
    assert flat["data.views"] == ["pix", "zer"]


def test_the_ablation_schema_knows_the_paths_of_overrides() -> None:
    made = build_schema("ablation")
    paths = made["$defs"]["Overrides"]["properties"]
    assert {"method.bio.weight", "fusion.condition", "trainer.epochs", "data.views"} <= set(paths)
    assert {"const": "film"} in [
        {"const": option.get("const")} for option in paths["fusion.type"]["anyOf"]
    ]
    assert build_schema("trial")["properties"]["seed"]["type"] == "integer"
    assert "parameters" in build_schema("search")["properties"]


def test_measures_are_part_of_the_identity_only_where_there_are_any(trial: Build) -> None:
    plain = build_canonical_form(trial())
    assert "measures" not in plain["trainer"]
    assert build_canonical_form(trial(trainer={"epochs": 2, "measures": []})) == plain
    both = [
        {"epochs": 2, "measures": list(order)}
        for order in (("shapley", "noise"), ("noise", "shapley"))
    ]
    first, second = (build_canonical_form(trial(trainer=trainer)) for trainer in both)
    assert first == second
    assert first["trainer"] == {**plain["trainer"], "measures": ["noise", "shapley"]}


@pytest.mark.parametrize(
    ("measures", "message"),
    [
        (["noise", "noise"], "trainer.measures\n.*a measure is listed twice"),
        (["shaply"], "trainer.measures.0\n.*'shapley'"),
        ("shapley", "trainer.measures"),
        ([1], "trainer.measures.0"),
    ],
)
def test_measures_that_there_are_not_are_refused(
    trial: Build, measures: object, message: str
) -> None:
    with pytest.raises(ValidationError, match=message):
        trial(trainer={"measures": measures})


def test_shapley_values_of_more_than_eight_modalities_are_refused(trial: Build) -> None:
    def config(count: int, method: dict[str, str]) -> TrialConfig:
        columns = {f"m{n}": {"kind": "text", "column": f"c{n}"} for n in range(count)}
        data = {"type": "folder", "root": "r", "tables": "t.csv", "columns": columns}
        encoders = {"default": {"type": "text_gru"}}
        return trial(data=data, encoders=encoders, method=method, trainer={"measures": ["shapley"]})

    assert len(config(8, {"type": "joint"}).modalities) == 8
    message = (
        "trainer.measures: shapley asks for every subset of the modalities, of which there may be 8"
    )
    with pytest.raises(ValidationError, match=message):
        config(9, {"type": "joint"})
    assert config(9, {"type": "unimodal", "modality": "m3"}).modalities == ("m3",)


@pytest.mark.parametrize(
    ("name", "better", "unit"),
    [
        ("test.shapley.pix", "↑", "%"),
        ("test.missing.pix", "↑", "%"),
        ("test.noisy.high", "↑", "%"),
        ("test.utilisation.pix", "↑", "%"),
        ("test.ece", "↓", "%"),
        ("test.complementarity.pix", "↑", "nats"),
        ("selected.train.discrepancy", "↓", ""),
        ("samples.total", "↓", ""),
        ("time.measure.shapley", "↓", "s"),
    ],
)
def test_measures_have_a_direction_and_a_unit(name: str, better: str, unit: str) -> None:
    metric = describe_metric(name)
    assert (metric.arrow, metric.unit, metric.scale) == (
        better,
        unit,
        100.0 if unit == "%" else 1.0,
    )


def test_names_of_measures_need_modalities_to_compare() -> None:
    every = ("calibration", "complementarity", "discrepancy", "missing", "noise", "shapley")
    noisy = ["test.noisy.low", "test.noisy.medium", "test.noisy.high"]
    alone = [
        name
        for name in list_table_metrics(["pix"], every)
        if name not in list_table_metrics(["pix"])
    ]
    assert alone == ["test.ece", *noisy, "time.measure.calibration", "time.measure.noise"]
    both = [
        name
        for name in list_table_metrics(["pix", "zer"], every)
        if name not in list_table_metrics(["pix", "zer"])
    ]
    assert len(both) == len(set(both)) == 1 + 3 + 1 + 3 * 2 + 6
    assert find_measure("test.missing.zer", ["pix", "zer"]) == "missing"
    assert find_measure("time.measure.noise", ["pix", "zer"]) == "noise"
    assert find_measure("test.missing.fou", ["pix", "zer"]) is None
