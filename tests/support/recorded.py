"""Trials and metrics recorded in the store of a test folder."""

from __future__ import annotations

import itertools
from typing import Any

from mlflow import MlflowClient

from ibml.common.version import get_code_revision
from ibml.study.engine.run_metadata import build_trial_description
from ibml.study.planning.plan import Plan, load_plan
from ibml.study.planning.trials import build_trials
from ibml.tracking.journal.events import TrialEnded
from ibml.tracking.store.mlflow_store import MlflowStore
from tests.conftest import Answer, CommandLine

Metrics = dict[str, dict[str, list[tuple[int, str]]]]


def trials(cli: CommandLine, uri: str | None = None) -> list[Any]:
    """Return the runs of trials in a store, by default in the folder's store."""
    client = MlflowClient(uri or f"sqlite:///{cli.folder}/mlflow.db")
    experiment = client.get_experiment_by_name("ibml")
    if experiment is None:
        return []
    return list(client.search_runs([experiment.experiment_id], "tags.`ibml.kind` = 'trial'"))


def metrics(cli: CommandLine, uri: str | None = None) -> Metrics:
    """Return trial key -> metrics per epoch, without measured times."""
    client = MlflowClient(uri or f"sqlite:///{cli.folder}/mlflow.db")
    found = {}
    for run in trials(cli, uri):
        names = [name for name in run.data.metrics if not name.startswith("time.")]
        histories = {name: client.get_metric_history(run.info.run_id, name) for name in names}
        found[run.data.tags["ibml.key"]] = {
            name: sorted((point.step, repr(point.value)) for point in history)
            for name, history in histories.items()
        }
    return found


def record_results(cli: CommandLine, plan: Plan) -> None:
    """Store a result for every trial of a plan as a driver does, without training."""
    store = store_of(cli)
    known = store.results()
    for number, trial in enumerate(build_trials(plan)):
        if trial.key in known:
            continue
        tags = {"ibml.study": plan.name, "ibml.revision": get_code_revision()}
        description = build_trial_description(trial, None, tags)
        run_id = store.create_trial(description, "driver")
        store.describe_trial(run_id, description, bare=True)
        values = dict.fromkeys(("test.accuracy", "test.gap"), 0.9 + number / 1000)
        store.end_trial(run_id, TrialEnded("finished", values, {"ibml.platform": "cpu"}), 0)


def ablate(cli: CommandLine, text: str, *options: str, file: str = "small.yaml") -> Answer:
    """Run a study whose trials all have results, so nothing is trained."""
    cli.write(file, text)
    overrides = [value for flag, value in itertools.pairwise(options) if flag == "-o"]
    seeds = next(
        (int(value) for flag, value in itertools.pairwise(options) if flag == "--seeds"), None
    )
    record_results(cli, load_plan(cli.folder / file, overrides, seeds))
    return cli.inside("ablate", file, *options)


def store_of(cli: CommandLine) -> MlflowStore:
    """Return the store of the test folder."""
    return MlflowStore(f"sqlite:///{cli.folder}/mlflow.db")
