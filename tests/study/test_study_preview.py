"""Output of a dry run: arms, and trials left to train."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from ibml.study.planning.dry_run.remaining import Remaining, count_remaining
from ibml.study.planning.dry_run.study_preview import preview_study
from ibml.study.planning.plan import Plan, load_plan
from ibml.study.planning.trials import build_trials
from ibml.tracking.store.listing import ListedTrial
from ibml.tracking.store.peek import Peek

ARMS = {
    "type": "arms",
    "reference": "weak",
    "arms": {
        "weak": {"method.bio.weight": 0.5},
        "whole": {},
        "other": {"method.type": "ogm_ge"},
        "set": {
            "method": {"type": "ogm_ge", "alpha": 0.9},
            "fusion": {"type": "film", "condition": "last"},
        },
        "none": {"method.type": "joint"},
        "late": {"method.window.stop_epoch": None, "method.window.first_epoch": 3},
    },
}


def plan_of(**more: Any) -> Plan:
    return load_plan({"name": "x", "base": "mfeat", "design": ARMS, "seeds": 3, **more})


def shown(plan: Plan, *given: Any, **more: Any) -> list[str]:
    console = Console(file=io.StringIO(), width=300, color_system=None)
    console.print(preview_study(plan, *given, **more))
    return [line.strip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def listed(trial: Any, status: str = "finished", **metrics: float) -> ListedTrial:
    return ListedTrial(trial.key, status, trial.fingerprint, "", metrics)


def test_an_arm_differs_in_what_it_sets_and_defaults_of_another_type_are_counted() -> None:
    lines = {
        line.split()[0]: line.split("120", 1)[1].strip()
        for line in shown(plan_of())
        if "  120 " in line
    }
    assert lines == {
        "weak": "reference",
        "whole": "method.bio.weight: 1.0",
        # alpha, ge and the first epoch of the window, which is not that of the usual method
        "other": "method.type: ogm_ge with 3 defaults",
        "set": "fusion.type: film, fusion.condition: last, method.type: ogm_ge with 2 defaults, "
        "method.alpha: 0.9",
        "none": "method.type: joint",
        "late": "method.window.first_epoch: 3, method.bio.weight: 1.0",
    }


@pytest.mark.parametrize(
    ("ended", "status", "expected"),
    [
        (0, "finished", Remaining(0, (18, 18), (720, 720))),
        (5, "finished", Remaining(5, (13, 13), (520, 520))),
        (5, "diverged", Remaining(5, (13, 13), (520, 520))),
        (5, "failed", Remaining(0, (18, 18), (720, 720))),
        (5, "running", Remaining(0, (18, 18), (720, 720))),
        (18, "finished", Remaining(18, (0, 0), (0, 0))),
    ],
)
def test_trials_that_have_ended_are_counted(ended: int, status: str, expected: Remaining) -> None:
    plan = plan_of()
    assert (
        count_remaining(plan, [listed(t, status) for t in build_trials(plan)[:ended]]) == expected
    )


def test_of_seeds_that_depend_on_results_what_is_left_is_a_range() -> None:
    design = {
        "type": "leave_one_out",
        "components": {"BIO": {"method.bio.weight": 0}, "TCM": {"method.tcm.rate": 0}},
    }
    plan = plan_of(
        design=design, seeds={"min": 3, "max": 5, "metric": "test.accuracy"}, table={"alpha": 0.2}
    )
    trials = build_trials(plan)

    def results(seeds: int) -> list[ListedTrial]:
        """The arm without BIO is worse by the same in every seed. The arm without TCM is not."""
        values = {"full": 0.9, "w/o BIO": 0.5, "w/o TCM": 0.9}
        return [
            listed(
                t,
                **{
                    "test.accuracy": values[t.cell.arm]
                    + 0.001 * (t.config.seed * (len(t.cell.arm) + 1) % 7)
                },
            )
            for t in trials
            if t.config.seed < seeds
        ]

    assert count_remaining(plan, []) == Remaining(0, (9, 15), (360, 600))
    assert count_remaining(plan, results(2)) == Remaining(6, (3, 9), (120, 360))
    # after three seeds BIO is decided, so the two others are trained on
    assert count_remaining(plan, results(3)) == Remaining(9, (2, 4), (80, 160))
    assert count_remaining(plan, results(5)) == Remaining(15, (0, 0), (0, 0))


def test_a_study_whose_results_are_all_there_has_nothing_left() -> None:
    plan = plan_of()
    past = Peek(tuple(map(listed, build_trials(plan))))
    assert "18 of 18 trials have a result already; left to train: nothing." in shown(plan, past)
    assert "18 of 18 trials have a result already and would be trained again (--rerun)." in shown(
        plan, past, rerun=True
    )
    assert "the store is away; the number of trials with a result is not known." in shown(
        plan, Peek(problem="the store is away")
    )


def test_results_on_files_are_of_their_content(tmp_path: Path) -> None:
    root = tmp_path / "own"
    root.mkdir()
    rows = [
        {"split": "train" if n < 8 else "test", "label": n % 2, "a": f"{n} 1", "b": [n, 2]}
        for n in range(12)
    ]
    (root / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {name: {"kind": "vector", "column": name} for name in "ab"}
    own = {
        "type": "folder",
        "root": str(root),
        "tables": "t.jsonl",
        "columns": columns,
        "validation": 0.34,
    }
    arms = {"type": "arms", "reference": "a", "arms": {"a": {}, "b": {"method.type": "joint"}}}
    plan = plan_of(
        design=arms, base={"data": own, "encoders": {"default": {"type": "mlp"}}}, seeds=2
    )
    results = [listed(trial) for trial in build_trials(plan)]
    assert count_remaining(plan, results) == Remaining(4, (0, 0), (0, 0))
    (root / "t.jsonl").write_text("".join(json.dumps({**row, "a": "5 5"}) + "\n" for row in rows))
    assert count_remaining(plan, results) == Remaining(0, (4, 4), (160, 160))
    root.rename(tmp_path / "elsewhere")
    found = count_remaining(plan, results)
    assert (found.done, found.trials) == (4, (0, 0))
    assert found.notes[0].startswith("The data set folder was not found here")
