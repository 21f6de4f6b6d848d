"""Which seeds the arms get: all that the study names, or one after another until every arm is decided."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ibml.statistics.sequential import follow
from ibml.study.planning.cells import Cell
from ibml.study.planning.plan import Plan
from ibml.study.planning.trials import TrialSpec, build_trial


class SeedSchedule:
    """Gives the trials of the arms that are known, and those that follow from results. What it gives is a function of
    the results alone, not of their order, so that a study that is begun again comes to the same trials."""

    def __init__(self, plan: Plan):
        self.plan, self.adaptive = plan, plan.study.adaptive
        self._cells: dict[tuple[str, str], Cell] = {}
        self._given: set[tuple[str, str, int]] = set()
        self._values: dict[str, dict[str, dict[int, float | None]]] = {}
        for cell in plan.cells:
            self._values.setdefault(cell.dataset, {})[cell.arm] = {}

    def open(self, cells: Iterable[Cell]) -> list[TrialSpec]:
        """The first trials of arms, seed by seed, so that a study that is cut short has whole pairs to compare."""
        new = list(cells)
        self._cells |= {(cell.dataset, cell.arm): cell for cell in new}
        seeds = self.plan.study.all_seeds[: self.plan.study.least_seeds]
        return [self._give(cell, seed) for seed in seeds for cell in new]

    def drop(self, cell: Cell) -> list[TrialSpec]:
        """What follows where an arm cannot be run at all: the others do not wait for it."""
        self._values[cell.dataset][cell.arm] = dict.fromkeys(self.plan.study.all_seeds)
        return self._plan_next_look(cell.dataset)

    def ended(self, trial: TrialSpec, metrics: Mapping[str, float] | None) -> list[TrialSpec]:
        """What follows from a trial's result; without metrics it failed or diverged."""
        if self.adaptive is None:
            return []
        value = (metrics or {}).get(self.adaptive.get_deciding_metric(self.plan.metrics), math.nan)
        self._values[trial.cell.dataset][trial.cell.arm][trial.config.seed] = (
            value if math.isfinite(value) else None
        )
        return self._plan_next_look(trial.cell.dataset)

    def _plan_next_look(self, dataset: str) -> list[TrialSpec]:
        """The trials that the next look at a data set waits for and that were not given yet."""
        if self.adaptive is None:
            return []
        study = self.plan.study
        progress = follow(
            self._values[dataset],
            self.plan.reference,
            study.all_seeds,
            self.adaptive.min,
            study.table.alpha,
            study.table.test,
        )
        wanted = [(dataset, arm, seed) for seed, names in progress.wanted.items() for arm in names]
        return [
            self._give(self._cells[dataset, arm], seed)
            for dataset, arm, seed in wanted
            if (dataset, arm) in self._cells and (dataset, arm, seed) not in self._given
        ]

    def _give(self, cell: Cell, seed: int) -> TrialSpec:
        self._given.add((cell.dataset, cell.arm, seed))
        return build_trial(cell, seed, len(self.plan.datasets) > 1)
