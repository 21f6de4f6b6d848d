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
    """Trains the trial that `config["index"]` names among `configs`, some epochs a step.

    An exception ends the trial, not the actor, except where a GPU may be left in a bad state.
    """

    def setup(self, config: dict[str, Any], configs: list[dict[str, Any]]) -> None:
        self.configs = configs
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self.index = int(new_config["index"])
        self.trainer: Trainer | None = None
        return True

    def step(self) -> dict[str, Any]:
        try:
            return {"index": self.index, **self._train()}
        except Exception as error:
            import torch

            self.trainer = None
            if torch.cuda.is_initialized():
                raise
            return {"index": self.index, "done": True, "error": repr(error), "traceback": traceback.format_exc()}

    def _train(self) -> dict[str, Any]:
        from ibml.config.trial import TrialConfig
        from ibml.training.device import platform
        from ibml.training.trainer import Trainer, divergence

        if self.trainer is None:
            self.trainer = Trainer(TrialConfig.model_validate(self.configs[self.index]))
        trainer, deadline = self.trainer, time.monotonic() + REPORT_SECONDS
        rows: list[Row] = []
        while not trainer.done and (not rows or time.monotonic() < deadline):
            rows.append(trainer.run_epoch())
        report: dict[str, Any] = {"rows": rows, "done": trainer.done}
        if trainer.done:
            report["status"] = "diverged" if trainer.diverged else "finished"
            report["platform"] = platform(trainer.device)
            report["reason"] = divergence(rows[-1]) if trainer.diverged else ""
            report["final"] = {} if trainer.diverged else trainer.finish()
        return report
