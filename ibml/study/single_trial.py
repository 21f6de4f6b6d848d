"""Training of a single trial in this process, recorded like a trial of a study."""

from __future__ import annotations

import traceback

from ibml import data
from ibml.common.errors import IbmlError
from ibml.common.processes.interruption import deferred, is_stop_requested, raise_if_stop_requested
from ibml.common.version import get_code_revision
from ibml.config.plugins.failures import describe_failure
from ibml.config.trial import TrialConfig
from ibml.records import TrialRecord
from ibml.study.engine.run_metadata import build_trial_description
from ibml.study.planning.cells import Cell
from ibml.study.planning.keys import compute_trial_key
from ibml.study.planning.trials import TrialSpec
from ibml.tracking.journal.events import MetricsLogged, TrialEnded, TrialInterrupted, TrialStarted
from ibml.tracking.session import Session
from ibml.training.checkpoint import TrialCheckpoints
from ibml.training.checkpoint_retention import remove_checkpoints
from ibml.training.trainer import Trainer, train
from ibml.training.trial_result import EpochMetrics, TrialResult


def run_single_trial(name: str, config: TrialConfig, session: Session) -> tuple[TrialResult, str]:
    """Train a trial in this process, and log and record every epoch.

    Training resumes from the last checkpoint, if there is one. A trial that already has a result
    is trained again without being recorded a second time.

    Args:
        name: Name of the trial's arm.
        config: Configuration of the trial.
        session: The driver's session on the store.

    Returns:
        The result, and the id of its MLflow run.

    Raises:
        IbmlError: If the trial fails, or if another driver is training it.
    """
    fingerprint = data.fingerprint(config.data)
    cell = Cell(dataset=config.data.type, arm=name, config=config, changes={})
    key = compute_trial_key(config, fingerprint)
    planned = TrialSpec(cell, config, key, fingerprint, f"{name} · seed {config.seed}")
    known = session.store.results({planned.key}).get(planned.key)
    if known is not None and known.ended:
        return train(config, lambda row: session.say(format_epoch(row))), known.run_id
    return _train_and_record(planned, session, known)


def _train_and_record(
    planned: TrialSpec, session: Session, known: TrialRecord | None
) -> tuple[TrialResult, str]:
    """Train a trial and write its events to the journal."""
    key, config = planned.key, planned.config
    folder = session.workspace.trial(key)
    trial = build_trial_description(planned, None, {"ibml.revision": get_code_revision()})
    claim = session.leases.claim(trial, assume_new=known is None)
    if not claim.run_id:
        raise IbmlError(
            f"{planned.name} is being trained by another driver; wait until that driver has ended"
        )
    try:
        session.add(key, TrialStarted(trial, claim.run_id))
        with deferred(lambda: "Stopping: the trial will checkpoint after this epoch ..."):
            result = _train_epochs(config, TrialCheckpoints(folder, config.trainer), session, key)
    except KeyboardInterrupt:
        session.add(key, TrialInterrupted())
        raise
    except Exception as error:
        reason = describe_failure(error)
        log = None if isinstance(error, IbmlError) else traceback.format_exc()
        session.add(key, TrialEnded("failed", {}, {"ibml.reason": reason}, log))
        if isinstance(error, IbmlError):
            raise
        raise IbmlError(
            f"the trial failed: {reason}; see traceback.txt of MLflow run {claim.run_id}"
        ) from error
    tags = {"ibml.reason": result.reason, "ibml.platform": result.platform}
    session.add(key, TrialEnded(result.status, result.metrics, tags))
    remove_checkpoints(folder, config.trainer.keep if result.status == "finished" else "none")
    return result, claim.run_id


def _train_epochs(
    config: TrialConfig, checkpoints: TrialCheckpoints, session: Session, key: str
) -> TrialResult:
    """Train all remaining epochs, and record each of them."""
    trainer, rows = checkpoints.restore(lambda: Trainer(config))
    raise_if_stop_requested()
    if rows:
        session.say(f"Resumed after epoch {rows[-1]['epoch']:.0f}.")
        session.add(key, MetricsLogged(list(rows)))
    while not trainer.done:
        rows.append(trainer.run_epoch())
        session.say(format_epoch(rows[-1]))
        session.add(key, MetricsLogged([rows[-1]]))
        checkpoints.save_if_due(trainer, rows)
        if is_stop_requested() and not trainer.done:
            checkpoints.save(trainer, rows)
            raise_if_stop_requested()
        for note in checkpoints.take_notes():
            session.warn(note)
    result = trainer.build_result(rows)
    checkpoints.save_selected(trainer, result.metrics)
    return result


def format_epoch(row: EpochMetrics) -> str:
    """Return one line for an epoch: loss, validation accuracies in percent, and rates."""
    accuracies, rates = [], []
    for name, value in row.items():
        if name.startswith("val.accuracy"):
            accuracies.append(f"val{name.removeprefix('val.accuracy')} {100 * value:.1f} %")
        elif name.startswith("rate."):
            rates.append(f"{name} {value:.3f}")
    parts = [f"epoch {row['epoch']:3.0f}", f"loss {row['train.loss']:.4f}", *accuracies, *rates]
    return "  ".join(parts)
