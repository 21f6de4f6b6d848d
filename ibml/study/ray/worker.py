"""What runs on a Ray worker: trials, one after another, in an actor that is reused."""

from __future__ import annotations

import faulthandler
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from ray import tune

from ibml.common.storage import location
from ibml.study.engine.retry import TrialFailure
from ibml.training.checkpoint_retention import STALLED

if TYPE_CHECKING:
    from ibml.training.checkpoint import TrialCheckpoints
    from ibml.training.trainer import Row, Trainer

REPORT_SECONDS = 0.5
"""Epochs shorter than this are reported together, since a report costs the driver milliseconds."""


class Parcel:
    """A trial on its way to a worker. Of what Tune is given it makes copies, keeps some as long as it runs and has some
    sent back with every report; of a parcel there is one in a process, and whoever has got what is in it empties it."""

    def __init__(self, content: dict[str, Any]):
        self.content = content

    def empty(self) -> None:
        self.content = {}

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __repr__(self) -> str:
        return "a trial"


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """Trains the trial `config["trial"]`, some epochs a step; after each number of epochs in `config["pauses"]` it
    reports, to hear whether it goes on. With `config["stop"]` it ends there early, with its state in the report; with
    `config["start"]` it goes on from such a state, which may be `copied` from another trial. A whole training goes on
    from the last checkpoint in `config["folder"]`, or from another trial's state among `config["begin"]` where that is
    further, reports the epochs before it, and leaves checkpoints in the folder and states as `config["leave"]` says.

    An exception ends the trial, not the actor, except where a GPU may be left in a bad state. A trial that ends no
    epoch for `stall_minutes` ends the process, since what hangs may be below Python.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        parcel: Parcel = new_config["parcel"]
        self.take(parcel.content)
        parcel.empty()
        return True

    def take(self, config: dict[str, Any]) -> None:
        """Take a trial to train."""
        self.task = config["task"]
        self.plain = config["trial"]
        self.fingerprint: str | None = config.get("data")
        self.folder = location(config["folder"])
        self.plugins = config.get("plugins", {})
        self.pauses = frozenset(config["pauses"])
        self.start: bytes | None = config.get("start")
        self.copied: bool = config.get("copied", False)
        self.until: int | None = config.get("stop")
        self.begin = [(epoch, location(path)) for epoch, path in config.get("begin", [])]
        self.leave = {int(epoch): location(path) for epoch, path in config.get("leave", {}).items()}
        self.trainer: Trainer | None = None
        self.checkpoints: TrialCheckpoints | None = None
        self.rows: list[Row] = []

    def step(self) -> dict[str, Any]:
        try:
            with self._watched():
                return {"task": self.task, **self._train()}
        except Exception as error:
            import torch

            from ibml.config.failures import describe_failure

            reason = describe_failure(error)
            if torch.cuda.is_initialized():
                raise TrialFailure(reason) from error
            epoch = self.trainer.epoch if self.trainer else -1
            self.trainer = None
            passing = isinstance(error, MemoryError | torch.OutOfMemoryError)
            fault = {"error": reason, "traceback": traceback.format_exc(), "epoch": None if passing else epoch}
            return {"task": self.task, "done": True, **fault}

    def checkpoint_now(self) -> None:
        """Write a checkpoint of a training that is about to be stopped."""
        if self.trainer and self.checkpoints and not self.trainer.done:
            self.checkpoints.save(self.trainer, self.rows)

    def _train(self) -> dict[str, Any]:
        rows: list[Row] = []
        if self.trainer is None:
            self.trainer, self.rows = self._begin()
            if self.rows:
                return self._report(list(self.rows))  # the driver says whether it goes on from there
        trainer, deadline = self.trainer, time.monotonic() + REPORT_SECONDS
        while not (trainer.done or trainer.epoch == self.until):
            rows.append(trainer.run_epoch())
            self.rows.append(rows[-1])
            if self.checkpoints:
                self.checkpoints.save_if_due(trainer, self.rows)
            if trainer.epoch in self.pauses or trainer.epoch in self.leave or time.monotonic() > deadline:
                break
        if trainer.done:
            return self._report(rows) | self._ended(trainer)
        if trainer.epoch == self.until:
            from ibml.training.state import packed

            return self._report(rows) | {"done": True, "state": packed(trainer)}
        return self._report(rows)

    def _report(self, rows: list[Row]) -> dict[str, Any]:
        said = self.checkpoints.take_said() if self.checkpoints else {}
        return {"rows": rows, "done": False, **said}

    def _ended(self, trainer: Trainer) -> dict[str, Any]:
        result = trainer.result(self.rows)
        if self.checkpoints:
            self.checkpoints.save_selected(trainer, result.metrics)
        said = {"status": result.status, "platform": result.platform, "reason": result.reason, "final": result.metrics}
        return {"done": True, **said}

    def _begin(self) -> tuple[Trainer, list[Row]]:
        """A trainer as far as the trial has come, and its epochs."""
        from ibml import data
        from ibml.common.errors import IbmlError
        from ibml.config.plugins import receive
        from ibml.config.trial import TrialConfig
        from ibml.training.checkpoint import TrialCheckpoints
        from ibml.training.trainer import Trainer

        receive(self.plugins)
        config = TrialConfig.model_validate(self.plain)
        if self.fingerprint is not None and data.fingerprint(config.data) != self.fingerprint:
            raise IbmlError(
                f"the data set {config.data.type} of a worker is not the one that the study was started with"
            )
        if self.until is None:
            self.checkpoints = TrialCheckpoints(self.folder, config.trainer, self.begin, self.leave)
            return self.checkpoints.restore(lambda: Trainer(config))
        trainer = Trainer(config)
        if self.start is not None:
            from ibml.training.state import unpack

            unpack(self.start, trainer, self.copied)
            self.start = None
        return trainer, []

    @contextmanager
    def _watched(self) -> Iterator[None]:
        """End the process where a step takes too long: one has less than a second and an epoch."""
        minutes = self.plain["trainer"]["stall_minutes"]
        path = self.folder / STALLED
        if not isinstance(path, Path):
            yield
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("w", encoding="utf-8")
        except OSError:
            yield  # the driver ends a worker too that is not heard of for so long
            return
        with file:
            faulthandler.dump_traceback_later(60 * minutes, exit=True, file=file)
            try:
                yield
            finally:
                faulthandler.cancel_dump_traceback_later()
                path.unlink(missing_ok=True)
