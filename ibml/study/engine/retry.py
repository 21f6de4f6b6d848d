"""What can go wrong with a trial while it trains, and whether to try again."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from ibml.common.storage import StoragePath
from ibml.training.checkpoint_retention import STALLED


class TrialFailure(Exception):
    """An exception of a trial that ends its worker too, in a line."""


@dataclass(frozen=True)
class Fault:
    """Why a trial stopped before its end. `epoch` is the one in which an exception was raised by the training itself,
    and none where the worker died, or memory ran out, which another time need not happen."""

    reason: str
    log: str
    epoch: int | None = None


def should_retry(faults: Sequence[Fault], max_retries: int) -> bool:
    """Whether to go on from the last checkpoint after these faults of a trial: until it has failed too often, or in the
    same way and place as the time before, since then it always will."""
    if len(faults) > max_retries:
        return False
    *_, last = faults
    return last.epoch is None or (last.reason, last.epoch) not in [
        (f.reason, f.epoch) for f in faults[:-1]
    ]


def fault_from_worker_death(folder: StoragePath, reason: str, log: str, minutes: float) -> Fault:
    """The fault of a worker that ended without a word: where it says so, because it hung."""
    try:
        stack = (folder / STALLED).read_bytes().decode(errors="replace")
    except OSError:
        stack = ""
    if not stack:
        return Fault(reason, log)
    with suppress(OSError):  # it is removed with the trial's checkpoints
        (folder / STALLED).unlink()
    return Fault(f"no epoch ended in {minutes:g} minutes, so its worker was ended", stack)
