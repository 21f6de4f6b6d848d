"""Measures in studies: valid metrics of tables, and a real study from file to table."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from ibml.common.errors import ConfigError
from ibml.study.planning.plan import load_plan
from ibml.study.planning.trials import build_trials
from tests.conftest import CommandLine

STUDY = """\
name: measured
description: How much does each modality do?
base: mfeat
overrides: {trainer.epochs: 2, trainer.measures: MEASURES}
design:
  type: arms
  reference: Joint
  arms:
    Joint: {method.type: joint}
    Blended: {method.type: g_blending, method.super_epoch: 2}
    Pix: {method: {type: unimodal, modality: pix}}
seeds: SEEDS
table: {metrics: METRICS}
"""


def text(metrics: str, measures: str = "[]", seeds: str = "2") -> str:
    return STUDY.replace("MEASURES", measures).replace("SEEDS", seeds).replace("METRICS", metrics)


def problems(tmp_path: Path, content: str) -> list[str]:
    path = tmp_path / "study.yaml"
    path.write_text(content)
    try:
        load_plan(path)
    except ConfigError as error:
        return [str(problem).removeprefix(f"{tmp_path}/") for problem in error.problems]
    return []


@pytest.mark.parametrize(
    ("metrics", "measures", "expected"),
    [
        (
            "[test.shapley.pix]",
            "[noise]",
            "no trial logs 'test.shapley.pix'; add shapley to trainer.measures",
        ),
        ("[test.ece]", "[]", "no trial logs 'test.ece'; add calibration to trainer.measures"),
        (
            "[time.measure.noise]",
            "[]",
            "no trial logs 'time.measure.noise'; add noise to trainer.measures",
        ),
        (
            "[selected.train.discrepancy]",
            "[]",
            "no trial logs 'selected.train.discrepancy'; add discrepancy to trainer.measures",
        ),
        (
            "[test.shapley.pics]",
            "[shapley]",
            "no trial logs 'test.shapley.pics'; did you mean 'test.shapley.pix'",
        ),
        (
            "[test.utilisation.zer]",
            "[]",
            "'test.utilisation.zer' compares with an arm that uses zer alone",
        ),
        (
            "[test.utilisation.pics]",
            "[]",
            "no trial logs 'test.utilisation.pics'; did you mean 'test.utilisation.pix'",
        ),
        (
            "[test.utilization.pix]",
            "[]",
            "no trial logs 'test.utilization.pix'; did you mean 'test.utilisation.pix'",
        ),
    ],
)
def test_a_metric_that_no_trial_has_is_refused_with_what_to_do(
    tmp_path: Path, metrics: str, measures: str, expected: str
) -> None:
    found = problems(tmp_path, text(metrics, measures))
    assert len(found) == 1, found
    assert found[0].startswith(f"study.yaml:13: table.metrics[0]: {expected}")


def test_a_measure_that_there_is_not_is_refused_in_its_line(tmp_path: Path) -> None:
    (found,) = problems(tmp_path, text("[test.accuracy]", "[shapley, nois]"))
    assert found.startswith(
        "study.yaml:4: overrides: trainer.measures[1]: 'nois' is not known; did you mean 'noise'?"
    )
    (found,) = problems(tmp_path, text("[test.accuracy]", "[noise, noise]"))
    assert found == "study.yaml:4: overrides: trainer.measures: a measure is listed twice"


def test_what_trials_log_can_be_in_tables(tmp_path: Path) -> None:
    metrics = (
        "[test.utilisation.pix, samples.total, test.ece, test.noisy.high, test.missing.zer, "
        "time.measure.noise]"
    )
    assert problems(tmp_path, text(metrics, "[calibration, noise, missing]")) == []


def test_two_arms_that_have_the_modality_alone_leave_open_which_is_meant(tmp_path: Path) -> None:
    slow = "    Slow: {method: {type: unimodal, modality: pix}, optimizer.lr: 0.001}\nseeds"
    found = problems(tmp_path, text("[test.utilisation.pix]").replace("seeds", slow))
    assert len(found) == 1
    assert found[0].startswith("study.yaml:14: table.metrics[0]: 'test.utilisation.pix'")
    assert found[0].endswith("Pix, Slow")


@pytest.mark.parametrize(
    ("seeds", "metrics", "place"),
    [
        (
            "{min: 2, max: 4}",
            "[test.utilisation.pix, test.accuracy]",
            "study.yaml:13: table.metrics[0]",
        ),
        (
            "{min: 2, max: 4, metric: test.utilisation.pix}",
            "[test.accuracy, test.utilisation.pix]",
            "study.yaml:12: seeds.metric",
        ),
    ],
)
def test_seeds_are_not_decided_by_a_utilisation(
    tmp_path: Path, seeds: str, metrics: str, place: str
) -> None:
    (found,) = problems(tmp_path, text(metrics, seeds=seeds))
    assert found.startswith(f"{place}: ")
    assert "'test.utilisation.pix' compares two" in found
    assert (
        problems(tmp_path, text("[test.accuracy, test.utilisation.pix]", seeds="{min: 2, max: 4}"))
        == []
    )


def test_no_measures_are_the_trials_that_there_were(tmp_path: Path) -> None:
    def keys(content: str) -> list[str]:
        path = tmp_path / "study.yaml"
        path.write_text(content)
        return [trial.key for trial in build_trials(load_plan(path))]

    none = keys(text("[test.accuracy]"))
    assert none == keys(text("[test.accuracy]").replace(", trainer.measures: []", ""))
    some = keys(text("[test.accuracy]", "[noise, shapley]"))
    assert some == keys(text("[test.accuracy]", "[shapley, noise]"))
    assert not set(none) & set(some)


EVERY = "[shapley, discrepancy, complementarity, calibration, missing, noise]"
SHOWN = [
    *(
        "test.utilisation.pix",
        "test.shapley.pix",
        "test.shapley.zer",
        "test.missing.pix",
        "test.complementarity.zer",
    ),
    *(
        "test.ece",
        "test.noisy.low",
        "test.noisy.high",
        "selected.train.discrepancy",
        "samples.total",
    ),
    "time.measure.complementarity",
]


@pytest.mark.slow
def test_measures_reach_the_table(cli: CommandLine) -> None:
    cli.write(
        "measured.yaml",
        text(f"[{', '.join(['test.accuracy', *SHOWN, 'test.accuracy.pix'])}]", EVERY),
    )
    answer = cli.study("ablate", "measured.yaml")
    assert answer.code == 0, answer.err
    table = json.loads(cli.inside("table", "measured.yaml", "--format", "json").out)
    values = {(row["arm"], row["metric"]): row for row in table["rows"]}
    assert "Trained on more samples than Joint: Blended 4.00 times." in " ".join(table["foot"])
    for arm in ("Joint", "Blended"):
        for name in SHOWN:
            assert math.isfinite(values[arm, name]["mean"]), name
    assert values["Pix", "test.utilisation.pix"]["mean"] == 100
