"""Seeds of the arms: all that the study names, or one after another until arms are decided."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from ibml.statistics.sequential import follow
from ibml.study.planning.cells import Cell
from ibml.study.planning.plan import Plan
from ibml.study.planning.trials import TrialSpec, build_trial


class SeedSchedule:
    """Schedules the trials of a study's arms.

    The trials depend only on the results, not on their order, so that a resumed study has the same
    trials.

    Args:
        plan: Plan of the study.
    """

    def __init__(self, plan: Plan):
        self.plan = plan
        self.adaptive = plan.study.adaptive
        self._cells: dict[tuple[str, str], Cell] = {}
        self._given: set[tuple[str, str, int]] = set()
        self._values: dict[str, dict[str, dict[int, float | None]]] = {}
        for cell in plan.cells:
            self._values.setdefault(cell.dataset, {})[cell.arm] = {}

    def open(self, cells: Iterable[Cell]) -> list[TrialSpec]:
        """Add arms and return their first trials.

        Args:
            cells: Arms on data sets, tuned if the study tunes them.

        Returns:
            Trials ordered by seed, so that an interrupted study has complete pairs to compare.
        """
        new = list(cells)
        for cell in new:
            self._cells[cell.dataset, cell.arm] = cell
        seeds = self.plan.study.all_seeds[: self.plan.study.least_seeds]
        return [self._give(cell, seed) for seed in seeds for cell in new]

    def drop(self, cell: Cell) -> list[TrialSpec]:
        """Remove an arm that cannot be run, so that the others do not wait for it.

        Args:
            cell: The arm on a data set.

        Returns:
            Trials of other arms that follow.
        """
        self._values[cell.dataset][cell.arm] = dict.fromkeys(self.plan.study.all_seeds)
        return self._plan_next_look(cell.dataset)

    def ended(self, trial: TrialSpec, metrics: Mapping[str, float] | None) -> list[TrialSpec]:
        """Record the end of a trial and return the trials that follow.

        Args:
            trial: The trial.
            metrics: Its metrics; None if it failed or diverged.

        Returns:
            New trials; empty unless the number of seeds depends on results.
        """
        if self.adaptive is None:
            return []
        metric = self.adaptive.get_deciding_metric(self.plan.metrics)
        value = (metrics or {}).get(metric, math.nan)
        known = self._values[trial.cell.dataset][trial.cell.arm]
        known[trial.config.seed] = value if math.isfinite(value) else None
        return self._plan_next_look(trial.cell.dataset)

    def _plan_next_look(self, dataset: str) -> list[TrialSpec]:
        """Return the new trials that the next look at a data set needs."""
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
        new = []
        for seed, arms in progress.wanted.items():
            for arm in arms:
                cell = self._cells.get((dataset, arm))
                if cell is not None and (dataset, arm, seed) not in self._given:
                    new.append(self._give(cell, seed))
        return new

    def _give(self, cell: Cell, seed: int) -> TrialSpec:
        self._given.add((cell.dataset, cell.arm, seed))
        return build_trial(cell, seed, len(self.plan.datasets) > 1)
