"""Equality of designs, and names of studies with overrides."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from ibml.cli.report_folder import REPORTS
from ibml.common.paths import join_escaped
from ibml.config.trial import build_canonical_form
from ibml.records import StudyRecord
from ibml.study.planning.design_changes import DesignChange, compare_design, read_canonical
from ibml.study.planning.plan import Plan, load_plan
from ibml.study.planning.record import study_record
from ibml.study.planning.trials import build_trials
from ibml.tracking.study_tags import format_study_tag, parse_studies
from tests.conftest import ROOT

STUDY = """\
name: small
description: First
base: mfeat
overrides: {trainer.epochs: 2}
design:
  type: arms
  reference: Joint
  arms:
    Joint: {method.type: joint}
    IBML: {}
    TCM: {method.bio.weight: 0}
seeds: 2
table: {metrics: [test.gap]}
"""
TUNE = "tune: {space: {parameters: {optimizer.lr: {low: 0.01, high: 0.1}}, trials: 2}}\n"


def record_of(folder: Path, text: str, *overrides: str) -> StudyRecord:
    """The record of a study as the store gives it back."""
    (folder / "before.yaml").write_text(text)
    plan = load_plan(folder / "before.yaml", overrides)
    record = study_record(plan, [] if plan.tuning else build_trials(plan))
    return StudyRecord.model_validate_json(record.model_dump_json())


def compare(folder: Path, record: StudyRecord, text: str) -> DesignChange:
    (folder / "now.yaml").write_text(text)
    return compare_design(record, load_plan(folder / "now.yaml"))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("trainer.epochs: 2", "trainer.epochs: 3"), "trainer.epochs: 2 -> 3"),
        (("IBML: {}", "IBML: {optimizer.lr: 0.5}"), "'IBML': optimizer.lr: 0.01 -> 0.5"),
        (("IBML: {}", "BIO: {method.tcm.rate: 0}"), "arms: 'IBML' -> 'BIO'"),
        (
            ("base: mfeat", "base: mfeat\ndatasets: {six: {data.views: [fou, fac]}}"),
            "'six · Joint'",
        ),
        (("seeds: 2", "seeds: [1, 2]"), "seeds: [0, 1] -> [1, 2]"),
        (("seeds: 2", "seeds: [5, 6]"), "seeds: [0, 1] -> [5, 6]"),
        (("seeds: 2", TUNE + "seeds: 2"), "tune: no -> yes"),
    ],
)
def test_another_design_is_another_study(
    tmp_path: Path, change: tuple[str, str], words: str
) -> None:
    record = record_of(tmp_path, STUDY)
    assert words in "\n".join(compare(tmp_path, record, STUDY.replace(*change)).changes)


@pytest.mark.parametrize(
    ("change", "notice"),
    [
        (("First", "Another description"), ""),
        (("seeds: 2", "seeds: 3"), ""),
        (("seeds: 2", "seeds: {min: 2, max: 4}"), ""),
        (("    TCM:", "    BIO: {method.tcm.rate: 0}\n    TCM:"), ""),
        (("test.gap", "test.accuracy"), ""),
        (("IBML: {}", "IBML: {method: {bio: {weight: 1.0}}}"), ""),
        (("IBML: {}", "IBML: {trainer.keep: none}"), ""),
        (("Joint: {method.type: joint}", "Joint: {method.bio.weight: 0, method.tcm.rate: 0}"), ""),
        (("seeds: 2", "resources: {cpu: 0.5}\nseeds: 2"), ""),
        (("IBML: {}", "Ours: {}"), "the arm 'IBML' is now called 'Ours'"),
        (
            ("    TCM: {method.bio.weight: 0}\n", ""),
            "'TCM' is no longer part of it; its results stay in MLflow",
        ),
        (("seeds: 2", "seeds: 1"), "seeds: [0, 1] -> [0]; the other results stay in MLflow"),
        (("reference: Joint", "reference: IBML"), "the reference is now 'IBML'; it was 'Joint'"),
    ],
)
def test_the_same_study_says_what_it_leaves_out(
    tmp_path: Path, change: tuple[str, str], notice: str
) -> None:
    found = compare(tmp_path, record_of(tmp_path, STUDY), STUDY.replace(*change))
    assert found.changes == []
    assert found.notices == ([notice] if notice else [])


def test_arms_that_swap_their_names_are_said(tmp_path: Path) -> None:
    swapped = STUDY.replace("IBML:", "X:").replace("TCM:", "IBML:").replace("X:", "TCM:")
    found = compare(tmp_path, record_of(tmp_path, STUDY), swapped)
    assert found.changes == []
    assert found.notices == [
        "the arm 'IBML' is now called 'TCM'",
        "the arm 'TCM' is now called 'IBML'",
    ]


def test_the_space_of_tuned_arms_is_part_of_the_design(tmp_path: Path) -> None:
    tuned = STUDY + TUNE
    record = record_of(tmp_path, tuned)
    assert compare(tmp_path, record, tuned.replace("trials: 2", "trials: 5")).changes == []
    assert (
        compare(tmp_path, record, tuned.replace("    TCM: {method.bio.weight: 0}\n", "")).changes
        == []
    )
    other = compare(tmp_path, record, tuned.replace("high: 0.1", "high: 0.2"))
    assert other.changes == ["tune.parameters.optimizer.lr.high: 0.1 -> 0.2"]
    assert compare(tmp_path, record, STUDY).changes


OLD = {"base_name", "tune"}
"""Fields that an earlier version of ibml did not record."""


def test_a_record_from_before_is_the_same_study(tmp_path: Path) -> None:
    for text in (STUDY, STUDY + TUNE):
        content = record_of(tmp_path, text).model_dump(mode="json", exclude=OLD)
        del content["configs"]["mfeat"]["trainer.compile"]  # a field that ibml did not have
        old = StudyRecord.model_validate(content)
        assert compare(tmp_path, old, text.replace("seeds: 2", "seeds: 3")).changes == []
        assert (
            "trainer.epochs: 2 -> 3"
            in compare(tmp_path, old, text.replace("epochs: 2", "epochs: 3")).changes
        )
    assert compare(tmp_path, old, STUDY).changes == ["tune: yes -> no"]
    assert compare_design(None, load_plan(tmp_path / "now.yaml")).changes == [], "it cannot be read"


def test_a_record_of_an_overridden_run_from_before_gives_way(tmp_path: Path) -> None:
    """An earlier ibml recorded every run under the study's own name."""
    record = record_of(tmp_path, STUDY, "trainer.epochs=3")
    old = StudyRecord.model_validate(record.model_dump(mode="json", exclude=OLD))
    found = compare(tmp_path, old, STUDY)
    assert found.changes == []
    assert len(found.notices) == 1
    assert "a run with trainer.epochs=3" in found.notices[0]
    assert "trainer.epochs: 3 -> 2" in compare(tmp_path, record, STUDY).changes


NAMES: list[tuple[Sequence[str], str]] = [
    (["trainer.epochs=3"], "small+trainer.epochs=3"),
    (["trainer={epochs: 3}"], "small+trainer.epochs=3"),
    (["optimizer.lr=1e-4"], "small+optimizer.lr=0.0001"),
    (["method.bio.weight=2"], "small+method.bio.weight=2"),
    (["method.bio.weight=2.0"], "small+method.bio.weight=2"),
    (["seeds=3", "trainer.epochs=3"], "small+seeds=3+trainer.epochs=3"),
    (
        ["trainer.epochs=3", "seeds=3", "resources.cpu=0.5", "trainer.keep=none"],
        "small+seeds=3+trainer.epochs=3",
    ),
    (["trainer.epochs=2", "seeds=2"], "small"),
    (["seeds=[0, 1]"], "small"),
    (["description=Why"], "small"),
    (["name=quick", "trainer.epochs=3"], "quick"),
    (["data.views=[pix, mor]"], "small+data.views=pix-mor-????????"),
    (["table.names={IBML: ../../x}"], "small+table.names.IBML=x-????????"),
    (
        ["design.arms.A b'c={method.bio.weight: 2}"],
        "small+design.arms.A-b-c.method.bio.weight=2-????????",
    ),
]


@pytest.mark.parametrize(("overrides", "expected"), NAMES)
def test_overrides_make_a_name_for_shells_folders_and_tags(
    tmp_path: Path, overrides: Sequence[str], expected: str
) -> None:
    (tmp_path / "small.yaml").write_text(STUDY)
    name = load_plan(tmp_path / "small.yaml", overrides).name
    assert re.fullmatch(re.escape(expected).replace(r"\?", "[0-9a-f]"), name)
    assert re.fullmatch(r"[A-Za-z0-9._=+-]+", name), "no shell needs quotes"
    assert join_escaped(REPORTS, name) == REPORTS / name, "the folder is called as the study"
    assert parse_studies({format_study_tag(name): "IBML"}) == {name: "IBML"}
    assert re.fullmatch(r"[/\w.\- :]+", format_study_tag(name)), "MLflow takes the tag"


def test_many_overrides_have_a_short_name(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(STUDY)
    paths = [
        "optimizer.lr",
        "method.bio.weight",
        "method.tcm.rate",
        "trainer.batch_size",
        "encoders.default.features",
    ]
    given = [[f"{path}={number}" for number, path in enumerate(paths, first)] for first in (2, 12)]
    names = [
        load_plan(file, [text.replace("tcm.rate=", "tcm.rate=0.") for text in texts]).name
        for texts in given
    ]
    assert len(set(names)) == 2
    assert all(len(name) <= 100 for name in names)


def begun(plan: Plan) -> StudyRecord:
    """The record of a plan that was begun; the real keys of its trials need the data."""
    record = study_record(plan, [])
    if plan.tuning:
        return record
    return record.model_copy(
        update={"trials": tuple(t.model_copy(update={"key": "0" * 64}) for t in record.trials)}
    )


def test_every_shipped_study_is_read_back_from_its_record() -> None:
    files = sorted((ROOT / "ablations").glob("*.yaml"))
    assert files
    for file in files:
        plan = load_plan(file)
        record = StudyRecord.model_validate_json(begun(plan).model_dump_json())
        for cell in plan.cells:
            recorded = {
                **record.configs[cell.dataset],
                **record.changes[cell.dataset].get(cell.arm, {}),
            }
            assert read_canonical(recorded) == json.dumps(
                build_canonical_form(cell.config), sort_keys=True
            ), cell.arm
        assert compare_design(record, plan) == DesignChange(identical=True)


def test_a_place_of_data_is_no_part_of_a_design() -> None:
    file = ROOT / "ablations" / "paper" / "cremad.yaml"
    plans = [load_plan(file, [f"data.root={root}"]) for root in ("/here", "/there")]
    assert [plan.name for plan in plans] == ["cremad", "cremad"]
    assert compare_design(begun(plans[0]), plans[1]).changes == []
