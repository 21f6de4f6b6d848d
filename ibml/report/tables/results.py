"""Results of a study: the trials that count, their values, and how comparable they are."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property

from ibml.common.errors import IbmlError
from ibml.common.formatting import format_count
from ibml.config.metrics.names import UTILISATION, Metric, describe_metric
from ibml.records import StudyRecord, TrialEntry, TrialRecord
from ibml.statistics.sequential import SequentialProgress, follow


class MixedResultsError(IbmlError):
    """Results from different code, machines or data, which may not be comparable."""


@dataclass(frozen=True)
class Results:
    """A study with the results of its trials.

    In an adaptive study only the trials count that were part of its decisions, even if the
    store has results of more seeds.

    Attributes:
        study: Record of the study.
        records: Trial key -> stored result; may contain other keys too.
    """

    study: StudyRecord
    records: Mapping[str, TrialRecord]

    @cached_property
    def looks(self) -> dict[str, SequentialProgress]:
        """Progress of the interim analyses of an adaptive study, by data set; else empty."""
        study = self.study
        if study.adaptive is None:
            return {}
        arms: dict[str, dict[str, dict[int, float | None]]] = {}
        for trial in study.trials:
            by_seed = arms.setdefault(trial.dataset, {}).setdefault(trial.arm, {})
            record = self.records.get(trial.key)
            without_best = (trial.dataset, trial.arm) in self.without_best
            if without_best or (record and record.status == "failed"):
                # Such a trial must not block the next look; repeating the command retries it.
                by_seed[trial.seed] = None
            elif record and record.ended:
                value = self.get_value(trial, study.steering)
                by_seed[trial.seed] = value if math.isfinite(value) else None
        progress = {}
        for dataset, values in arms.items():
            progress[dataset] = follow(
                values,
                study.reference,
                study.seeds,
                study.adaptive.min,
                study.table.alpha,
                study.table.test,
            )
        return progress

    @cached_property
    def without_best(self) -> set[tuple[str, str]]:
        """Pairs (data set, arm) whose search ended without a best configuration."""
        return {(t.dataset, t.arm) for t in self.study.tuning if t.exhausted}

    def count_seeds_taken(self, dataset: str, arm: str) -> int:
        """Return the number of seeds with which an arm is analyzed.

        Args:
            dataset: Name of the data set.
            arm: Name of the arm.

        Returns:
            All seeds of a study with fixed seeds. In an adaptive study: the seeds at the
            decision, else those at the last look, and before the first look the minimum.
        """
        if self.study.adaptive is None:
            return len(self.study.seeds)
        progress = self.looks[dataset]
        decision = progress.decided.get(arm)
        if decision:
            return decision.seeds
        return max(progress.looks, self.study.adaptive.min)

    @cached_property
    def trials(self) -> list[TrialEntry]:
        """Trials that count: all, or in an adaptive study those that a look used or awaits."""
        study = self.study
        if study.adaptive is None:
            return list(study.trials)
        positions = {seed: position for position, seed in enumerate(study.seeds)}
        counted = []
        for trial in study.trials:
            taken = positions[trial.seed] < self.count_seeds_taken(trial.dataset, trial.arm)
            awaited = trial.arm in self.looks[trial.dataset].wanted.get(trial.seed, ())
            if taken or awaited:
                counted.append(trial)
        return counted

    @cached_property
    def ended(self) -> list[TrialRecord]:
        """Results of the trials that count, one per key."""
        ended = []
        for key in dict.fromkeys(trial.key for trial in self.trials):
            record = self.records.get(key)
            if record is not None and record.ended:
                ended.append(record)
        return ended

    @property
    def unfinished(self) -> int:
        """Number of trials without a result."""
        count = 0
        for trial in self.trials:
            record = self.records.get(trial.key)
            if record is None or not record.ended:
                count += 1
        return count

    def get_status(self, trial: TrialEntry) -> str:
        """Return the status of a trial's run; `missing` without a run or for a pruned one."""
        record = self.records.get(trial.key)
        if record is None or record.status == "pruned":
            return "missing"
        return record.status

    @cached_property
    def _by_cell(self) -> dict[tuple[str, str], list[TrialEntry]]:
        cells: dict[tuple[str, str], list[TrialEntry]] = {}
        for trial in self.trials:
            cells.setdefault((trial.dataset, trial.arm), []).append(trial)
        return cells

    def list_arms(self, dataset: str) -> list[str]:
        """Return the arms with trials on a data set, in the order of the study."""
        return [arm for arm in self.study.arms if (dataset, arm) in self._by_cell]

    def get_values(self, dataset: str, arm: str, metric: Metric) -> dict[int, float]:
        """Return the finite values of an arm's finished trials.

        Args:
            dataset: Name of the data set.
            arm: Name of the arm.
            metric: Metric to read.

        Returns:
            Seed -> value in the displayed unit, in ascending order of the seeds.
        """
        values = {}
        for trial in self._by_cell.get((dataset, arm), ()):
            value = self.get_value(trial, metric.name)
            if math.isfinite(value):
                values[trial.seed] = value * metric.scale
        return dict(sorted(values.items()))

    def get_value(self, trial: TrialEntry, name: str) -> float:
        """Return a metric of a finished trial.

        A utilisation is computed: the accuracy of a modality divided by the accuracy of
        unimodal training, on the same data set with the same seed.

        Args:
            trial: The trial.
            name: Name of the metric.

        Returns:
            The value in the logged unit; NaN if the trial or the metric is missing.
        """
        record = self.records.get(trial.key)
        if record is None or record.status != "finished":
            return math.nan
        modality = name.removeprefix(UTILISATION)
        if modality == name:
            return record.metrics.get(name, math.nan)
        unimodal = self._unimodal_trials.get((trial.dataset, modality, trial.seed))
        if unimodal is None:
            return math.nan
        unimodal_accuracy = self.get_value(unimodal, "test.accuracy")
        if not unimodal_accuracy > 0:  # also NaN
            return math.nan
        return record.metrics.get(f"test.accuracy.{modality}", math.nan) / unimodal_accuracy

    @cached_property
    def _unimodal_trials(self) -> dict[tuple[str, str, int], TrialEntry]:
        """Trials that train a single modality, by data set, modality and seed."""
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
        """Return arm -> seed -> value (see `get_values`) for every arm of a data set."""
        return {arm: self.get_values(dataset, arm, metric) for arm in self.list_arms(dataset)}

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """Metrics of the table, in its order."""
        return tuple(map(describe_metric, self.study.metrics))


def find_mixtures(results: Results, revision: str = "") -> list[str]:
    """Describe differences in code, machine or data between the results of a study.

    Args:
        results: The results.
        revision: Revision of the code that will run the remaining trials, if known.

    Returns:
        One phrase per kind of difference; empty if the results are uniform. Trials that change
        their data on purpose are not compared by data.
    """
    revisions = [record.revision for record in results.ended]
    revisions += [revision] * results.unfinished
    found = [
        _describe_mixture("code revisions", revisions),
        _describe_mixture("kinds of machine", (record.platform for record in results.ended)),
    ]
    for dataset in results.study.datasets:
        fingerprints = _list_fingerprints(results, dataset)
        found.append(_describe_mixture(f"states of the data of {dataset}", fingerprints))
    return [text for text in found if text]


def _list_fingerprints(results: Results, dataset: str) -> list[str]:
    """Return the data fingerprints of trials that leave the data as they are."""
    changes = results.study.changes.get(dataset, {})
    fingerprints = []
    for trial in results.trials:
        record = results.records.get(trial.key)
        if trial.dataset != dataset or record is None or not record.ended:
            continue
        changes_data = any(path.startswith("data.") for path in changes.get(trial.arm, ()))
        if not changes_data:
            fingerprints.append(record.fingerprint[:12])
    return fingerprints


def _describe_mixture(subject: str, names: Iterable[str]) -> str:
    counts: dict[str, int] = {}
    for name in filter(None, names):
        counts[name] = counts.get(name, 0) + 1
    if len(counts) < 2:
        return ""
    parts = [f"{name} ({format_count(count, 'result')})" for name, count in sorted(counts.items())]
    return f"{len(counts)} {subject}: {', '.join(parts)}"


def refuse_mixtures(name: str, found: Collection[str]) -> None:
    """Refuse results that may not be comparable.

    Args:
        name: Name of the study.
        found: Differences that `find_mixtures` returned.

    Raises:
        MixedResultsError: There is a difference.
    """
    if found:
        raise MixedResultsError(
            f"{name} mixes {'; '.join(found)}, so its results may not be comparable."
            " Pass --allow-mixed to use them anyway; the table notes will say so."
        )
