"""The tags of trials follow their study, and `ibml list` says what there is."""

from __future__ import annotations

from typing import Any

import pytest

from ibml.study.planning.plan import load_plan
from ibml.study.planning.trials import build_trials
from tests.conftest import CommandLine
from tests.study.test_versions import STUDY, listed, run_id
from tests.support.recorded import ablate, store_of, trials

ARMS = STUDY.replace("    IBML: {}\n", "    IBML: {}\n    TCM: {method.bio.weight: 0}\n")


@pytest.fixture
def cli(shared_cli: CommandLine) -> CommandLine:
    return shared_cli


def study(name: str, number: int) -> str:
    """A study whose trials no other test has, since the same trial is the same run."""
    return ARMS.replace("name: small", f"name: {name}").replace("epochs: 2", f"epochs: {number}")


def runs(cli: CommandLine, text: str) -> dict[str, Any]:
    """Arm and seed -> the run, by the keys of a study."""
    by_key = {run.data.tags["ibml.key"]: run for run in trials(cli)}
    planned = build_trials(load_plan(cli.write("asked.yaml", text)))
    return {
        f"{trial.cell.arm} {trial.config.seed}": by_key[trial.key]
        for trial in planned
        if trial.key in by_key
    }


def labels(run: Any) -> dict[str, str]:
    shown = ("ibml.study", "ibml.arm", "mlflow.runName", "mlflow.parentRunId")
    return {k: v for k, v in run.data.tags.items() if k in shown or k.startswith("ibml.study.")}


@pytest.mark.slow
def test_a_renamed_arm_has_its_new_name_everywhere(cli: CommandLine) -> None:
    before = study("renamed", 11)
    ablate(cli, before)
    after = before.replace("IBML:", "Ours é:")
    answer = ablate(cli, after)
    assert answer.code == 0, answer.err
    found = runs(cli, after)
    assert labels(found["Ours é 1"]) == {
        "ibml.study": "renamed",
        "ibml.study.renamed": "Ours é",
        "ibml.arm": "Ours é",
        "mlflow.runName": "Ours é · seed 1",
        "mlflow.parentRunId": run_id(cli, "renamed"),
    }
    assert labels(found["TCM 1"])["mlflow.runName"] == "TCM · seed 1"
    shown = cli.inside("show", found["Ours é 1"].info.run_id).out
    assert "renamed (as Ours é)" in " ".join(shown.split()), "from the cache too"


@pytest.mark.slow
def test_a_removed_arm_leaves_the_study_and_may_return(cli: CommandLine) -> None:
    before = study("removed", 12)
    ablate(cli, before)
    original = labels(runs(cli, before)["TCM 0"])
    answer = ablate(cli, before.replace("    TCM: {method.bio.weight: 0}\n", ""))
    assert "removed: 'TCM' is no longer part of it; its results stay in MLflow" in answer.out
    found = runs(cli, before)
    assert labels(found["TCM 0"]) == {
        "ibml.study": "",
        "ibml.arm": "TCM",
        "mlflow.runName": "TCM · seed 0",
    }
    assert labels(found["IBML 0"])["ibml.study.removed"] == "IBML"
    assert listed(cli, "removed")[0].startswith("removed study complete 4 / 4")
    ablate(cli, before.replace("TCM:", "Only TCM:"))
    returned = labels(runs(cli, before)["TCM 0"])
    parent = {"mlflow.parentRunId": run_id(cli, "removed")}
    assert returned | parent == returned
    assert returned == original | parent | {
        "ibml.study.removed": "Only TCM",
        "ibml.arm": "Only TCM",
        "mlflow.runName": "Only TCM · seed 0",
    }


@pytest.mark.slow
def test_a_trial_of_two_studies_keeps_the_name_that_its_own_gave(cli: CommandLine) -> None:
    own = study("own", 13)
    ablate(cli, own)
    other = own.replace("name: own", "name: other").replace("IBML:", "Best:")
    ablate(cli, other)
    ablate(cli, other.replace("Best:", "Better:"))
    tags = labels(runs(cli, own)["IBML 0"])
    assert tags["ibml.study.own"] == tags["ibml.arm"] == "IBML"
    assert tags["ibml.study.other"] == "Better"
    assert (tags["ibml.study"], tags["mlflow.runName"]) == ("own", "IBML · seed 0")
    ablate(cli, other.replace("    Best: {}\n", ""))
    tags = labels(runs(cli, own)["IBML 0"])
    assert "ibml.study.other" not in tags
    assert tags["ibml.study.own"] == "IBML"


def test_a_study_that_lost_a_result_is_incomplete(cli: CommandLine) -> None:
    text = study("lossy", 14)
    ablate(cli, text)
    assert listed(cli, "lossy")[0].startswith("lossy study complete 6 / 6")
    lost = runs(cli, text)["IBML 0"]
    store_of(cli).delete_run(lost.info.run_id)
    assert listed(cli, "lossy")[0].startswith("lossy study incomplete 5 / 6")
    store_of(cli).client.restore_run(lost.info.run_id)
    assert listed(cli, "lossy")[0].startswith("lossy study complete 6 / 6")


@pytest.mark.slow
def test_a_study_whose_run_was_deleted_is_listed_and_made_again(cli: CommandLine) -> None:
    text = study("gone", 15)
    ablate(cli, text)
    before = cli.inside("table", "gone").out
    store_of(cli).delete_run(run_id(cli, "gone"))
    line = listed(cli, "gone")[0]
    assert line.startswith("gone study deleted 6 / 6")
    assert "(its run was deleted in MLflow" in line
    for command in (("table", "gone"), ("report", "gone")):
        answer = cli.inside(*command)
        assert answer.code == 1
        assert (
            "no study is called 'gone' in sqlite:///mlflow.db: its run was deleted; restore it"
            in answer.err
        )
    assert ablate(cli, text).code == 0
    assert listed(cli, "gone")[0].startswith("gone study complete 6 / 6")
    assert len(listed(cli, "gone")) == 1
    assert {labels(run)["mlflow.parentRunId"] for run in runs(cli, text).values()} == {
        run_id(cli, "gone")
    }
    assert cli.inside("table", "gone").out == before


@pytest.mark.slow
def test_the_trials_of_an_overridden_run_have_its_tag(cli: CommandLine) -> None:
    text = study("plain", 16)
    ablate(cli, text)
    ablate(cli, text, "--seeds", "1")
    tags = labels(runs(cli, text)["IBML 0"])
    assert tags["ibml.study.plain"] == tags["ibml.study.plain/seeds:1"] == "IBML"
    assert tags["ibml.study"] == "plain"
    found = store_of(cli).results()[runs(cli, text)["IBML 0"].data.tags["ibml.key"]]
    assert found.studies == {"plain": "IBML", "plain+seeds=1": "IBML"}
