"""A search: proposals by Optuna's ask and tell, each tried with one or more seeds, judged and told the truth about.

It knows nothing of where trials run: whoever runs them takes them with `next`, and hands back what they
reported and how they ended. All state is in the database, so a search that is built again goes on.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial, TrialState

from ibml.config.search.space import SearchSpaceConfig
from ibml.config.trial import TrialConfig
from ibml.records import MetricRow
from ibml.search.objective_values import MetricTracker, get_worst_value
from ibml.search.pruning import assign_bracket, compute_rungs, should_continue
from ibml.search.samplers import FIXED, suggest
from ibml.search.space import Space, Values, count_trials
from ibml.search.trial_attributes import (
    EPOCHS,
    REASON,
    SEED,
    average_over_seeds,
    read_seed_values,
    select_best_trial,
)
from ibml.search.trial_runs import SearchTrial, TrialRun

Ending = Literal["finished", "diverged", "failed"]


class Search:
    """One search. `trials` is the total that it comes to, however often it is interrupted."""

    def __init__(
        self,
        study: optuna.Study,
        storage: BaseStorage,
        config: SearchSpaceConfig,
        space: Space,
        seeds: Sequence[int],
    ):
        self.study, self.config, self.space, self.seeds = study, config, space, tuple(seeds)
        self.concurrency = config.concurrency or 1
        self.trials = count_trials(config, space)
        self._storage = storage
        self._study_id = self._storage.get_study_id_from_name(study.study_name)
        self.running: dict[int, SearchTrial] = {}
        self._ready: deque[TrialRun] = deque()
        self.started = len(
            self._get_trials(
                TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL
            )
        )
        for trial in self._get_trials(TrialState.RUNNING):
            self._start_trial(optuna.Trial(study, self._get_trial_id(trial.number)))

    def _get_trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    @property
    def name(self) -> str:
        return str(self.study.study_name)

    @property
    def done(self) -> bool:
        return not self.running and self.started >= self.trials

    def next(self) -> TrialRun | None:
        """The next attempt to train, or nothing for now (`done` tells whether for ever)."""
        while (
            not self._ready and self.started < self.trials and len(self.running) < self.concurrency
        ):
            self.started += 1
            self._start_trial(self.study.ask())
        return self._ready.popleft() if self._ready else None

    def restart(self, trial_run: TrialRun) -> None:
        """Forget the epochs of an attempt, which will be trained again from the start."""
        trial_run.tracker, trial_run.trained = MetricTracker(trial_run.config.trainer.selection), 0

    def _start_trial(self, trial: optuna.Trial) -> None:
        """Propose, or read what was proposed before the search was interrupted, and make the next seed ready."""
        self._store_joint_sample(trial)
        values = self.space.walk(lambda dimension: suggest(trial, dimension))
        config, problems = self.space.trial(values)
        if config is None:
            trial.set_user_attr(REASON, f"no valid configuration: {problems[0].message}")
            self.study.tell(trial, state=TrialState.FAIL)
            return
        frozen = self._storage.get_trial(self._get_trial_id(trial.number))
        search_trial = self.running[trial.number] = SearchTrial(
            trial, values, config, dict(frozen.intermediate_values)
        )
        attrs = frozen.user_attrs
        while (known := attrs.get(f"{SEED}.{len(search_trial.seeds)}")) is not None:
            search_trial.seeds.append(known)
        if search_trial.seeds:
            self._handle_seed_end(search_trial)
        else:
            self._enqueue_run(search_trial)

    def _store_joint_sample(self, trial: optuna.Trial) -> None:
        """Write down what the sampler draws jointly before the first value of it is used, in the field in which Optuna
        keeps the values of enqueued trials. A sampler asked again would see a trial with half of its values, and
        some draw otherwise then."""
        number = self._get_trial_id(trial.number)
        frozen = self._storage.get_trial(number)
        if not frozen.params and FIXED not in frozen.system_attrs:
            drawn = {
                name: getattr(v, "item", lambda v=v: v)()
                for name, v in trial.relative_params.items()
            }
            if drawn:
                self._storage.set_trial_system_attr(number, FIXED, drawn)

    def _enqueue_run(self, search_trial: SearchTrial) -> None:
        position, number, epochs = (
            len(search_trial.seeds),
            search_trial.trial.number,
            search_trial.config.trainer.epochs,
        )
        judged = compute_rungs(self.config.scheduler, number, epochs, len(self.seeds))
        rungs = tuple(step for step in judged if step < epochs) if position == 0 else ()
        config = search_trial.config.model_copy(update={"seed": self.seeds[position]})
        tracker = MetricTracker(config.trainer.selection)
        self._ready.append(TrialRun(number, position, config, search_trial.values, rungs, tracker))

    def report(self, trial_run: TrialRun, rows: Sequence[MetricRow]) -> bool:
        """Take in epochs of an attempt; whether it goes on. Epochs after the one at which it is stopped are ignored."""
        for row in rows:
            if trial_run.pruned:
                break
            trial_run.trained += 1
            if not math.isfinite(row.get("val.loss", math.nan)):
                continue  # it diverged, which its end will say
            trial_run.tracker.add(row)
            if trial_run.position == 0 and len(self.config.objectives) == 1:
                step = trial_run.tracker.epochs
                self._report_intermediate(
                    trial_run.number,
                    step,
                    trial_run.tracker.value(self.config.objectives[0].metric),
                )
                if step in trial_run.rungs and not self._should_continue(trial_run.number, step):
                    trial_run.pruned = (
                        f"stopped after epoch {step} of {trial_run.config.trainer.epochs}"
                    )
                    trial_run.pruned += f" by {self.config.scheduler.type}"
        return not trial_run.pruned

    def end(self, trial_run: TrialRun, ending: Ending, final: MetricRow, reason: str = "") -> None:
        """Take in how an attempt ended: to its end, or early because `report` said so."""
        search_trial = self.running[trial_run.number]
        if trial_run.pruned:
            self._tell(
                search_trial,
                TrialState.PRUNED,
                reason=trial_run.pruned,
                beside_seeds=trial_run.trained,
            )
        elif ending == "finished":
            values = {
                metric: trial_run.tracker.value(metric)
                for metric in self._metrics
                if metric != "time.total"
            }
            values |= {
                "time.total": final["time.total"],
                "epochs": float(trial_run.config.count_trained_epochs(trial_run.tracker.epochs)),
            }
            search_trial.trial.set_user_attr(f"{SEED}.{trial_run.position}", values)
            search_trial.seeds.append(values)
            self._handle_seed_end(search_trial)
        else:
            self._handle_unfinished(search_trial, ending, reason, trial_run.trained)

    def _handle_seed_end(self, search_trial: SearchTrial) -> None:
        """Tell the proposal's mean once all seeds are in; before, go on or stop."""
        done, number = len(search_trial.seeds), search_trial.trial.number
        if done == len(self.seeds):
            for name, metric, bound, sense in self._list_bounds():
                search_trial.trial.set_constraint(
                    name, sense * (average_over_seeds(search_trial.seeds, metric) - bound)
                )
            values = [
                average_over_seeds(search_trial.seeds, objective.metric)
                for objective in self.config.objectives
            ]
            self._tell(search_trial, TrialState.COMPLETE, values)
            return
        step = done * search_trial.config.trainer.epochs
        judged = compute_rungs(
            self.config.scheduler, number, search_trial.config.trainer.epochs, len(self.seeds)
        )
        if len(self.config.objectives) == 1:
            self._report_intermediate(
                number,
                step,
                average_over_seeds(search_trial.seeds, self.config.objectives[0].metric),
            )
            if step in judged and not self._should_continue(number, step):
                reason = f"stopped after {done} of {len(self.seeds)} seeds by {self.config.scheduler.type}"
                self._tell(search_trial, TrialState.PRUNED, reason=reason)
                return
        self._enqueue_run(search_trial)

    def _handle_unfinished(
        self, search_trial: SearchTrial, ending: Ending, reason: str, trained: int
    ) -> None:
        if ending == "diverged" and self.config.diverged == "worst":
            worst = [self._get_worst_value(index) for index in range(len(self.config.objectives))]
            if None not in worst:
                for name, *_ in self._list_bounds():
                    search_trial.trial.set_constraint(
                        name, 1.0
                    )  # it kept none, and samplers want the same for all
                self._tell(
                    search_trial,
                    TrialState.COMPLETE,
                    [v for v in worst if v is not None],
                    f"diverged: {reason}",
                    trained,
                )
                return
        self._tell(
            search_trial, TrialState.FAIL, reason=f"{ending}: {reason}", beside_seeds=trained
        )

    def _list_bounds(self) -> Iterator[tuple[str, str, float, float]]:
        """Each bound's name, metric, value and sense: 1 is the most that the metric may be, -1 the least."""
        for c in self.config.constraints:
            for bound, sense, kind in ((c.max, 1.0, "max"), (c.min, -1.0, "min")):
                if bound is not None:
                    yield f"{c.metric} {kind}", c.metric, bound, sense

    def _get_worst_value(self, index: int) -> float | None:
        objective = self.config.objectives[index]
        seen = [trial.values[index] for trial in self._get_trials(TrialState.COMPLETE)]
        return get_worst_value(objective.metric, objective.sense, seen)

    def _tell(
        self,
        search_trial: SearchTrial,
        state: TrialState,
        values: Sequence[float] | None = None,
        reason: str = "",
        beside_seeds: int = 0,
    ) -> None:
        if reason:
            search_trial.trial.set_user_attr(REASON, reason)
        if beside_seeds:
            whole = sum(int(values["epochs"]) for values in search_trial.seeds)
            search_trial.trial.set_user_attr(EPOCHS, whole + beside_seeds)
        self.study.tell(search_trial.trial, values, state)
        del self.running[search_trial.trial.number]

    def _report_intermediate(self, number: int, step: int, value: float) -> None:
        """Report a value, unless that was done before the search was interrupted."""
        search_trial = self.running[number]
        if step not in search_trial.curve:
            search_trial.curve[step] = value
            self._storage.set_trial_intermediate_value(self._get_trial_id(number), step, value)

    def _should_continue(self, number: int, step: int) -> bool:
        objective, scheduler = self.config.objectives[0], self.config.scheduler
        sign = 1.0 if objective.sense == "maximize" else -1.0
        search_trial = self.running[number]
        epochs = search_trial.config.trainer.epochs

        def signed(curve: Mapping[int, float]) -> dict[int, float]:
            return {s: sign * value for s, value in curve.items()}

        others = [t for t in self._get_trials() if t.intermediate_values and t.number != number]
        if scheduler.type == "hyperband":
            mine = assign_bracket(scheduler, number, epochs)
            others = [t for t in others if assign_bracket(scheduler, t.number, epochs) == mine]
        seeds = [sign * values[objective.metric] for values in search_trial.seeds]
        best = self.best
        rival = (
            []
            if best is None
            else [sign * values[objective.metric] for values in read_seed_values(best)]
        )
        curves = [signed(t.intermediate_values) for t in others]
        return should_continue(scheduler, step, signed(search_trial.curve), curves, seeds, rival)

    @property
    def best(self) -> FrozenTrial | None:
        """The best proposal that completed within the constraints; of several objectives, by the first."""
        return select_best_trial(
            self._get_trials(TrialState.COMPLETE), self.config.objectives[0].sense
        )

    def get_configuration(self, trial: FrozenTrial) -> tuple[Values, TrialConfig]:
        """The values and the configuration of a trial of the study, without a seed."""
        return self._build_configuration(trial.number, trial.params)

    def _build_configuration(
        self, number: int, labels: Mapping[str, Any]
    ) -> tuple[Values, TrialConfig]:
        values = self.space.walk(lambda dimension: dimension.value(labels[dimension.path]))
        config, problems = self.space.trial(values)
        if config is None:
            raise ValueError(f"trial {number}: {problems[0]}")
        return values, config

    def list_trials(self) -> list[FrozenTrial]:
        """All trials that were begun, by number."""
        return [trial for trial in self._get_trials() if trial.state != TrialState.WAITING]

    @property
    def _metrics(self) -> list[str]:
        asked = [objective.metric for objective in self.config.objectives]
        return list(
            dict.fromkeys([*asked, *(constraint.metric for constraint in self.config.constraints)])
        )

    def _get_trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._study_id, deepcopy=False, states=states or None)
