"""Names are normalized: NFC and NFD, and surrounding spaces."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from ibml.common.errors import ConfigError
from ibml.study.planning.plan import Plan, load_plan
from ibml.study.planning.trials import build_trials

COMPOSED, DECOMPOSED = "Café", unicodedata.normalize("NFD", "Café")
STUDY = """\
name: " small "
base: mfeat
datasets:
  "two é ": {data.views: [pix, zer]}
  six: {data.views: [fou, fac]}
overrides: {trainer.epochs: 3}
design:
  type: arms
  reference: " Café"
  arms:
    Café: {method.type: joint}
    " B ": {}
seeds: 1
table:
  rows: ["B ", Café]
  groups: {" Ours é": [" B "]}
  names: {Café : " Mine ", " B": Café!}
  components: {"BIO é": method.bio.weight}
"""


def load(folder: Path, text: str, *overrides: str) -> Plan:
    (folder / "small.yaml").write_text(text, encoding="utf-8")
    return load_plan(folder / "small.yaml", overrides)


def problems(folder: Path, text: str, *overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load(folder, text, *overrides)
    return [str(problem).removeprefix(f"{folder}/") for problem in caught.value.problems]


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_names_are_composed_and_stripped(tmp_path: Path, form: str) -> None:
    plan = load(tmp_path, unicodedata.normalize(form, STUDY))
    assert (plan.name, plan.reference, plan.arms, plan.datasets) == (
        "small",
        COMPOSED,
        [COMPOSED, "B"],
        ["two é", "six"],
    )
    table = plan.study.table
    assert (table.rows, table.groups) == (("B", COMPOSED), {"Ours é": ("B",)})
    assert table.names == {COMPOSED: "Mine", "B": "Café!"}
    assert list(table.components or {}) == ["BIO é"]
    assert len({trial.key for trial in build_trials(plan)}) == 4


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_an_override_meets_the_name_in_the_file(tmp_path: Path, form: str) -> None:
    plan = load(tmp_path, STUDY, unicodedata.normalize(form, "design.arms.Café.optimizer.lr=0.5"))
    assert plan.arms == [COMPOSED, "B"]
    assert plan.cells[0].config.optimizer.lr == 0.5
    assert problems(tmp_path, STUDY, "design.arms.B .optimizer.lr=0.5")[0].startswith(
        "-o design.arms.B .optimizer.lr=0.5: design.arms: 'B' is given twice, first in line 12; "
        "spaces around a name"
    )


ARMS = "design:\n  type: arms\n  reference: A\n  arms:\n    A: {method.type: joint}\n    B: {}\n"
FACTORS = """\
design:
  type: factorial
  factors:
    LR:
      low: {optimizer.lr: 0.1}
      high: {optimizer.lr: 0.2}
"""
PARTS = """\
design:
  type: leave_one_out
  components:
    BIO: {method.bio.weight: 0}
    TCM: {method.tcm.rate: 0}
"""
HEAD = "name: small\nbase: mfeat\n"


@pytest.mark.parametrize(
    ("design", "change", "expected"),
    [
        (
            ARMS,
            ("    B:", '    "A ":'),
            "small.yaml:8: design.arms: 'A' is given twice, first in line 7",
        ),
        (
            ARMS,
            ("A: {m", f"{COMPOSED}: {{m", "    B:", f"    {DECOMPOSED}:"),
            "small.yaml:8: design.arms: 'Café' is",
        ),
        (
            PARTS,
            ("TCM", '"BIO "'),
            "small.yaml:7: design.components: 'BIO' is given twice, first in line 6",
        ),
        (
            FACTORS,
            ("high", '" low"'),
            "small.yaml:8: design.factors.LR: 'low' is given twice, first in line 7",
        ),
        (
            ARMS + "datasets:\n  x: {}\n  ' x': {}\n",
            (),
            "small.yaml:11: datasets: 'x' is given twice, first in line 10",
        ),
        (
            ARMS + "table:\n  names:\n    A: x\n    'A ': y\n",
            (),
            "small.yaml:12: table.names: 'A' is given twice",
        ),
        (
            ARMS + "table:\n  groups:\n    g: [A]\n    'g ': [B]\n",
            (),
            "small.yaml:12: table.groups: 'g' is given twice",
        ),
        (
            ARMS + "table:\n  rows: [A, ' A']\n",
            (),
            "small.yaml:10: table.rows: a name is listed twice",
        ),
        (
            ARMS + f"datasets: [{COMPOSED}.yaml, b/{DECOMPOSED}.yaml]\n",
            (),
            "small.yaml:9: datasets: a data set is",
        ),
    ],
)
def test_two_names_that_become_one_are_refused(
    tmp_path: Path, design: str, change: tuple[str, ...], expected: str
) -> None:
    for old, new in zip(change[::2], change[1::2], strict=True):
        assert old in design
        design = design.replace(old, new)
    assert any(problem.startswith(expected) for problem in problems(tmp_path, HEAD + design))


def test_values_that_become_one_name_are_refused(tmp_path: Path) -> None:
    design = "design:\n  type: one_factor\n  factors:\n    data.root: [Café, Café]\n"
    text = HEAD + design.replace("Café]", f"{DECOMPOSED}]").replace("[Café", f"[{COMPOSED}")
    found = problems(tmp_path, text.replace("data.root", "fusion.type"))
    assert any("two arms would have the name 'fusion.type=Café'" in problem for problem in found)


def test_names_that_differ_in_case_are_two(tmp_path: Path) -> None:
    plan = load(tmp_path, HEAD + ARMS.replace("    B:", "    a:"))
    assert plan.arms == ["A", "a"]
