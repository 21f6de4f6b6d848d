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
from ibml.search.attempts import Attempt, Leg, Proposal
from ibml.search.check import draw
from ibml.search.pbt_checkpoints import States
from ibml.search.search import Ending, Search
from ibml.search.space import Dimension, Space, Values
from ibml.search.trial_attributes import SEED
from ibml.search.values import Tracker

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
        states: States,
    ):
        assert config.scheduler.type == "pbt"
        self.states, self.scheduler = states, config.scheduler
        self._boundary = int(study.user_attrs.get(BOUNDARY, 0))
        self._training: set[int] = set()
        super().__init__(study, storage, config, space, seeds)
        self._forget_if_done()

    def next(self) -> Attempt | None:
        """The next member to train to the end of the generation, or nothing until others have arrived there."""
        while self.started < self.trials:
            self.started += 1
            self._begin(self.study.ask())
        if self.running and not self._ready and not self._training:
            self._change()
        if not self._ready or len(self._training) >= self.concurrency:
            return None
        attempt = self._ready.popleft()
        self._training.add(attempt.number)
        self._load(attempt)
        return attempt

    def restart(self, attempt: Attempt) -> None:
        """Its epochs are trained again to the same numbers, so there is nothing to forget."""

    def report(self, attempt: Attempt, rows: Sequence[MetricRow]) -> bool:
        """Take in epochs of a member, each with its own value: what is copied is the training as it is now."""
        for row in rows:
            if math.isfinite(row.get("val.loss", math.nan)):
                self._intermediate(attempt.number, int(row["epoch"]) + 1, row[self._metric])
        return True

    def arrive(self, attempt: Attempt, state: bytes) -> None:
        """Take in the state of a member at the end of the generation."""
        assert attempt.leg is not None
        self.states.put(attempt.number, attempt.leg.stop, state)
        self._land(attempt)

    def end(self, attempt: Attempt, ending: Ending, final: MetricRow, reason: str = "") -> None:
        """Take in how a member ended: with the last generation, or before."""
        self._land(attempt)
        proposal = self.running[attempt.number]
        if ending == "finished":
            values = {self._metric: final[f"selected.{self._metric}"], "time.total": final["time.total"]}
            values["epochs"] = float(proposal.config.trainer.epochs)
            proposal.trial.set_user_attr(f"{SEED}.0", values)
            proposal.seeds.append(values)
            self._after_seed(proposal)
        else:
            self._not_finished(proposal, ending, reason, 0)
        self._forget_if_done()

    def configuration(self, trial: FrozenTrial) -> tuple[Values, TrialConfig]:
        """The values that a member has at its end, and the configuration with them, without a seed."""
        changes = trial.user_attrs.get(CHANGES, [])
        return self._configured(trial.number, changes[-1]["values"] if changes else trial.params)

    @property
    def _metric(self) -> str:
        return self.config.objectives[0].metric

    def _land(self, attempt: Attempt) -> None:
        assert attempt.leg is not None
        attempt.leg.state = None  # whoever keeps the attempt need not keep the state
        self._training.discard(attempt.number)

    def _forget_if_done(self) -> None:
        if self.done:
            self.states.forget()

    def _make_ready(self, proposal: Proposal) -> None:
        """Let a member train the generation, unless it did before the search was interrupted."""
        number, epochs = proposal.trial.number, proposal.config.trainer.epochs
        stop = min(self._boundary + self.scheduler.interval_epochs, epochs)
        if stop in proposal.curve and self.states.has(number, stop):
            return
        changes = [change for change in self._changes(number) if change["epoch"] <= self._boundary]
        values, config = proposal.values, proposal.config
        if changes:
            values, config = self._configured(number, changes[-1]["values"])
        config = config.model_copy(update={"seed": self.seeds[0]})
        initial = proposal.config.model_copy(update={"seed": self.seeds[0]})
        searched = {d.path for d in self.space.searched}
        numbers = {p: float(v) for p, v in values.items() if p in searched and _is_number(v)}
        copied = bool(changes) and changes[-1]["epoch"] == self._boundary
        leg = Leg(self._boundary, stop, None, copied, initial, proposal.values, changes, numbers)
        self._ready.append(Attempt(number, 0, config, values, (), Tracker(config.trainer.selection), leg=leg))

    def _load(self, attempt: Attempt) -> None:
        """Read the state that a member goes on from: its own, or that of the member that it copies now."""
        leg = attempt.leg
        assert leg is not None
        if leg.first:
            leg.state = self.states.get(leg.changes[-1]["from"] if leg.copied else attempt.number, leg.first)

    def _changes(self, number: int) -> list[dict[str, Any]]:
        return list(self._storage.get_trial(self._id(number)).user_attrs.get(CHANGES, []))

    def _change(self) -> None:
        """All members have arrived: change the poor ones, and begin the next generation."""
        epoch = self._boundary + self.scheduler.interval_epochs
        sign = 1.0 if self.config.objectives[0].sense == "maximize" else -1.0
        worth = {number: sign * proposal.curve[epoch] for number, proposal in self.running.items()}
        for number, source in exploited(worth, self.scheduler.quantile, self._generator, epoch).items():
            values = self._explored(source, self._generator(epoch, "explore", number))
            labels = {d.path: d.label(values[d.path]) for d in self.space.searched if d.path in values}
            changes = [change for change in self._changes(number) if change["epoch"] < epoch]
            changes.append({"epoch": epoch, "from": source, "values": labels})
            self.running[number].trial.set_user_attr(CHANGES, changes)
        self.study.set_user_attr(BOUNDARY, epoch)
        self._boundary = epoch
        self.states.forget(before=epoch)
        for number in sorted(self.running):
            self._make_ready(self.running[number])

    def _generator(self, epoch: int, *where: str | int) -> random.Random:
        return random.Random(stream_seed(self.config.sampler.seed, "search", "population", epoch, *where))

    def _explored(self, source: int, generator: random.Random) -> Values:
        """Values near those of a member. Parameters that they make inactive vanish; those that they make active are
        drawn. Where the space has no configuration for them, which its check makes unlikely, the member's are kept."""
        changes = self._changes(source)
        old = self._configured(source, changes[-1]["values"])[0] if changes else self.running[source].values
        resample = self.scheduler.resample

        def choose(dimension: Dimension) -> Any:
            if dimension.path not in old or generator.random() < resample:
                return draw(dimension, generator)
            return perturbed(dimension, old[dimension.path], generator)

        new = self.space.walk(choose)
        return old if self.space.trial(new)[0] is None else new


def exploited(
    worth: Mapping[int, float], quantile: float, generator: Callable[..., random.Random], epoch: int
) -> dict[int, int]:
    """Member -> the member that it copies, for the worst `quantile` (at least one) of two or more; of equal ones the
    later number is the worse."""
    ranked = sorted(worth, key=lambda number: (worth[number], -number))
    count = max(1, int(quantile * len(ranked) + 1e-9)) if len(ranked) > 1 else 0
    best = sorted(ranked[len(ranked) - count :])
    return {number: generator(epoch, "exploit", number).choice(best) for number in sorted(ranked[:count])}


def perturbed(dimension: Dimension, value: Any, generator: random.Random) -> Any:
    """A value near another one: a number times 0.8 or 1.2, within its range, rounded to its step but at least one
    step away where the range has it (without a step, 0 stays 0); a choice's neighbour in the list."""
    p = dimension.parameter
    if isinstance(p, ChoiceParameter):
        return _neighbour(list(p.choices), value, generator)
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


def _neighbour(choices: list[Any], value: Any, generator: random.Random) -> Any:
    position = choices.index(value)
    beside = [i for i in (position - 1, position + 1) if 0 <= i < len(choices)]
    return choices[generator.choice(beside)] if beside else value


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
