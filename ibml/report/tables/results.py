"""The results of a study's trials: which of them count, their values, and where they come from."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ibml.common.errors import IbmlError
from ibml.config.metrics.names import UTILISATION, Metric, describe_metric
from ibml.records import StudyRecord, TrialEntry, TrialRecord
from ibml.statistics.sequential import Progress, follow


class MixedResultsError(IbmlError):
    """Results that were not made alike, so that nothing says that they compare."""


@dataclass(frozen=True)
class Results:
    """A study and the results of its keys. Where seeds were added until arms were decided, only the trials count that
    the decisions took, whatever else the store has."""

    study: StudyRecord
    records: Mapping[str, TrialRecord]

    @cached_property
    def looks(self) -> dict[str, Progress]:
        """By data set, where the looks at an adaptive study stand."""
        study = self.study
        if study.adaptive is None:
            return {}
        arms: dict[str, dict[str, dict[int, float | None]]] = {}
        for trial in study.trials:
            by_seed = arms.setdefault(trial.dataset, {}).setdefault(trial.arm, {})
            record = self.records.get(trial.key)
            if (trial.dataset, trial.arm) in self.without_best or (
                record and record.status == "failed"
            ):
                by_seed[trial.seed] = (
                    None  # it holds nothing up, and is run again by the same command
                )
            elif record and record.ended:
                value = self.get_value(trial, study.steering)
                by_seed[trial.seed] = value if math.isfinite(value) else None
        return {
            dataset: follow(
                of_dataset,
                study.reference,
                study.seeds,
                study.adaptive.min,
                study.table.alpha,
                study.table.test,
            )
            for dataset, of_dataset in arms.items()
        }

    @cached_property
    def without_best(self) -> set[tuple[str, str]]:
        """(data set, arm) of searches that are done and have chosen nothing, so that nothing was evaluated."""
        return {(t.dataset, t.arm) for t in self.study.tuning if t.exhausted}

    def count_seeds_taken(self, dataset: str, arm: str) -> int:
        """After how many seeds an arm was decided, or how many it had at the last look, before the first the least."""
        if self.study.adaptive is None:
            return len(self.study.seeds)
        progress = self.looks[dataset]
        decision = progress.decided.get(arm)
        return decision.seeds if decision else max(progress.looks, self.study.adaptive.min)

    @cached_property
    def trials(self) -> list[TrialEntry]:
        """The trials that count: all, or those that the looks took and are waiting for."""
        study = self.study
        if study.adaptive is None:
            return list(study.trials)
        place = {seed: position for position, seed in enumerate(study.seeds)}
        return [
            trial
            for trial in study.trials
            if place[trial.seed] < self.count_seeds_taken(trial.dataset, trial.arm)
            or trial.arm in self.looks[trial.dataset].wanted.get(trial.seed, ())
        ]

    @cached_property
    def ended(self) -> list[TrialRecord]:
        """The results of the trials that count, each key once."""
        keys = dict.fromkeys(trial.key for trial in self.trials)
        return [
            self.records[key] for key in keys if key in self.records and self.records[key].ended
        ]

    @property
    def unfinished(self) -> int:
        """How many trials have no result yet."""
        return sum(
            not (record := self.records.get(trial.key)) or not record.ended for trial in self.trials
        )

    def status(self, trial: TrialEntry) -> str:
        """That of its run; `missing` where there is none, or only one that a search stopped early."""
        record = self.records.get(trial.key)
        return "missing" if record is None or record.status == "pruned" else record.status

    @cached_property
    def _by_cell(self) -> dict[tuple[str, str], list[TrialEntry]]:
        cells: dict[tuple[str, str], list[TrialEntry]] = {}
        for trial in self.trials:
            cells.setdefault((trial.dataset, trial.arm), []).append(trial)
        return cells

    def arms(self, dataset: str) -> list[str]:
        """The arms that a data set has, in the table's order."""
        return [arm for arm in self.study.arms if (dataset, arm) in self._by_cell]

    def values(self, dataset: str, arm: str, metric: Metric) -> dict[int, float]:
        """seed -> finite value in the shown unit, of trials that finished; seeds in order."""
        values = {}
        for trial in self._by_cell.get((dataset, arm), ()):
            value = self.get_value(trial, metric.name)
            if math.isfinite(value):
                values[trial.seed] = value * metric.scale
        return dict(sorted(values.items()))

    def get_value(self, trial: TrialEntry, name: str) -> float:
        """A metric of a trial that finished, as it was logged; no number where there is none. Utilisations are
        computed: the trial's accuracy of a modality by that of the modality alone, on the same data set and seed."""
        record = self.records.get(trial.key)
        if record is None or record.status != "finished":
            return math.nan
        modality = name.removeprefix(UTILISATION)
        if modality == name:
            return record.metrics.get(name, math.nan)
        alone = self._alone.get((trial.dataset, modality, trial.seed))
        of_alone = self.get_value(alone, "test.accuracy") if alone else math.nan
        return (
            record.metrics.get(f"test.accuracy.{modality}", math.nan) / of_alone
            if of_alone > 0
            else math.nan
        )

    @cached_property
    def _alone(self) -> dict[tuple[str, str, int], TrialEntry]:
        """The trials of arms that have one modality alone, by data set, modality and seed."""
        found = {}
        for trial in self.study.trials:
            config = {
                **self.study.configs.get(trial.dataset, {}),
                **self.study.changes.get(trial.dataset, {}).get(trial.arm, {}),
            }
            if config.get("method.type") == "unimodal":
                found[trial.dataset, config["method.modality"], trial.seed] = trial
        return found

    def get_values_by_arm(self, dataset: str, metric: Metric) -> dict[str, dict[int, float]]:
        """arm -> seed -> value, for every arm of a data set."""
        return {arm: self.values(dataset, arm, metric) for arm in self.arms(dataset)}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The table's metrics, in its order."""
        return tuple(map(describe_metric, self.study.metrics))


def find_mixtures(results: Results, revision: str = "") -> list[str]:
    """What of the results was not made alike, in words: code, kind of machine, or data within a data set. `revision`
    is that of the code that is going to run the trials that have no result yet."""
    to_come = [revision] * results.unfinished
    found = [
        _describe_mixture(
            "code revisions", [*(record.revision for record in results.ended), *to_come]
        ),
        _describe_mixture("kinds of machine", (record.platform for record in results.ended)),
    ]
    for dataset in results.study.datasets:
        changed = results.study.changes.get(dataset, {})
        prints = [
            results.records[trial.key].fingerprint[:12]
            for trial in results.trials
            if trial.dataset == dataset
            and trial.key in results.records
            and results.records[trial.key].ended
            and not any(path.startswith("data.") for path in changed.get(trial.arm, ()))
        ]
        found.append(_describe_mixture(f"states of the data of {dataset}", prints))
    return [text for text in found if text]


def _describe_mixture(what: str, names: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for name in filter(None, names):
        counts[name] = counts.get(name, 0) + 1
    if len(counts) < 2:
        return ""
    parts = ", ".join(
        f"{name} ({count} result{'s' if count > 1 else ''})"
        for name, count in sorted(counts.items())
    )
    return f"{len(counts)} {what}: {parts}"


def refuse_mixtures(name: str, found: Collection[str]) -> None:
    """Raise `MixedResultsError` if results were not made alike."""
    if found:
        raise MixedResultsError(
            f"{name} mixes {'; '.join(found)}. Nothing says that these compare; --allow-mixed uses them and says so in"
            " the table's foot."
        )
