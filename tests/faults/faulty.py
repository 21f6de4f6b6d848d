"""A method to which things happen: the module that the studies of these tests name as a plug-in."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Literal

from ibml.config.base import Config
from ibml.methods import Batch, Method, StepLog

EPOCH = 20


class Faulty(Method):
    """Joint training with one fault at the beginning of an epoch; a file records it."""

    class Options(Config):
        fault: Literal["none", "raise", "memory", "kill", "stall", "stop", "nan", "always"]
        file: str

    def start_epoch(self, epoch: int) -> None:
        self.fault = ""
        marker = Path(f"{self.options.file}.{self.options.fault}.{self.seed}")
        if epoch != EPOCH:
            return
        if self.options.fault in ("nan", "always") or not marker.exists():
            marker.touch()
            self.fault = self.options.fault
        match self.fault:
            case "raise" | "always":
                raise RuntimeError("something went wrong")
            case "memory":
                raise MemoryError
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)
            case "stop":
                os.kill(os.getpid(), signal.SIGSTOP)
            case "stall":
                time.sleep(1000)

    def step(self, batch: Batch, epoch: int) -> StepLog:
        log = super().step(batch, epoch)
        return log if self.fault != "nan" else replace(log, loss=log.loss * float("nan"))
