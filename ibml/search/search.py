"""A hyperparameter search with Optuna's ask-and-tell interface.

Each trial is trained with one or more seeds and may be pruned. The search does not know where
trials are trained: its caller takes runs with `next`, and returns their metrics and their end. All
state is in the database, so that a new `Search` on the same study resumes it.
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
from ibml.search.objective_values import MetricTracker, get_sign, get_worst_value
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
    """A search over an Optuna study.

    Args:
        study: The Optuna study.
        storage: Storage of the study.
        config: Configuration of the search.
        space: Search space.
        seeds: Seeds that each trial is trained with.

    Attributes:
        trials: Total number of trials, whether or not the search is interrupted.
        started: Number of trials that were started.
        running: Trials that have not ended, by number.
        concurrency: Maximum number of running trials.
    """

    def __init__(
        self,
        study: optuna.Study,
        storage: BaseStorage,
        config: SearchSpaceConfig,
        space: Space,
        seeds: Sequence[int],
    ):
        self.study = study
        self.config = config
        self.space = space
        self.seeds = tuple(seeds)
        self.concurrency = config.concurrency or 1
        self.trials = count_trials(config, space)
        self._storage = storage
        self._study_id = self._storage.get_study_id_from_name(study.study_name)
        self.running: dict[int, SearchTrial] = {}
        self._ready: deque[TrialRun] = deque()
        begun = (TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
        self.started = len(self._get_trials(*begun))
        for trial in self._get_trials(TrialState.RUNNING):
            self._start_trial(optuna.Trial(study, self._get_trial_id(trial.number)))

    def _get_trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    @property
    def name(self) -> str:
        """Name of the study."""
        return str(self.study.study_name)

    @property
    def done(self) -> bool:
        """True if all trials have ended."""
        return not self.running and self.started >= self.trials

    def next(self) -> TrialRun | None:
        """Return the next run to train.

        Returns:
            A run, or None if all slots are taken or all trials are done, see `done`.
        """
        while (
            not self._ready and self.started < self.trials and len(self.running) < self.concurrency
        ):
            self.started += 1
            self._start_trial(self.study.ask())
        return self._ready.popleft() if self._ready else None

    def restart(self, trial_run: TrialRun) -> None:
        """Discard the epochs of a run that will be trained again from the start."""
        trial_run.tracker = MetricTracker(trial_run.config.trainer.selection)
        trial_run.trained = 0

    def _start_trial(self, trial: optuna.Trial) -> None:
        """Sample a trial, or read its values if it was started before, and enqueue its next run."""
        self._store_joint_sample(trial)
        values = self.space.walk(lambda dimension: suggest(trial, dimension))
        config, problems = self.space.build_config(values)
        if config is None:
            trial.set_user_attr(REASON, f"no valid configuration: {problems[0].message}")
            self.study.tell(trial, state=TrialState.FAIL)
            return
        frozen = self._storage.get_trial(self._get_trial_id(trial.number))
        search_trial = SearchTrial(trial, values, config, dict(frozen.intermediate_values))
        search_trial.seeds += read_seed_values(frozen)
        self.running[trial.number] = search_trial
        if search_trial.seeds:
            self._handle_seed_end(search_trial)
        else:
            self._enqueue_run(search_trial)

    def _store_joint_sample(self, trial: optuna.Trial) -> None:
        """Store the jointly sampled values in the database before the first one is used.

        They are stored where Optuna keeps the values of enqueued trials. Without that, a resumed
        search would sample for a trial that has some of its values, with another result for some
        samplers.
        """
        number = self._get_trial_id(trial.number)
        frozen = self._storage.get_trial(number)
        if frozen.params or FIXED in frozen.system_attrs:
            return
        sampled: dict[str, Any] = {}
        for name, value in trial.relative_params.items():
            sampled[name] = value.item() if hasattr(value, "item") else value
        if sampled:
            self._storage.set_trial_system_attr(number, FIXED, sampled)

    def _enqueue_run(self, search_trial: SearchTrial) -> None:
        """Enqueue the run with the next seed of a trial."""
        position = len(search_trial.seeds)
        number = search_trial.trial.number
        rungs: tuple[int, ...] = ()
        if position == 0:
            epochs = search_trial.config.trainer.epochs
            rungs = tuple(step for step in self._compute_rungs(search_trial) if step < epochs)
        config = search_trial.config.model_copy(update={"seed": self.seeds[position]})
        tracker = MetricTracker(config.trainer.selection)
        self._ready.append(TrialRun(number, position, config, search_trial.values, rungs, tracker))

    def _compute_rungs(self, search_trial: SearchTrial) -> list[int]:
        epochs = search_trial.config.trainer.epochs
        number = search_trial.trial.number
        return compute_rungs(self.config.scheduler, number, epochs, len(self.seeds))

    def report(self, trial_run: TrialRun, rows: Sequence[MetricRow]) -> bool:
        """Record epochs of a run. Epochs after the one at which it is pruned are ignored.

        Args:
            trial_run: The run.
            rows: Metrics of its next epochs.

        Returns:
            True if the run continues; False if it was pruned.
        """
        for row in rows:
            if trial_run.pruned:
                break
            trial_run.trained += 1
            if not math.isfinite(row.get("val.loss", math.nan)):
                continue  # it diverged, which `end` will report
            trial_run.tracker.add(row)
            if trial_run.position == 0 and len(self.config.objectives) == 1:
                self._decide_at_epoch(trial_run)
        return not trial_run.pruned

    def _decide_at_epoch(self, trial_run: TrialRun) -> None:
        """Report the value after an epoch of the first seed, and prune the run at a rung."""
        step = trial_run.tracker.epochs
        value = trial_run.tracker.value(self.config.objectives[0].metric)
        self._report_intermediate(trial_run.number, step, value)
        if step in trial_run.rungs and not self._should_continue(trial_run.number, step):
            epochs = trial_run.config.trainer.epochs
            scheduler = self.config.scheduler.type
            trial_run.pruned = f"stopped after epoch {step} of {epochs} by {scheduler}"

    def end(self, trial_run: TrialRun, ending: Ending, final: MetricRow, reason: str = "") -> None:
        """Record the end of a run, also of a pruned one.

        Args:
            trial_run: The run.
            ending: Status of the run; ignored if it was pruned.
            final: Final metrics of a finished run.
            reason: Reason why it diverged or failed.
        """
        search_trial = self.running[trial_run.number]
        if trial_run.pruned:
            self._tell(
                search_trial,
                TrialState.PRUNED,
                reason=trial_run.pruned,
                other_epochs=trial_run.trained,
            )
        elif ending == "finished":
            tracker = trial_run.tracker
            values = {name: tracker.value(name) for name in self._metrics if name != "time.total"}
            values["time.total"] = final["time.total"]
            values["epochs"] = float(trial_run.config.count_trained_epochs(tracker.epochs))
            search_trial.trial.set_user_attr(f"{SEED}.{trial_run.position}", values)
            search_trial.seeds.append(values)
            self._handle_seed_end(search_trial)
        else:
            self._handle_unfinished(search_trial, ending, reason, trial_run.trained)

    def _handle_seed_end(self, search_trial: SearchTrial) -> None:
        """Complete a trial after its last seed; before, prune it or enqueue its next run."""
        done = len(search_trial.seeds)
        if done == len(self.seeds):
            self._complete(search_trial)
            return
        step = done * search_trial.config.trainer.epochs
        if len(self.config.objectives) == 1:
            number = search_trial.trial.number
            value = average_over_seeds(search_trial.seeds, self.config.objectives[0].metric)
            self._report_intermediate(number, step, value)
            is_rung = step in self._compute_rungs(search_trial)
            if is_rung and not self._should_continue(number, step):
                scheduler = self.config.scheduler.type
                reason = f"stopped after {done} of {len(self.seeds)} seeds by {scheduler}"
                self._tell(search_trial, TrialState.PRUNED, reason=reason)
                return
        self._enqueue_run(search_trial)

    def _complete(self, search_trial: SearchTrial) -> None:
        """Tell the means over seeds of the constraints and objectives."""
        seeds = search_trial.seeds
        for name, metric, bound, sense in self._list_bounds():
            excess = sense * (average_over_seeds(seeds, metric) - bound)
            search_trial.trial.set_constraint(name, excess)
        objectives = self.config.objectives
        values = [average_over_seeds(seeds, objective.metric) for objective in objectives]
        self._tell(search_trial, TrialState.COMPLETE, values)

    def _handle_unfinished(
        self, search_trial: SearchTrial, ending: Ending, reason: str, trained: int
    ) -> None:
        """Complete a diverged trial with the worst values if so configured, else fail it."""
        if ending == "diverged" and self.config.diverged == "worst":
            worst = self._list_worst_values()
            if worst is not None:
                for name, *_ in self._list_bounds():
                    # it met no constraint, and samplers want the same constraints of all trials
                    search_trial.trial.set_constraint(name, 1.0)
                reason = f"diverged: {reason}"
                self._tell(search_trial, TrialState.COMPLETE, worst, reason, trained)
                return
        reason = f"{ending}: {reason}"
        self._tell(search_trial, TrialState.FAIL, reason=reason, other_epochs=trained)

    def _list_bounds(self) -> Iterator[tuple[str, str, float, float]]:
        """Yield name, metric, value and sense (1: upper bound, -1: lower bound) of each bound."""
        for c in self.config.constraints:
            if c.max is not None:
                yield f"{c.metric} max", c.metric, c.max, 1.0
            if c.min is not None:
                yield f"{c.metric} min", c.metric, c.min, -1.0

    def _list_worst_values(self) -> list[float] | None:
        """Return the worst value of each objective; None if one of them is not known."""
        complete = self._get_trials(TrialState.COMPLETE)
        found: list[float] = []
        for index, objective in enumerate(self.config.objectives):
            seen = [trial.values[index] for trial in complete]
            worst = get_worst_value(objective.metric, objective.sense, seen)
            if worst is None:
                return None
            found.append(worst)
        return found

    def _tell(
        self,
        search_trial: SearchTrial,
        state: TrialState,
        values: Sequence[float] | None = None,
        reason: str = "",
        other_epochs: int = 0,
    ) -> None:
        """Tell Optuna the end of a trial.

        Args:
            search_trial: The trial.
            state: Its final state.
            values: Values of the objectives, if it is complete.
            reason: Reason for another state, or for the worst values.
            other_epochs: Number of trained epochs besides those of finished seeds.
        """
        if reason:
            search_trial.trial.set_user_attr(REASON, reason)
        if other_epochs:
            whole = sum(int(values["epochs"]) for values in search_trial.seeds)
            search_trial.trial.set_user_attr(EPOCHS, whole + other_epochs)
        self.study.tell(search_trial.trial, values, state)
        del self.running[search_trial.trial.number]

    def _report_intermediate(self, number: int, step: int, value: float) -> None:
        """Report a value, unless it was reported before the search was interrupted."""
        search_trial = self.running[number]
        if step not in search_trial.curve:
            search_trial.curve[step] = value
            self._storage.set_trial_intermediate_value(self._get_trial_id(number), step, value)

    def _should_continue(self, number: int, step: int) -> bool:
        """Return True if the scheduler lets a trial continue after a rung."""
        objective, scheduler = self.config.objectives[0], self.config.scheduler
        sign = get_sign(objective.sense)
        search_trial = self.running[number]

        def orient(curve: Mapping[int, float]) -> dict[int, float]:
            return {s: sign * value for s, value in curve.items()}

        def orient_seeds(seeds: Sequence[Mapping[str, float]]) -> list[float]:
            return [sign * values[objective.metric] for values in seeds]

        others = self._find_competing_trials(number, search_trial.config.trainer.epochs)
        best = self.best
        return should_continue(
            scheduler,
            step,
            orient(search_trial.curve),
            [orient(t.intermediate_values) for t in others],
            orient_seeds(search_trial.seeds),
            orient_seeds(read_seed_values(best)) if best is not None else [],
        )

    def _find_competing_trials(self, number: int, epochs: int) -> list[FrozenTrial]:
        """Return the trials that the scheduler compares a trial with."""
        others = [t for t in self._get_trials() if t.intermediate_values and t.number != number]
        if self.config.scheduler.type != "hyperband":
            return others
        scheduler = self.config.scheduler
        own = assign_bracket(scheduler, number, epochs)
        return [t for t in others if assign_bracket(scheduler, t.number, epochs) == own]

    @property
    def best(self) -> FrozenTrial | None:
        """Best complete, feasible trial by the first objective, or None."""
        complete = self._get_trials(TrialState.COMPLETE)
        return select_best_trial(complete, self.config.objectives[0].sense)

    def get_configuration(self, trial: FrozenTrial) -> tuple[Values, TrialConfig]:
        """Return the values of a trial and the configuration with them, without a seed."""
        return self._build_configuration(trial.number, trial.params)

    def _build_configuration(
        self, number: int, labels: Mapping[str, Any]
    ) -> tuple[Values, TrialConfig]:
        values = self.space.walk(lambda dimension: dimension.decode(labels[dimension.path]))
        config, problems = self.space.build_config(values)
        if config is None:
            raise ValueError(f"trial {number}: {problems[0]}")
        return values, config

    def list_trials(self) -> list[FrozenTrial]:
        """Return all trials that were started, by number."""
        return [trial for trial in self._get_trials() if trial.state != TrialState.WAITING]

    @property
    def _metrics(self) -> list[str]:
        """Metrics of the objectives and constraints, each one once."""
        objectives = [objective.metric for objective in self.config.objectives]
        constraints = [constraint.metric for constraint in self.config.constraints]
        return list(dict.fromkeys([*objectives, *constraints]))

    def _get_trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._study_id, deepcopy=False, states=states or None)
