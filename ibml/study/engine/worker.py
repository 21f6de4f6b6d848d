"""Worker that trains one trial after another in steps; it is the same on every backend."""

from __future__ import annotations

import faulthandler
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ibml.common.storage import StoragePath, parse_storage_path
from ibml.config.plugins.plugin_config import collect_plugin_packages as plugin_hashes
from ibml.config.trial import flatten
from ibml.study.engine.retry import TrialFailure
from ibml.study.engine.tasks import TrialTask
from ibml.training.checkpoint_retention import STALLED

if TYPE_CHECKING:
    from ibml.training.checkpoint import TrialCheckpoints
    from ibml.training.trainer import Trainer
    from ibml.training.trial_result import EpochMetrics

REPORT_SECONDS = 0.5
"""Epochs shorter than this are reported together, since a report costs the driver milliseconds."""


def build_assignment(
    task: TrialTask, number: int, folder: StoragePath, gpus: float
) -> dict[str, Any]:
    """Return the data that a worker needs to train a task, as plain JSON types and bytes.

    Args:
        task: The task.
        number: Number of the task, which the worker repeats in its reports.
        folder: Folder of the trial's checkpoints.
        gpus: GPUs reserved for the trial; with 0, `device: auto` selects the CPU.

    Returns:
        The assignment for `TrialWorker.assign`.
    """
    config = task.config.model_dump(mode="json")
    config["trainer"]["keep"] = task.keep
    if config["trainer"]["device"] == "auto" and gpus == 0:
        config["trainer"]["device"] = "cpu"
    assignment = {
        "task": number,
        "trial": config,
        "data": task.spec.fingerprint,
        "plugins": plugin_hashes(flatten(config)),
        "folder": str(folder),
        "rungs": list(task.rungs),
        "warm_start_candidates": [(epoch, str(path)) for epoch, path in task.warm_start_candidates],
        "checkpoints_to_save": {
            epoch: str(path) for epoch, path in task.checkpoints_to_save.items()
        },
    }
    if interval := task.interval:
        assignment |= {"start": interval.state, "copied": interval.copied, "stop": interval.stop}
    return assignment


class TrialWorker:
    """Trains the trial of an assignment, several epochs per step.

    A whole training starts from the last checkpoint in its folder, or from another trial's
    checkpoint if that has more epochs. The worker reports the epochs before the checkpoint too, and
    saves checkpoints. A population's interval starts from the state in the assignment, and its
    last report contains the final state. The worker reports after each number of epochs in `rungs`,
    so that the search can prune the trial.

    An exception ends the trial but not the worker, unless it may leave a GPU in a bad state.

    Args:
        ends_process: True to end the process if a trial completes no epoch for `stall_minutes`. A
            hang may be in native code, which no Python exception can interrupt.
        on_exception: Called with a trial's exception, inside its `except` block.
    """

    def __init__(
        self, ends_process: bool = True, on_exception: Callable[[Exception], None] | None = None
    ):
        self.ends_process, self.on_exception = ends_process, on_exception
        self.trainer: Trainer | None = None
        self.checkpoints: TrialCheckpoints | None = None

    def assign(self, assignment: dict[str, Any]) -> None:
        """Set the trial to train.

        Args:
            assignment: The return value of `build_assignment`.
        """
        self.task = assignment["task"]
        self.config = assignment["trial"]
        self.fingerprint: str | None = assignment.get("data")
        self.folder = parse_storage_path(assignment["folder"])
        self.plugins = assignment.get("plugins", {})
        self.rungs = frozenset(assignment.get("rungs", ()))
        self.start: bytes | None = assignment.get("start")
        self.copied: bool = assignment.get("copied", False)
        self.stop_epoch: int | None = assignment.get("stop")
        candidates = assignment.get("warm_start_candidates", [])
        to_save = assignment.get("checkpoints_to_save", {})
        self.warm_start_candidates = [
            (epoch, parse_storage_path(path)) for epoch, path in candidates
        ]
        self.checkpoints_to_save = {
            int(epoch): parse_storage_path(path) for epoch, path in to_save.items()
        }
        self.trainer = None
        self.checkpoints = None
        self.rows: list[EpochMetrics] = []

    def step(self) -> dict[str, Any]:
        """Train some epochs and return a report.

        Returns:
            The report: `task`, `done`, and `rows` (metrics of the new epochs). At the end also
            `status`, `final` metrics, `reason` and `platform`; at the end of an interval `state`;
            after an exception `error`, `traceback` and `epoch`. Notes and saved checkpoints are
            those of `TrialCheckpoints.take_report`.

        Raises:
            TrialFailure: If a GPU may be left in a bad state.
        """
        try:
            with self._watch_for_stall():
                return {"task": self.task, **self._train()}
        except Exception as error:  # noqa: BLE001
            if self.on_exception:
                self.on_exception(error)
            return {"task": self.task, **self._report_exception(error)}

    def checkpoint_now(self) -> None:
        """Save a checkpoint, before the training is stopped."""
        if self.trainer and self.checkpoints and not self.trainer.done:
            self.checkpoints.save(self.trainer, self.rows)

    def _report_exception(self, error: Exception) -> dict[str, Any]:
        import torch

        from ibml.config.plugins.failures import describe_failure

        reason = describe_failure(error)
        if torch.cuda.is_initialized():
            raise TrialFailure(reason) from error
        epoch = self.trainer.epoch if self.trainer else -1
        self.trainer = None
        is_transient = isinstance(error, MemoryError | torch.OutOfMemoryError)
        return {
            "done": True,
            "error": reason,
            "traceback": traceback.format_exc(),
            "epoch": None if is_transient else epoch,
        }

    def _train(self) -> dict[str, Any]:
        rows: list[EpochMetrics] = []
        if self.trainer is None:
            self.trainer, self.rows = self._start_training()
            if self.rows:
                return self._report(list(self.rows))  # the driver decides if it continues
        trainer, deadline = self.trainer, time.monotonic() + REPORT_SECONDS
        while not (trainer.done or trainer.epoch == self.stop_epoch):
            rows.append(trainer.run_epoch())
            self.rows.append(rows[-1])
            if self.checkpoints:
                self.checkpoints.save_if_due(trainer, self.rows)
            must_report = trainer.epoch in self.rungs or trainer.epoch in self.checkpoints_to_save
            if must_report or time.monotonic() > deadline:
                break
        if trainer.done:
            return self._report(rows) | self._report_end(trainer)
        if trainer.epoch == self.stop_epoch:
            from ibml.training.serialization import pack_state

            return self._report(rows) | {"done": True, "state": pack_state(trainer)}
        return self._report(rows)

    def _report(self, rows: list[EpochMetrics]) -> dict[str, Any]:
        saved = self.checkpoints.take_report() if self.checkpoints else {}
        return {"rows": rows, "done": False, **saved}

    def _report_end(self, trainer: Trainer) -> dict[str, Any]:
        result = trainer.build_result(self.rows)
        if self.checkpoints:
            self.checkpoints.save_selected(trainer, result.metrics)
        return {
            "done": True,
            "status": result.status,
            "platform": result.platform,
            "reason": result.reason,
            "final": result.metrics,
        }

    def _start_training(self) -> tuple[Trainer, list[EpochMetrics]]:
        """Return the restored or new trainer, and the metrics of its epochs."""
        from ibml import data
        from ibml.common.errors import IbmlError
        from ibml.config.plugins.plugin_config import allow_received_plugins
        from ibml.config.trial import TrialConfig
        from ibml.training.checkpoint import TrialCheckpoints
        from ibml.training.trainer import Trainer

        allow_received_plugins(self.plugins)
        config = TrialConfig.model_validate(self.config)
        if self.fingerprint is not None and data.fingerprint(config.data) != self.fingerprint:
            raise IbmlError(
                f"the data set {config.data.type} of a worker"
                " is not the one that the study was started with"
            )
        if self.stop_epoch is None:
            self.checkpoints = TrialCheckpoints(
                self.folder, config.trainer, self.warm_start_candidates, self.checkpoints_to_save
            )
            return self.checkpoints.restore(lambda: Trainer(config))
        trainer = Trainer(config)
        if self.start is not None:
            from ibml.training.serialization import unpack_state

            unpack_state(self.start, trainer, self.copied)
            self.start = None
        return trainer, []

    @contextmanager
    def _watch_for_stall(self) -> Iterator[None]:
        """End the process if the step takes longer than `stall_minutes`."""
        seconds = 60 * self.config["trainer"]["stall_minutes"]
        path = self.folder / STALLED
        if not (self.ends_process and isinstance(path, Path)):
            yield
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("w", encoding="utf-8")
        except OSError:
            yield  # without the file, the driver ends a silent worker
            return
        with file:
            faulthandler.dump_traceback_later(seconds, exit=True, file=file)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()
                path.unlink(missing_ok=True)
