"""Reproduction: train a recorded trial again and compare all metrics bit for bit."""

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
from ibml.training.trainer import Trainer
from ibml.training.trial_result import EpochMetrics, describe_divergence


class NotReproducibleError(IbmlError):
    """The trial cannot be repeated exactly; the message names the reason."""


@dataclass(frozen=True)
class Reproduction:
    """Comparison of a repeated trial with its record.

    Attributes:
        run_id: Id of the recorded MLflow run.
        epochs: Number of epochs that were compared.
        epoch_metrics: Number of metrics that were compared in every epoch.
        final_metrics: Number of final metrics that were compared.
        differences: Metrics that differ.
        ending: Sentence about a different ending; empty if the ending is the same.
        notes: Changes of code and platform, which need not change a number.
    """

    run_id: str
    epochs: int
    epoch_metrics: int
    final_metrics: int
    differences: tuple[MetricMismatch, ...]
    ending: str
    notes: tuple[str, ...]

    @property
    def identical(self) -> bool:
        """True if all metrics and the ending are identical."""
        return not self.differences and not self.ending

    @property
    def lines(self) -> list[str]:
        """Lines of text: the verdict, the differences, and the notes."""
        compared = f"{self.epoch_metrics} metrics of {self.epochs} epoch"
        if self.epochs > 1:
            compared += "s"
        if self.final_metrics:
            compared += f" and {self.final_metrics} of the end"
        if self.identical:
            return [f"Identical, bit for bit: {compared}.", *self.notes]
        differ = f"Not identical in {len(self.differences)} of {compared}."
        endings = [f"{self.ending}."] if self.ending else []
        return [differ, *endings, *map(str, self.differences), *self.notes]


def reproduce_trial(name: str, store: MlflowStore, console: Console) -> Reproduction:
    """Train a recorded trial again in this process, and compare it with its record.

    An unfinished trial is trained for the number of epochs in its record. Nothing is recorded.

    Args:
        name: Run id or key of the trial, or the beginning of either.
        store: The MLflow store.
        console: Console for the epochs.

    Returns:
        The comparison.

    Raises:
        TrackingError: If the store has no such trial.
        NotReproducibleError: If the record, this data and this trainer do not determine the
            metrics.
        IbmlError: If the trial fails.
    """
    record = store.trial(store.find_trial(name).run_id)
    _refuse_population_members(store.read_tags(record.run_id), store)
    config = _parse_config(store.read_trial_config(record.run_id), record)
    _check_key(config, record)
    config = _choose_recorded_device(config, record)
    history, file = store.read_logged_epochs(record.run_id), store.epochs(record.run_id)
    recorded = max(map(len, [*history.values(), *file.values()]), default=0)
    if not recorded:
        raise NotReproducibleError(f"{_format_trial(record)} has no recorded epoch to compare")
    console.print(f"{_format_trial(record)}, {record.status}", highlight=False, soft_wrap=True)
    is_finished = record.status == "finished"
    limit = config.trainer.epochs if is_finished else recorded
    trainer, rows, final = _train(
        config, limit, lambda row: console.print(format_epoch(row), highlight=False)
    )
    if not is_finished:
        final = {}
    of_file = rows
    if not record.ended:
        # The trial may have been trained further since its file was written.
        of_file = rows[: max(map(len, file.values()), default=0)]
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
    """Refuse a member of a population, since it depends on the results of other members."""
    search = tags.get("ibml.search", "")
    member = CHANGES in tags
    if search and not member:
        try:
            member = store.search(search).scheduler["type"] == "pbt"
        except TrackingError:
            return  # without the search's run, the key decides
    if member:
        raise NotReproducibleError(
            f"trial {tags.get('ibml.trial')} of {search} is a member of a population:"
            " it copied weights and values of other members, so its configuration does not"
            " determine its metrics; repeat the whole search instead"
        )


def _parse_config(text: str, record: TrialRecord) -> TrialConfig:
    """Return the recorded configuration, if this version of ibml accepts it."""
    try:
        config, problems = parse_document(documents.parse(text, "config.yaml"), TrialConfig)
    except ConfigError as error:
        config, problems = None, error.problems
    if config is None or problems:
        found = "\n".join(map(str, problems))
        raise NotReproducibleError(
            f"{_format_trial(record)} has a configuration that this version of ibml"
            f" does not accept:\n{found}"
        )
    return config


def _check_key(config: TrialConfig, record: TrialRecord) -> None:
    """Check that a configuration still has the key of the recorded result.

    Args:
        config: The recorded configuration.
        record: The record.

    Raises:
        NotReproducibleError: If data, configuration format or trainer have changed.
    """
    fingerprint = data.fingerprint(config.data)
    if compute_trial_key(config, fingerprint) == record.key:
        return
    changed = []
    if fingerprint != record.fingerprint:
        recorded = record.fingerprint[:12] or "unknown"
        changed.append(
            f"the data set {config.data.type} has different content"
            f" (fingerprint {recorded} then, {fingerprint[:12]} now)"
        )
    revision = find_revision(record.key, config, record.fingerprint)
    if revision is None:
        changed.append("its configuration has another key in this version of ibml")
    elif revision != TRAINER_REVISION:
        changed.append(
            f"the trainer's computations changed (revision {revision} then, {TRAINER_REVISION} now)"
        )
    raise NotReproducibleError(
        f"{_format_trial(record)} cannot reproduce the recorded metrics: {', and '.join(changed)}"
    )


def _choose_recorded_device(config: TrialConfig, record: TrialRecord) -> TrialConfig:
    """Replace the device `auto` by the recorded device, if this machine has it.

    A trial of a study that reserved no GPU was trained on the CPU, even where `auto` finds a GPU.
    """
    device = record.platform.partition(",")[0]
    if config.trainer.device != "auto" or not device:
        return config
    trainer = config.trainer.model_validate({**config.trainer.model_dump(), "device": device})
    try:
        choose_device(trainer.device)
    except DeviceError:
        return config
    return config.model_copy(update={"trainer": trainer})


def _train(
    config: TrialConfig, epochs: int, on_epoch: Callable[[EpochMetrics], None]
) -> tuple[Trainer, list[EpochMetrics], dict[str, float]]:
    """Train a trial without recording it.

    Args:
        config: The configuration.
        epochs: Maximum number of epochs.
        on_epoch: Called with the metrics of every epoch.

    Returns:
        The trainer, metrics per epoch, and the final metrics; these are empty if the training did
        not finish.

    Raises:
        IbmlError: If the training fails.
    """
    rows: list[EpochMetrics] = []
    try:
        trainer = Trainer(config)
        while not trainer.done and len(rows) < epochs:
            rows.append(trainer.run_epoch())
            on_epoch(rows[-1])
        is_finished = trainer.done and not trainer.diverged
        return trainer, rows, trainer.finish() if is_finished else {}
    except IbmlError:
        raise
    except Exception as error:
        raise IbmlError(
            f"the trial failed in epoch {len(rows)}: {describe_failure(error)}"
        ) from error


def _describe_other_ending(record: TrialRecord, trainer: Trainer, last: EpochMetrics) -> str:
    if record.status == "finished" and trainer.diverged:
        return f"It finished then, but diverges now: {describe_divergence(last)}"
    if record.status == "diverged" and not trainer.diverged:
        return f"It diverged then ({record.reason}), but does not diverge now"
    return ""


def _describe_environment_changes(record: TrialRecord, trainer: Trainer) -> tuple[str, ...]:
    """Return a note for the code and for the platform, if they have changed."""
    compared = {
        "code": (record.revision, get_code_revision()),
        "platform": (record.platform, platform(trainer.device)),
    }
    notes = []
    for subject, (then, now) in compared.items():
        if then and then != now:
            notes.append(f"The {subject} is not the same: {then} then, {now} now.")
    return tuple(notes)


def _format_trial(record: TrialRecord) -> str:
    return f"{record.arm}, seed {record.seed} (MLflow run {record.run_id})"
