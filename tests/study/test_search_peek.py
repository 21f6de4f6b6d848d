"""A dry run of a search describes its database without changing it."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest
from optuna.trial import TrialState

from ibml.search.database import Database
from ibml.search.plan import SearchPlan, load_search
from ibml.study.engine.searches import open_search
from ibml.study.planning.dry_run.search_peek import peek_searches
from tests.conftest import ROOT, CommandLine

SPACE = """\
name: sp
base: mfeat
overrides: {trainer.epochs: 2}
parameters:
  optimizer.lr: {low: 0.001, high: 0.1, log: true}
objectives: [{metric: val.accuracy}]
sampler: {type: random}
trials: 5
"""


@pytest.fixture
def begun(cli: CommandLine) -> CommandLine:
    """Create a search with two complete trials, a pruned one, and an interrupted one."""
    plan = load_search(cli.write("sp.yaml", SPACE))
    study = opened(cli, plan).study
    for state in (TrialState.COMPLETE, TrialState.COMPLETE, TrialState.PRUNED):
        study.tell(study.ask(), 0.5 if state == TrialState.COMPLETE else None, state=state)
    study.ask()
    return cli


def opened(cli: CommandLine, plan: SearchPlan, **more: Any) -> Any:
    return open_search(plan, Database(url(cli)), cli.folder, plan.name, **more).search


def url(cli: CommandLine, name: str = "optuna.db") -> str:
    return f"sqlite:///{cli.folder / name}"


def said(cli: CommandLine, *options: str) -> str:
    answer = cli.inside("tune", "sp.yaml", "--dry-run", *options)
    assert answer.code == 0, answer.err
    return " ".join(answer.out.split())


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (
            [],
            "3 of 5 trials of the search are done; left to train: 2 with 4 epochs. Nothing was "
            "run.",
        ),
        (
            ["-o", "trials=9"],
            "3 of 9 trials of the search are done; left to train: 6 with 12 epochs.",
        ),
        (["-o", "trials=2"], "2 of 2 trials of the search are done; left to train: nothing."),
        (
            ["-o", "optimizer.momentum=0.5"],
            "0 of 5 trials of the search are done; left to train: 5 with 10 epochs."
            " The database has 'sp' with other settings: use --new-version",
        ),
        (
            ["-o", "name=other"],
            "0 of 5 trials of the search are done; left to train: 5 with 10 epochs. Nothing",
        ),
    ],
)
def test_a_dry_run_counts_the_trials_of_a_search(
    begun: CommandLine, options: list[str], expected: str
) -> None:
    assert expected in said(begun, "--storage", url(begun), *options)


def test_the_version_with_the_same_settings_counts(begun: CommandLine) -> None:
    second = load_search(begun.folder / "sp.yaml", overrides=["optimizer.momentum=0.5"])
    study = opened(begun, second, new_version=True).study
    assert study.study_name == "sp v2"
    study.tell(study.ask(), 0.5)
    given = ("--storage", url(begun))
    assert "1 of 5 trials of the search are done" in said(
        begun, *given, "-o", "optimizer.momentum=0.5"
    )
    assert "3 of 5 trials of the search are done" in said(begun, *given)


def test_no_database_is_made_or_changed(begun: CommandLine) -> None:
    before = (begun.folder / "optuna.db").read_bytes()
    said(begun, "--storage", url(begun))
    assert (begun.folder / "optuna.db").read_bytes() == before
    assert "0 of 5 trials of the search are done" in said(begun, "--storage", url(begun, "none.db"))
    assert not (begun.folder / "none.db").exists()
    (begun.folder / "empty.db").touch()
    assert "0 of 5" in said(begun, "--storage", url(begun, "empty.db"))
    assert (begun.folder / "empty.db").read_bytes() == b""
    (begun.folder / "text.db").write_text(
        "no database, but long enough to be looked at as one" * 30
    )
    assert "text.db could not be read; the number of done trials is not known." in said(
        begun, "--storage", url(begun, "text.db")
    )


def test_searches_of_arms_are_counted_together(cli: CommandLine) -> None:
    cli.write(
        "space.yaml",
        SPACE.replace("overrides: {trainer.epochs: 2}\n", "").replace("trials: 5", "trials: 3"),
    )
    design = "design: {type: leave_one_out, components: {BIO: {method.bio.weight: 0}}}"
    tail = "seeds: 2\ntune: {space: space.yaml}\n"
    cli.write(
        "tuned.yaml",
        f"name: tuned\nbase: mfeat\noverrides: {{trainer.epochs: 2}}\n{design}\n{tail}",
    )
    answer = cli.inside("ablate", "tuned.yaml", "--dry-run", "--storage", url(cli))
    assert answer.code == 0, answer.err
    shown = " ".join(answer.out.split())
    assert "0 of 6 trials of the searches are done; left to train: 6 with 12 epochs." in shown
    assert "The number of trials with a result is known after the arms are tuned." in shown


def test_a_peek_needs_no_optuna(begun: CommandLine) -> None:
    code = (
        "import sys; from ibml.study.planning.dry_run.search_peek import peek_searches;"
        f"print(peek_searches({url(begun)!r}).done); print({{'optuna', 'torch', 'ray', 'mlflow'}} "
        "& set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=dict(os.environ),
    )
    assert done.stdout.splitlines() == ["{'sp': 3}", "set()"]
    assert peek_searches(url(begun)).done == {"sp": 3}
