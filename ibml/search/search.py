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
from ibml.search.attempts import Attempt, Proposal
from ibml.search.samplers import FIXED, suggest
from ibml.search.space import Space, Values, total_trials
from ibml.search.stopping import bracket, checkpoints, goes_on
from ibml.search.trial_attributes import EPOCHS, REASON, SEED, best_trial, mean_over_seeds, seed_values
from ibml.search.values import Tracker, worst_value

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
        self.trials = total_trials(config, space)
        self._storage = storage
        self._study_id = self._storage.get_study_id_from_name(study.study_name)
        self.running: dict[int, Proposal] = {}
        self._ready: deque[Attempt] = deque()
        self.started = len(self._trials(TrialState.RUNNING, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL))
        for trial in self._trials(TrialState.RUNNING):
            self._begin(optuna.Trial(study, self._id(trial.number)))

    def _id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)

    @property
    def name(self) -> str:
        return str(self.study.study_name)

    @property
    def done(self) -> bool:
        return not self.running and self.started >= self.trials

    def next(self) -> Attempt | None:
        """The next attempt to train, or nothing for now (`done` tells whether for ever)."""
        while not self._ready and self.started < self.trials and len(self.running) < self.concurrency:
            self.started += 1
            self._begin(self.study.ask())
        return self._ready.popleft() if self._ready else None

    def restart(self, attempt: Attempt) -> None:
        """Forget the epochs of an attempt, which will be trained again from the start."""
        attempt.tracker, attempt.trained = Tracker(attempt.config.trainer.selection), 0

    def _begin(self, trial: optuna.Trial) -> None:
        """Propose, or read what was proposed before the search was interrupted, and make the next seed ready."""
        self._keep_joint_draw(trial)
        values = self.space.walk(lambda dimension: suggest(trial, dimension))
        config, problems = self.space.trial(values)
        if config is None:
            trial.set_user_attr(REASON, f"no valid configuration: {problems[0].message}")
            self.study.tell(trial, state=TrialState.FAIL)
            return
        frozen = self._storage.get_trial(self._id(trial.number))
        proposal = self.running[trial.number] = Proposal(trial, values, config, dict(frozen.intermediate_values))
        attrs = frozen.user_attrs
        while (known := attrs.get(f"{SEED}.{len(proposal.seeds)}")) is not None:
            proposal.seeds.append(known)
        if proposal.seeds:
            self._after_seed(proposal)
        else:
            self._make_ready(proposal)

    def _keep_joint_draw(self, trial: optuna.Trial) -> None:
        """Write down what the sampler draws jointly before the first value of it is used, in the field in which Optuna
        keeps the values of enqueued trials. A sampler asked again would see a trial with half of its values, and
        some draw otherwise then."""
        number = self._id(trial.number)
        frozen = self._storage.get_trial(number)
        if not frozen.params and FIXED not in frozen.system_attrs:
            drawn = {name: getattr(v, "item", lambda v=v: v)() for name, v in trial.relative_params.items()}
            if drawn:
                self._storage.set_trial_system_attr(number, FIXED, drawn)

    def _make_ready(self, proposal: Proposal) -> None:
        position, number, epochs = len(proposal.seeds), proposal.trial.number, proposal.config.trainer.epochs
        judged = checkpoints(self.config.scheduler, number, epochs, len(self.seeds))
        pauses = tuple(step for step in judged if step < epochs) if position == 0 else ()
        config = proposal.config.model_copy(update={"seed": self.seeds[position]})
        tracker = Tracker(config.trainer.selection)
        self._ready.append(Attempt(number, position, config, proposal.values, pauses, tracker))

    def report(self, attempt: Attempt, rows: Sequence[MetricRow]) -> bool:
        """Take in epochs of an attempt; whether it goes on. Epochs after the one at which it is stopped are ignored."""
        for row in rows:
            if attempt.pruned:
                break
            attempt.trained += 1
            if not math.isfinite(row.get("val.loss", math.nan)):
                continue  # it diverged, which its end will say
            attempt.tracker.add(row)
            if attempt.position == 0 and len(self.config.objectives) == 1:
                step = attempt.tracker.epochs
                self._intermediate(attempt.number, step, attempt.tracker.value(self.config.objectives[0].metric))
                if step in attempt.pauses and not self._goes_on(attempt.number, step):
                    attempt.pruned = f"stopped after epoch {step} of {attempt.config.trainer.epochs}"
                    attempt.pruned += f" by {self.config.scheduler.type}"
        return not attempt.pruned

    def end(self, attempt: Attempt, ending: Ending, final: MetricRow, reason: str = "") -> None:
        """Take in how an attempt ended: to its end, or early because `report` said so."""
        proposal = self.running[attempt.number]
        if attempt.pruned:
            self._tell(proposal, TrialState.PRUNED, reason=attempt.pruned, beside_seeds=attempt.trained)
        elif ending == "finished":
            values = {metric: attempt.tracker.value(metric) for metric in self._metrics if metric != "time.total"}
            values |= {
                "time.total": final["time.total"],
                "epochs": float(attempt.config.trained_after(attempt.tracker.epochs)),
            }
            proposal.trial.set_user_attr(f"{SEED}.{attempt.position}", values)
            proposal.seeds.append(values)
            self._after_seed(proposal)
        else:
            self._not_finished(proposal, ending, reason, attempt.trained)

    def _after_seed(self, proposal: Proposal) -> None:
        """Tell the proposal's mean once all seeds are in; before, go on or stop."""
        done, number = len(proposal.seeds), proposal.trial.number
        if done == len(self.seeds):
            for name, metric, bound, sense in self._bounds():
                proposal.trial.set_constraint(name, sense * (mean_over_seeds(proposal.seeds, metric) - bound))
            values = [mean_over_seeds(proposal.seeds, objective.metric) for objective in self.config.objectives]
            self._tell(proposal, TrialState.COMPLETE, values)
            return
        step = done * proposal.config.trainer.epochs
        judged = checkpoints(self.config.scheduler, number, proposal.config.trainer.epochs, len(self.seeds))
        if len(self.config.objectives) == 1:
            self._intermediate(number, step, mean_over_seeds(proposal.seeds, self.config.objectives[0].metric))
            if step in judged and not self._goes_on(number, step):
                reason = f"stopped after {done} of {len(self.seeds)} seeds by {self.config.scheduler.type}"
                self._tell(proposal, TrialState.PRUNED, reason=reason)
                return
        self._make_ready(proposal)

    def _not_finished(self, proposal: Proposal, ending: Ending, reason: str, trained: int) -> None:
        if ending == "diverged" and self.config.diverged == "worst":
            worst = [self._worst(index) for index in range(len(self.config.objectives))]
            if None not in worst:
                for name, *_ in self._bounds():
                    proposal.trial.set_constraint(name, 1.0)  # it kept none, and samplers want the same for all
                self._tell(
                    proposal, TrialState.COMPLETE, [v for v in worst if v is not None], f"diverged: {reason}", trained
                )
                return
        self._tell(proposal, TrialState.FAIL, reason=f"{ending}: {reason}", beside_seeds=trained)

    def _bounds(self) -> Iterator[tuple[str, str, float, float]]:
        """Each bound's name, metric, value and sense: 1 is the most that the metric may be, -1 the least."""
        for c in self.config.constraints:
            for bound, sense, kind in ((c.max, 1.0, "max"), (c.min, -1.0, "min")):
                if bound is not None:
                    yield f"{c.metric} {kind}", c.metric, bound, sense

    def _worst(self, index: int) -> float | None:
        objective = self.config.objectives[index]
        seen = [trial.values[index] for trial in self._trials(TrialState.COMPLETE)]
        return worst_value(objective.metric, objective.sense, seen)

    def _tell(
        self,
        proposal: Proposal,
        state: TrialState,
        values: Sequence[float] | None = None,
        reason: str = "",
        beside_seeds: int = 0,
    ) -> None:
        if reason:
            proposal.trial.set_user_attr(REASON, reason)
        if beside_seeds:
            whole = sum(int(values["epochs"]) for values in proposal.seeds)
            proposal.trial.set_user_attr(EPOCHS, whole + beside_seeds)
        self.study.tell(proposal.trial, values, state)
        del self.running[proposal.trial.number]

    def _intermediate(self, number: int, step: int, value: float) -> None:
        """Report a value, unless that was done before the search was interrupted."""
        proposal = self.running[number]
        if step not in proposal.curve:
            proposal.curve[step] = value
            self._storage.set_trial_intermediate_value(self._id(number), step, value)

    def _goes_on(self, number: int, step: int) -> bool:
        objective, scheduler = self.config.objectives[0], self.config.scheduler
        sign = 1.0 if objective.sense == "maximize" else -1.0
        proposal = self.running[number]
        epochs = proposal.config.trainer.epochs

        def signed(curve: Mapping[int, float]) -> dict[int, float]:
            return {s: sign * value for s, value in curve.items()}

        others = [t for t in self._trials() if t.intermediate_values and t.number != number]
        if scheduler.type == "hyperband":
            mine = bracket(scheduler, number, epochs)
            others = [t for t in others if bracket(scheduler, t.number, epochs) == mine]
        seeds = [sign * values[objective.metric] for values in proposal.seeds]
        best = self.best
        rival = [] if best is None else [sign * values[objective.metric] for values in seed_values(best)]
        curves = [signed(t.intermediate_values) for t in others]
        return goes_on(scheduler, step, signed(proposal.curve), curves, seeds, rival)

    @property
    def best(self) -> FrozenTrial | None:
        """The best proposal that completed within the constraints; of several objectives, by the first."""
        return best_trial(self._trials(TrialState.COMPLETE), self.config.objectives[0].sense)

    def configuration(self, trial: FrozenTrial) -> tuple[Values, TrialConfig]:
        """The values and the configuration of a trial of the study, without a seed."""
        return self._configured(trial.number, trial.params)

    def _configured(self, number: int, labels: Mapping[str, Any]) -> tuple[Values, TrialConfig]:
        values = self.space.walk(lambda dimension: dimension.value(labels[dimension.path]))
        config, problems = self.space.trial(values)
        if config is None:
            raise ValueError(f"trial {number}: {problems[0]}")
        return values, config

    def history(self) -> list[FrozenTrial]:
        """All trials that were begun, by number."""
        return [trial for trial in self._trials() if trial.state != TrialState.WAITING]

    @property
    def _metrics(self) -> list[str]:
        asked = [objective.metric for objective in self.config.objectives]
        return list(dict.fromkeys([*asked, *(constraint.metric for constraint in self.config.constraints)]))

    def _trials(self, *states: TrialState) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._study_id, deepcopy=False, states=states or None)
