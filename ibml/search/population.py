"""Population-based training: a search whose trials change during training.

Jaderberg et al., "Population Based Training of Neural Networks", arXiv 1711.09846, 2017.

Every trial of the study is a member of the population. All members train `interval_epochs`. When
the last one has finished the interval, the worst members copy the checkpoint and the values of a
good one (exploit), and the copied values are changed (explore).

In the paper, each member does this independently. Here the population is updated in step, so that a
decision depends only on the metrics and not on which worker was faster. A search that is repeated,
or resumed after an interruption, therefore has the same result.

The result of a member is its selected epoch since its last change, so that result, values and
epochs of its run belong together; the epochs before are another member's. Its `time.total` is that
of its lineage, the training that its checkpoint went through. A member that diverges or fails drops
out, and the population continues without it.
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
from ibml.search.objective_values import MetricTracker, get_sign
from ibml.search.pbt_checkpoints import PbtCheckpoints
from ibml.search.search import Ending, Search
from ibml.search.space import Dimension, Space, Values, is_number
from ibml.search.trial_attributes import SEED
from ibml.search.trial_runs import Interval, SearchTrial, TrialRun
from ibml.search.validation import sample_value

CHANGES = "ibml.changes"
"""Trial attribute: changes of a member's values, a list of {epoch, from, values}.

From that epoch on, counted from 0, the member trained with these values (by label) from the
checkpoint of member `from`.
"""
BOUNDARY = "ibml.boundary"
"""Study attribute: number of epochs at the last update of the population.

It is written after the changes. Changes of a later epoch are incomplete and are made again.
"""
FACTORS = (0.8, 1.2)


class Population(Search):
    """A search by population-based training.

    All members are sampled before any is trained, so that their values do not depend on when one
    of them fails.

    Args:
        study: The Optuna study.
        storage: Storage of the study.
        config: Configuration of the search, with the scheduler `pbt`.
        space: Search space.
        seeds: Seeds of the search; the first one is used.
        states: Checkpoints of the members.
    """

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
        self.states = states
        self.scheduler = config.scheduler
        self._boundary = int(study.user_attrs.get(BOUNDARY, 0))
        self._training: set[int] = set()
        super().__init__(study, storage, config, space, seeds)
        self._remove_if_done()

    def next(self) -> TrialRun | None:
        """Return the next member to train, with the checkpoint of its interval.

        Returns:
            A run, or None while other members have not finished the interval.
        """
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
        """Do nothing: the epochs are trained again with the same metrics."""

    def report(self, trial_run: TrialRun, rows: Sequence[MetricRow]) -> bool:
        """Record epochs of a member, each with its own value instead of the best so far.

        A copy continues from the current state of the training, so its current value counts.

        Args:
            trial_run: The run of the member.
            rows: Metrics of its next epochs.

        Returns:
            True: members are not pruned.
        """
        for row in rows:
            if math.isfinite(row.get("val.loss", math.nan)):
                step = int(row["epoch"]) + 1
                self._report_intermediate(trial_run.number, step, row[self._metric])
        return True

    def on_interval_end(self, trial_run: TrialRun, state: bytes) -> None:
        """Store the checkpoint of a member at the end of an interval.

        Args:
            trial_run: The run of the member.
            state: Serialized checkpoint.
        """
        assert trial_run.interval is not None
        self.states.put(trial_run.number, trial_run.interval.stop, state)
        self._release(trial_run)

    def end(self, trial_run: TrialRun, ending: Ending, final: MetricRow, reason: str = "") -> None:
        """Record the end of a member: after the last interval, or before because it failed.

        Args:
            trial_run: The run of the member.
            ending: Status of the run.
            final: Final metrics of a finished run.
            reason: Reason why it diverged or failed.
        """
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
        """Return the last values of a member and the configuration with them, without a seed."""
        if changes := trial.user_attrs.get(CHANGES, []):
            return self._build_configuration(trial.number, changes[-1]["values"])
        return self._build_configuration(trial.number, trial.params)

    @property
    def _metric(self) -> str:
        return self.config.objectives[0].metric

    def _release(self, trial_run: TrialRun) -> None:
        assert trial_run.interval is not None
        trial_run.interval.state = None  # free its memory while callers still hold the run
        self._training.discard(trial_run.number)

    def _remove_if_done(self) -> None:
        if self.done:
            self.states.remove()

    def _enqueue_run(self, search_trial: SearchTrial) -> None:
        """Enqueue the next interval of a member, unless it was trained before an interruption."""
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
        interval = Interval(
            first=self._boundary,
            stop=stop,
            state=None,
            copied=bool(changes) and changes[-1]["epoch"] == self._boundary,
            initial=search_trial.config.model_copy(update={"seed": self.seeds[0]}),
            initial_values=search_trial.values,
            changes=changes,
            numbers=self._select_numbers(values),
        )
        tracker = MetricTracker(config.trainer.selection)
        self._ready.append(TrialRun(number, 0, config, values, (), tracker, interval=interval))

    def _select_numbers(self, values: Values) -> dict[str, float]:
        """Return the numeric values of searched parameters."""
        numbers: dict[str, float] = {}
        searched = {dimension.path for dimension in self.space.searched}
        for path, value in values.items():
            if path in searched and is_number(value):
                numbers[path] = float(value)
        return numbers

    def _load_checkpoint(self, trial_run: TrialRun) -> None:
        """Read the checkpoint to start from: the member's own, or that of the copied member."""
        interval = trial_run.interval
        assert interval is not None
        if interval.first:
            member = trial_run.number
            if interval.copied:
                member = interval.changes[-1]["from"]
            interval.state = self.states.get(member, interval.first)

    def _get_changes(self, number: int) -> list[dict[str, Any]]:
        trial = self._storage.get_trial(self._get_trial_id(number))
        return list(trial.user_attrs.get(CHANGES, []))

    def _update_population(self) -> None:
        """Change the worst members after an interval, and enqueue the next interval of all."""
        epoch = self._boundary + self.scheduler.interval_epochs
        sign = get_sign(self.config.objectives[0].sense)
        worth = {number: sign * trial.curve[epoch] for number, trial in self.running.items()}
        sources = select_sources(worth, self.scheduler.quantile, self._make_generator, epoch)
        for number, source in sources.items():
            self._exploit(number, source, epoch)
        self.study.set_user_attr(BOUNDARY, epoch)
        self._boundary = epoch
        self.states.remove(before=epoch)
        for number in sorted(self.running):
            self._enqueue_run(self.running[number])

    def _exploit(self, number: int, source: int, epoch: int) -> None:
        """Store the change of a member that copies another one and explores new values."""
        values = self._explore(source, self._make_generator(epoch, "explore", number))
        labels: dict[str, Any] = {}
        for dimension in self.space.searched:
            if dimension.path in values:
                labels[dimension.path] = dimension.encode(values[dimension.path])
        changes = [change for change in self._get_changes(number) if change["epoch"] < epoch]
        changes.append({"epoch": epoch, "from": source, "values": labels})
        self.running[number].trial.set_user_attr(CHANGES, changes)

    def _make_generator(self, epoch: int, *where: str | int) -> random.Random:
        seed = stream_seed(self.config.sampler.seed, "search", "population", epoch, *where)
        return random.Random(seed)

    def _explore(self, source: int, generator: random.Random) -> Values:
        """Return values near those of a member.

        Parameters that become inactive are dropped, and those that become active are sampled. The
        member's values are returned if the new ones give no valid configuration, which the checks
        of the space make unlikely.
        """
        changes = self._get_changes(source)
        old = self.running[source].values
        if changes:
            old, _ = self._build_configuration(source, changes[-1]["values"])
        resample = self.scheduler.resample

        def choose(dimension: Dimension) -> Any:
            if dimension.path not in old or generator.random() < resample:
                return sample_value(dimension, generator)
            return perturb_value(dimension, old[dimension.path], generator)

        new = self.space.walk(choose)
        config, _ = self.space.build_config(new)
        return old if config is None else new


def select_sources(
    worth: Mapping[int, float],
    quantile: float,
    generator: Callable[..., random.Random],
    epoch: int,
) -> dict[int, int]:
    """Select a member to copy for each of the worst members.

    Args:
        worth: Value of each member; higher is better. Of equal ones the higher number is worse.
        quantile: Fraction of the members that copy; at least one of two or more.
        generator: Returns the random generator of an epoch and a member.
        epoch: Number of epochs.

    Returns:
        Number of the member to copy, by number of the member that copies it.
    """
    ranked = sorted(worth, key=lambda number: (worth[number], -number))
    count = 0
    if len(ranked) > 1:
        count = max(1, int(quantile * len(ranked) + 1e-9))
    best = sorted(ranked[len(ranked) - count :])
    sources: dict[int, int] = {}
    for number in sorted(ranked[:count]):
        sources[number] = generator(epoch, "exploit", number).choice(best)
    return sources


def perturb_value(dimension: Dimension, value: Any, generator: random.Random) -> Any:
    """Return a value near another one.

    A number is multiplied by 0.8 or 1.2 within its range and rounded to its step, but moves by at
    least one step if the range allows it. Without a step, 0 stays 0. A choice is replaced by one of
    its neighbours in the list.

    Args:
        dimension: The dimension, which is not constant.
        value: The current value.
        generator: Random generator.

    Returns:
        The new value.
    """
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
    position = round((new - p.low) / step)
    if position == round((value - p.low) / step):
        position += 1 if (value or 1) * (factor - 1) > 0 else -1
    found = p.low + min(max(position, 0), last) * step
    return round(found) if dimension.whole else found


def _choose_neighbour(choices: list[Any], value: Any, generator: random.Random) -> Any:
    position = choices.index(value)
    neighbours = [i for i in (position - 1, position + 1) if 0 <= i < len(choices)]
    return choices[generator.choice(neighbours)] if neighbours else value
