"""Searches with simulated trials, whose metrics are a formula of their parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ibml.search.database import Database
from ibml.search.plan import SearchPlan, load_search
from ibml.search.samplers import RepeatableSampler
from ibml.search.search import Search
from ibml.search.trial_runs import TrialRun

LR = {"optimizer.lr": {"low": 1e-4, "high": 1e-1, "log": True}}
BIO = {"method.bio.weight": {"low": 0, "high": 4}}
FUSION = {
    "fusion.type": {"choices": ["concat", "film", "attention"]},
    "fusion.condition": {"choices": ["first", "last"], "when": {"fusion.type": "film"}},
    "fusion.width": {"choices": [32, 64], "when": {"fusion.type": ["attention"]}},
}


def plan_of(parameters: dict[str, Any], **settings: Any) -> SearchPlan:
    """Return a search around the preset with ten epochs per trial."""
    source = {
        "name": "demo",
        "base": "mfeat",
        "overrides": {"trainer.epochs": 10},
        "parameters": parameters,
    }
    return load_search({**source, **settings})


def accuracy(trial_run: TrialRun, epoch: int) -> float:
    """Return an accuracy that is best at lr 0.01 and BIO weight 2, and grows with every epoch."""
    config = trial_run.config
    lr = config.optimizer.lr
    weight = getattr(getattr(config.method, "bio", None), "weight", 2.0)
    worst = abs(2 + math.log10(lr)) / 4 + abs(weight - 2) / 8
    return (1 - worst) * (epoch + 1) / 10 - 0.001 * (config.seed % 7)


def rows_of(
    trial_run: TrialRun, value: Callable[[TrialRun, int], float] = accuracy
) -> list[dict[str, float]]:
    """Return the metrics that a trial run would log, as far as searches read them."""
    return [
        {
            "epoch": float(epoch),
            "val.accuracy": value(trial_run, epoch),
            "val.loss": 1 - value(trial_run, epoch),
            "val.gap": 0.5 - value(trial_run, epoch) / 4,
            "time.epoch": 0.1,
        }
        for epoch in range(trial_run.config.trainer.epochs)
    ]


class Lab:
    """Opens searches in one database, repeatedly, and runs them in this process."""

    def __init__(self, folder: Path):
        self.database = Database(f"sqlite:///{folder / 'optuna.db'}")

    def open(self, plan: SearchPlan, new_version: bool = False, name: str | None = None) -> Search:
        spec = plan.build_spec("fingerprint", 1)
        directions = [objective.sense for objective in plan.config.objectives]
        sampler = RepeatableSampler(plan.config.sampler)
        start = plan.resolve_starting_values({})
        study = self.database.open(name or plan.name, spec, directions, start, sampler, new_version)
        return Search(study, self.database.storage, plan.config, plan.space, plan.seeds)

    def run(self, search: Search, stop_after: int | None = None) -> Search:
        """Simulate trial runs one after another, all or a limited number."""
        while (stop_after is None or stop_after > 0) and (trial_run := search.next()):
            train(search, trial_run)
            stop_after = None if stop_after is None else stop_after - 1
        return search


def train(search: Search, trial_run: TrialRun) -> None:
    """Simulate one trial run, with one report per epoch and its end."""
    for row in rows_of(trial_run):
        if not search.report(trial_run, [row]):
            break
    search.end(trial_run, "finished", {"time.total": 1.0})
