"""What runs on a Ray worker: trials, one after another, in an actor that is reused."""

from __future__ import annotations

import time
import traceback
from typing import TYPE_CHECKING, Any

from ray import tune

if TYPE_CHECKING:
    from ibml.training.trainer import Row, Trainer

REPORT_SECONDS = 0.5
"""Epochs shorter than this are reported together, since a report costs the driver milliseconds."""


class TrialActor(tune.Trainable):  # type: ignore[misc]
    """Trains the trial `config["trial"]`, some epochs a step; after each number of epochs in `config["pauses"]` it
    reports, to hear whether it goes on. With `config["stop"]` it ends there early, with its state in the report; with
    `config["start"]` it goes on from such a state, which may be `copied` from another trial.

    An exception ends the trial, not the actor, except where a GPU may be left in a bad state.
    """

    def setup(self, config: dict[str, Any]) -> None:
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.task = new_config["task"]
        self.plain = new_config["trial"]
        self.plugins = new_config.get("plugins", {})
        self.pauses = frozenset(new_config["pauses"])
        self.start: bytes | None = new_config.get("start")
        self.copied: bool = new_config.get("copied", False)
        self.until: int | None = new_config.get("stop")
        self.trainer: Trainer | None = None
        return True

    def step(self) -> dict[str, Any]:
        try:
            return {"task": self.task, **self._train()}
        except Exception as error:
            import torch

            self.trainer = None
            if torch.cuda.is_initialized():
                raise
            return {"task": self.task, "done": True, "error": repr(error), "traceback": traceback.format_exc()}

    def _train(self) -> dict[str, Any]:
        from ibml.training.device import platform
        from ibml.training.trainer import divergence

        if self.trainer is None:
            self.trainer = self._begin()
        trainer, deadline = self.trainer, time.monotonic() + REPORT_SECONDS
        rows: list[Row] = []
        while not (trainer.done or trainer.epoch == self.until):
            rows.append(trainer.run_epoch())
            if trainer.epoch in self.pauses or time.monotonic() > deadline:
                break
        report: dict[str, Any] = {"rows": rows, "done": trainer.done}
        if trainer.done:
            report["status"] = "diverged" if trainer.diverged else "finished"
            report["platform"] = platform(trainer.device)
            report["reason"] = divergence(rows[-1]) if trainer.diverged else ""
            report["final"] = {} if trainer.diverged else trainer.finish()
        elif trainer.epoch == self.until:
            from ibml.training.state import packed

            report |= {"done": True, "state": packed(trainer)}
        return report

    def _begin(self) -> Trainer:
        from ibml.config.plugins import receive
        from ibml.config.trial import TrialConfig
        from ibml.training.trainer import Trainer

        receive(self.plugins)
        trainer = Trainer(TrialConfig.model_validate(self.plain))
        if self.start is not None:
            from ibml.training.state import unpack

            unpack(self.start, trainer, self.copied)
            self.start = None
        return trainer
