"""A recorded trial run again from its record alone, and whether it comes to the same numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from rich.console import Console

from ibml import data
from ibml.common.errors import ConfigError, IbmlError
from ibml.common.version import get_code_revision
from ibml.common.yaml import documents
from ibml.config.loading.validation import parse_document
from ibml.config.plugins.failures import describe_failure
from ibml.config.trial import TrialConfig
from ibml.records import TrialRecord
from ibml.search.population import CHANGES
from ibml.study.differences import (
    MetricMismatch,
    compare_epochs,
    compare_final_metrics,
    is_compared,
)
from ibml.study.planning.keys import compute_trial_key, find_revision
from ibml.study.single_trial import format_epoch
from ibml.tracking.store.mlflow_store import MlflowStore
from ibml.tracking.store.uri import TrackingError
from ibml.training.device import DeviceError, choose_device, platform
from ibml.training.revision import TRAINER_REVISION
from ibml.training.trainer import EpochMetrics, Trainer, describe_divergence


class NotReproducibleError(IbmlError):
    """A trial that cannot be run again as it was, and why."""


@dataclass(frozen=True)
class Reproduction:
    """How a trial that ran again compares with its record, over so many epochs, metrics of an epoch and of the end."""

    run_id: str
    epochs: int
    epoch_metrics: int
    final_metrics: int
    differences: tuple[MetricMismatch, ...]
    ending: str
    """How it ended otherwise, if it did."""
    notes: tuple[str, ...]
    """What is not as it was, though it need not change a number: code and platform."""

    @property
    def identical(self) -> bool:
        return not self.differences and not self.ending

    @property
    def lines(self) -> list[str]:
        """The verdict, what differs, and what else is not as it was."""
        compared = (
            f"{self.epoch_metrics} metrics of {self.epochs} epoch{'s' if self.epochs > 1 else ''}"
        )
        compared += f" and {self.final_metrics} of the end" if self.final_metrics else ""
        if self.identical:
            return [f"Identical, bit for bit: {compared}.", *self.notes]
        differ = f"Not identical in {len(self.differences)} of {compared}."
        endings = [f"{self.ending}."] if self.ending else []
        return [differ, *endings, *map(str, self.differences), *self.notes]


def reproduce_trial(name: str, store: MlflowStore, console: Console) -> Reproduction:
    """Train a trial, by its run id or key or the beginning of either, again in this process. One that did not end is
    trained for the epochs that it has. Nothing is recorded.

    Raises `TrackingError` where there is no such trial, `NotReproducibleError` where its record does not determine its
    numbers with this data and this trainer.
    """
    record = store.trial(store.find_trial(name).run_id)
    _refuse_population_members(store.read_tags(record.run_id), store)
    config = _choose_recorded_device(
        _check_key(_parse_config(store.read_trial_config(record.run_id), record), record), record
    )
    history, file = store.read_logged_epochs(record.run_id), store.epochs(record.run_id)
    recorded = max(map(len, [*history.values(), *file.values()]), default=0)
    if not recorded:
        raise NotReproducibleError(f"{_format_trial(record)} has no epoch that could be compared")
    console.print(f"{_format_trial(record)}, {record.status}", highlight=False, soft_wrap=True)
    limit = config.trainer.epochs if record.status == "finished" else recorded
    trainer, rows, final = _train(
        config, limit, lambda row: console.print(format_epoch(row), highlight=False)
    )
    final = final if record.status == "finished" else {}
    # a trial without a result may have gone on since its file was written
    of_file = rows if record.ended else rows[: max(map(len, file.values()), default=0)]
    last = {**rows[-1], **final}
    found: dict[str, MetricMismatch] = {}
    for difference in (
        *compare_epochs("MLflow", history, rows, final),
        *compare_epochs("epochs.csv", file, of_file, final),
        *compare_final_metrics("MLflow", record.metrics, last),
    ):
        found.setdefault(difference.metric, difference)
    return Reproduction(
        run_id=record.run_id,
        epochs=len(rows),
        epoch_metrics=sum(map(is_compared, rows[0])),
        final_metrics=sum(map(is_compared, final)),
        differences=tuple(found.values()),
        ending=_describe_other_ending(record, trainer, rows[-1]),
        notes=_describe_environment_changes(record, trainer),
    )


def _refuse_population_members(tags: Mapping[str, str], store: MlflowStore) -> None:
    """A member of a population changes by what the others come to."""
    search = tags.get("ibml.search", "")
    member = CHANGES in tags
    if search and not member:
        try:
            member = store.search(search).scheduler["type"] == "pbt"
        except TrackingError:
            return  # the search's run is gone; the key tells whether the configuration determines the result
    if member:
        raise NotReproducibleError(
            f"trial {tags.get('ibml.trial')} of {search} is a member of a population: it took over what others came to,"
            " so its configuration alone does not determine its numbers; the search as a whole does"
        )


def _parse_config(text: str, record: TrialRecord) -> TrialConfig:
    try:
        config, problems = parse_document(documents.parse(text, "config.yaml"), TrialConfig)
    except ConfigError as error:
        config, problems = None, error.problems
    if config is None or problems:
        found = "\n".join(map(str, problems))
        raise NotReproducibleError(
            f"{_format_trial(record)} has a configuration that this version of ibml does not take:\n{found}"
        )
    return config


def _check_key(config: TrialConfig, record: TrialRecord) -> TrialConfig:
    """The configuration, if it has the key still under which the result was recorded."""
    fingerprint = data.fingerprint(config.data)
    if compute_trial_key(config, fingerprint) == record.key:
        return config
    changed = []
    if fingerprint != record.fingerprint:
        changed.append(
            f"the data set {config.data.type} has other content (fingerprint {record.fingerprint[:12] or 'unknown'}"
            f" then, {fingerprint[:12]} now)"
        )
    revision = find_revision(record.key, config, record.fingerprint)
    if revision is None:
        changed.append("its configuration stands for another key in this version of ibml")
    elif revision != TRAINER_REVISION:
        changed.append(
            f"the trainer computes otherwise (revision {revision} then, {TRAINER_REVISION} now)"
        )
    raise NotReproducibleError(
        f"{_format_trial(record)} cannot give the recorded numbers: {', and '.join(changed)}"
    )


def _choose_recorded_device(config: TrialConfig, record: TrialRecord) -> TrialConfig:
    """A study's trial that reserved no GPU ran on the CPU, whatever `auto` would choose here."""
    device = record.platform.partition(",")[0]
    if config.trainer.device != "auto" or not device:
        return config
    there = config.trainer.model_validate({**config.trainer.model_dump(), "device": device})
    try:
        choose_device(there.device)
    except DeviceError:
        return config
    return config.model_copy(update={"trainer": there})


def _train(
    config: TrialConfig, epochs: int, on_epoch: Callable[[EpochMetrics], None]
) -> tuple[Trainer, list[EpochMetrics], dict[str, float]]:
    """The trainer, at most so many epochs, and the final metrics of a training that came to its end."""
    rows: list[EpochMetrics] = []
    try:
        trainer = Trainer(config)
        while not trainer.done and len(rows) < epochs:
            rows.append(trainer.run_epoch())
            on_epoch(rows[-1])
        whole = trainer.done and not trainer.diverged
        return trainer, rows, trainer.finish() if whole else {}
    except IbmlError:
        raise
    except Exception as error:
        raise IbmlError(
            f"the trial failed in epoch {len(rows)}: {describe_failure(error)}"
        ) from error


def _describe_other_ending(record: TrialRecord, trainer: Trainer, last: EpochMetrics) -> str:
    if record.status == "finished" and trainer.diverged:
        return f"It finished then, and diverges now: {describe_divergence(last)}"
    if record.status == "diverged" and not trainer.diverged:
        return f"It diverged then ({record.reason}), and does not now"
    return ""


def _describe_environment_changes(record: TrialRecord, trainer: Trainer) -> tuple[str, ...]:
    here = {
        "code": (record.revision, get_code_revision()),
        "platform": (record.platform, platform(trainer.device)),
    }
    return tuple(
        f"The {what} is not the same: {then} then, {now} now."
        for what, (then, now) in here.items()
        if then and then != now
    )


def _format_trial(record: TrialRecord) -> str:
    return f"{record.arm}, seed {record.seed} (MLflow run {record.run_id})"
