"""Retry policy: faults of a trial, and the decision to train it again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from ibml.common.storage import StoragePath
from ibml.training.checkpoint_retention import STALLED


class TrialFailure(Exception):
    """An exception of a trial that also ends its worker; the message is one line."""


@dataclass(frozen=True)
class Fault:
    """Reason why a trial stopped before its end.

    Attributes:
        reason: Reason in one line.
        log: Traceback or log.
        epoch: Epoch in which the training raised an exception. None for faults that may not
            repeat: the worker died, or memory ran out.
    """

    reason: str
    log: str
    epoch: int | None = None


def should_retry(faults: Sequence[Fault], max_retries: int) -> bool:
    """Return True if a trial should be retried from its last checkpoint.

    A trial that fails twice with the same exception in the same epoch is not retried.

    Args:
        faults: Faults of the trial so far, the last one included.
        max_retries: Maximum number of retries.

    Returns:
        True for a retry.
    """
    if len(faults) > max_retries:
        return False
    *earlier, last = faults
    if last.epoch is None:
        return True
    return all((last.reason, last.epoch) != (fault.reason, fault.epoch) for fault in earlier)


def fault_from_worker_death(folder: StoragePath, reason: str, log: str, minutes: float) -> Fault:
    """Return the fault of a worker that ended without a report.

    A worker that hung has written its stack to a file in the folder.

    Args:
        folder: Folder of the trial's checkpoints.
        reason: Reason in one line, for a worker that did not hang.
        log: Traceback or log of the worker.
        minutes: The trial's `stall_minutes`, for the message.

    Returns:
        The fault.
    """
    try:
        stack = (folder / STALLED).read_bytes().decode(errors="replace")
    except OSError:
        stack = ""
    if not stack:
        return Fault(reason, log)
    with suppress(OSError):  # it will be removed with the trial's checkpoints
        (folder / STALLED).unlink()
    return Fault(f"no epoch ended in {minutes:g} minutes, so its worker was ended", stack)
