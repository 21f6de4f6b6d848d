"""Population-based training: a search whose trials change while they train.

Jaderberg et al., "Population Based Training of Neural Networks", arXiv 1711.09846, 2017. Every trial of the study is a
member. All members train `interval_epochs`; when the last one has arrived, members that are poor now (exploit) take
over the state and the values of a good one, and the values are changed (explore). The paper lets each member do this
on its own; in step, a decision is a function of the numbers alone and not of which worker was faster, so a search that
is run again, or goes on after it was killed, comes to the same result.

A member's result is its selected epoch since it was last changed, so that the result, the values and the epochs in its
run belong together; the epochs before are another member's. Its `time.total` is that of its lineage, the training that
its state went through. A member that diverges or fails drops out, and the population goes on without it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import optuna
from optuna.storages import BaseStorage
from optuna.trial import FrozenTrial

from ibml.common.rng import stream_seed
from ibml.config.search.space import ChoiceParameter, RangeParameter, SearchSpaceConfig
from ibml.config.trial import TrialConfig
from ibml.records import MetricRow
from ibml.search.objective_values import MetricTracker
from ibml.search.pbt_checkpoints import PbtCheckpoints
from ibml.search.search import Ending, Search
from ibml.search.space import Dimension, Space, Values
from ibml.search.trial_attributes import SEED
from ibml.search.trial_runs import Interval, SearchTrial, TrialRun
from ibml.search.validation import sample_value

CHANGES = "ibml.changes"
"""Trial attribute: how the member's values were changed, a list of {epoch, from, values}. From that epoch on, counted
from 0, it trained with these values (by label) from the state of member `from`."""
BOUNDARY = "ibml.boundary"
"""Study attribute: the number of epochs after which members were last changed. It is written after the changes, so
those of a later epoch were cut off and are made again."""
FACTORS = (0.8, 1.2)


class Population(Search):
    """A search by population-based training. All members are proposed before any is trained, so what is proposed does
    not depend on when one of them fails."""

    def __init__(
        self,
        study: optuna.Study,
        storage: BaseStorage,
        config: SearchSpaceConfig,
        space: Space,
        seeds: Sequence[int],
        states: PbtCheckpoints,
    ):
        assert config.scheduler.type == "pbt"
        self.states, self.scheduler = states, config.scheduler
        self._boundary = int(study.user_attrs.get(BOUNDARY, 0))
        self._training: set[int] = set()
        super().__init__(study, storage, config, space, seeds)
        self._remove_if_done()

    def next(self) -> TrialRun | None:
        """The next member to train to the end of the generation, or nothing until others have arrived there."""
        while self.started < self.trials:
            self.started += 1
            self._start_trial(self.study.ask())
        if self.running and not self._ready and not self._training:
            self._update_population()
        if not self._ready or len(self._training) >= self.concurrency:
            return None
        trial_run = self._ready.popleft()
        self._training.add(trial_run.number)
        self._load_checkpoint(trial_run)
        return trial_run

    def restart(self, trial_run: TrialRun) -> None:
        """Its epochs are trained again to the same numbers, so there is nothing to forget."""

    def report(self, trial_run: TrialRun, rows: Sequence[MetricRow]) -> bool:
        """Take in epochs of a member, each with its own value: what is copied is the training as it is now."""
        for row in rows:
            if math.isfinite(row.get("val.loss", math.nan)):
                self._report_intermediate(
                    trial_run.number, int(row["epoch"]) + 1, row[self._metric]
                )
        return True

    def on_interval_end(self, trial_run: TrialRun, state: bytes) -> None:
        """Take in the state of a member at the end of the generation."""
        assert trial_run.interval is not None
        self.states.put(trial_run.number, trial_run.interval.stop, state)
        self._release(trial_run)

    def end(self, trial_run: TrialRun, ending: Ending, final: MetricRow, reason: str = "") -> None:
        """Take in how a member ended: with the last generation, or before."""
        self._release(trial_run)
        search_trial = self.running[trial_run.number]
        if ending == "finished":
            values = {
                self._metric: final[f"selected.{self._metric}"],
                "time.total": final["time.total"],
            }
            values["epochs"] = float(search_trial.config.trainer.epochs)
            search_trial.trial.set_user_attr(f"{SEED}.0", values)
            search_trial.seeds.append(values)
            self._handle_seed_end(search_trial)
        else:
            self._handle_unfinished(search_trial, ending, reason, 0)
        self._remove_if_done()

    def get_configuration(self, trial: FrozenTrial) -> tuple[Values, TrialConfig]:
        """The values that a member has at its end, and the configuration with them, without a seed."""
        changes = trial.user_attrs.get(CHANGES, [])
        return self._build_configuration(
            trial.number, changes[-1]["values"] if changes else trial.params
        )

    @property
    def _metric(self) -> str:
        return self.config.objectives[0].metric

    def _release(self, trial_run: TrialRun) -> None:
        assert trial_run.interval is not None
        trial_run.interval.state = None  # whoever keeps the attempt need not keep the state
        self._training.discard(trial_run.number)

    def _remove_if_done(self) -> None:
        if self.done:
            self.states.remove()

    def _enqueue_run(self, search_trial: SearchTrial) -> None:
        """Let a member train the generation, unless it did before the search was interrupted."""
        number, epochs = search_trial.trial.number, search_trial.config.trainer.epochs
        stop = min(self._boundary + self.scheduler.interval_epochs, epochs)
        if stop in search_trial.curve and self.states.has(number, stop):
            return
        changes = [
            change for change in self._get_changes(number) if change["epoch"] <= self._boundary
        ]
        values, config = search_trial.values, search_trial.config
        if changes:
            values, config = self._build_configuration(number, changes[-1]["values"])
        config = config.model_copy(update={"seed": self.seeds[0]})
        initial = search_trial.config.model_copy(update={"seed": self.seeds[0]})
        searched = {d.path for d in self.space.searched}
        numbers = {p: float(v) for p, v in values.items() if p in searched and _is_number(v)}
        copied = bool(changes) and changes[-1]["epoch"] == self._boundary
        interval = Interval(
            self._boundary, stop, None, copied, initial, search_trial.values, changes, numbers
        )
        self._ready.append(
            TrialRun(
                number,
                0,
                config,
                values,
                (),
                MetricTracker(config.trainer.selection),
                interval=interval,
            )
        )

    def _load_checkpoint(self, trial_run: TrialRun) -> None:
        """Read the state that a member goes on from: its own, or that of the member that it copies now."""
        interval = trial_run.interval
        assert interval is not None
        if interval.first:
            interval.state = self.states.get(
                interval.changes[-1]["from"] if interval.copied else trial_run.number,
                interval.first,
            )

    def _get_changes(self, number: int) -> list[dict[str, Any]]:
        return list(self._storage.get_trial(self._get_trial_id(number)).user_attrs.get(CHANGES, []))

    def _update_population(self) -> None:
        """All members have arrived: change the poor ones, and begin the next generation."""
        epoch = self._boundary + self.scheduler.interval_epochs
        sign = 1.0 if self.config.objectives[0].sense == "maximize" else -1.0
        worth = {
            number: sign * search_trial.curve[epoch]
            for number, search_trial in self.running.items()
        }
        for number, source in select_sources(
            worth, self.scheduler.quantile, self._make_generator, epoch
        ).items():
            values = self._explore(source, self._make_generator(epoch, "explore", number))
            labels = {
                d.path: d.encode(values[d.path]) for d in self.space.searched if d.path in values
            }
            changes = [change for change in self._get_changes(number) if change["epoch"] < epoch]
            changes.append({"epoch": epoch, "from": source, "values": labels})
            self.running[number].trial.set_user_attr(CHANGES, changes)
        self.study.set_user_attr(BOUNDARY, epoch)
        self._boundary = epoch
        self.states.remove(before=epoch)
        for number in sorted(self.running):
            self._enqueue_run(self.running[number])

    def _make_generator(self, epoch: int, *where: str | int) -> random.Random:
        return random.Random(
            stream_seed(self.config.sampler.seed, "search", "population", epoch, *where)
        )

    def _explore(self, source: int, generator: random.Random) -> Values:
        """Values near those of a member. Parameters that they make inactive vanish; those that they make active are
        drawn. Where the space has no configuration for them, which its check makes unlikely, the member's are kept."""
        changes = self._get_changes(source)
        old = (
            self._build_configuration(source, changes[-1]["values"])[0]
            if changes
            else self.running[source].values
        )
        resample = self.scheduler.resample

        def choose(dimension: Dimension) -> Any:
            if dimension.path not in old or generator.random() < resample:
                return sample_value(dimension, generator)
            return perturb_value(dimension, old[dimension.path], generator)

        new = self.space.walk(choose)
        return old if self.space.trial(new)[0] is None else new


def select_sources(
    worth: Mapping[int, float], quantile: float, generator: Callable[..., random.Random], epoch: int
) -> dict[int, int]:
    """Member -> the member that it copies, for the worst `quantile` (at least one) of two or more; of equal ones the
    later number is the worse."""
    ranked = sorted(worth, key=lambda number: (worth[number], -number))
    count = max(1, int(quantile * len(ranked) + 1e-9)) if len(ranked) > 1 else 0
    best = sorted(ranked[len(ranked) - count :])
    return {
        number: generator(epoch, "exploit", number).choice(best)
        for number in sorted(ranked[:count])
    }


def perturb_value(dimension: Dimension, value: Any, generator: random.Random) -> Any:
    """A value near another one: a number times 0.8 or 1.2, within its range, rounded to its step but at least one
    step away where the range has it (without a step, 0 stays 0); a choice's neighbour in the list."""
    p = dimension.parameter
    if isinstance(p, ChoiceParameter):
        return _choose_neighbour(list(p.choices), value, generator)
    assert isinstance(p, RangeParameter), "a constant is not searched"
    factor = generator.choice(FACTORS)
    new = min(max(value * factor, p.low), p.high)
    step = p.step or (1 if dimension.whole else None)
    if step is None:
        return float(new)
    last = int((p.high - p.low) / step + 1e-9)
    position, before = round((new - p.low) / step), round((value - p.low) / step)
    if position == before:
        position += 1 if (value or 1) * (factor - 1) > 0 else -1
    found = p.low + min(max(position, 0), last) * step
    return round(found) if dimension.whole else found


def _choose_neighbour(choices: list[Any], value: Any, generator: random.Random) -> Any:
    position = choices.index(value)
    beside = [i for i in (position - 1, position + 1) if 0 <= i < len(choices)]
    return choices[generator.choice(beside)] if beside else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
