"""Pool of worker processes without Ray.

Every worker process has a socket to this process. It trains its assignment step by step. After each
step it sends a report, and waits for the answer: continue, or train the next assignment. A worker
that dies is replaced.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Self

from ibml.common.processes.guarded_processes import guard_processes
from ibml.config.resources import ResourcesConfig
from ibml.study.engine.coordinator import Coordinator
from ibml.study.engine.tasks import TrialTask
from ibml.study.engine.worker import build_assignment
from ibml.study.local.worker_process import CHECKPOINT, CONTINUE, SOCKET_VARIABLE

_POLL_SECONDS = 0.2
_CHECKPOINT_SECONDS = 10.0
"""Time limit for running trials to save checkpoints when the run is stopped."""
_END_SECONDS = 5.0
"""Time limit for a worker process to end after its socket is closed."""
_CLOSED = "its worker process ended without a report: killed, or out of memory"


@dataclass(eq=False)
class _Worker:
    """A worker process, its socket, and the task that it trains."""

    process: subprocess.Popen[bytes]
    connection: Connection
    task: TrialTask | None = None

    def send(self, message: object) -> None:
        """Send a message. A dead worker is ignored here, and detected by `receive`."""
        with suppress(OSError):
            self.connection.send(message)

    def receive(self) -> dict[str, Any] | None:
        """Return the next report, or None if the process has ended."""
        try:
            report: dict[str, Any] = self.connection.recv()
        except (EOFError, OSError):
            return None
        return report

    def end(self) -> None:
        """Close the socket and end the process, forcibly if it does not end by itself."""
        self.connection.close()
        try:
            self.process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class WorkerPool:
    """Trains a coordinator's tasks in worker processes.

    Args:
        resources: Resources of one trial, and the number of workers.
        coordinator: Coordinator of the run.
    """

    def __init__(self, resources: ResourcesConfig, coordinator: Coordinator):
        self.resources, self.coordinator = resources, coordinator
        self._workers: list[_Worker] = []
        self._number = 0
        self._stack = ExitStack()
        self._guard_variables: Mapping[str, str] = {}

    def __enter__(self) -> Self:
        self._guard_variables = self._stack.enter_context(guard_processes())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            for worker in self._workers:
                worker.end()
        finally:
            self._stack.close()

    def run(self) -> None:
        """Train until the coordinator is done or stopped."""
        while not self.coordinator.is_done:
            self._assign_tasks()
            self._end_silent_workers()
            busy = {worker.connection: worker for worker in self._workers if worker.task}
            if not busy:
                time.sleep(_POLL_SECONDS)
                continue
            for connection in wait(list(busy), _POLL_SECONDS):
                self._take_report(busy[connection])  # type: ignore[index]
        if self.coordinator.is_stopped:
            self._checkpoint_running()

    def _assign_tasks(self) -> None:
        """Assign tasks to idle workers, and start workers up to the limit."""
        while sum(worker.task is not None for worker in self._workers) < self.resources.workers:
            task = self.coordinator.request_task(self.resources.workers)
            if task is None:
                return
            idle = [worker for worker in self._workers if worker.task is None]
            worker = idle[0] if idle else self._start_worker()
            worker.task = task
            folder = self.coordinator.get_checkpoint_folder(task)
            worker.send(build_assignment(task, self._number, folder, self.resources.gpus))
            self._number += 1
            self.coordinator.start(task)

    def _start_worker(self) -> _Worker:
        ours, theirs = socket.socketpair()
        environment = {**os.environ, **self._guard_variables, SOCKET_VARIABLE: str(theirs.fileno())}
        process = subprocess.Popen(
            [sys.executable, "-m", "ibml.study.local.worker_process"],
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # only this process handles Ctrl-C of the terminal
            pass_fds=[theirs.fileno()],
        )
        theirs.close()
        worker = _Worker(process, Connection(ours.detach()))
        self._workers.append(worker)
        return worker

    def _take_report(self, worker: _Worker) -> None:
        task = worker.task
        assert task is not None
        report = worker.receive()
        if report is None:
            self._remove(worker)
            self.coordinator.handle_worker_death(task, _CLOSED, _CLOSED)
        else:
            self._process_report(worker, report)

    def _process_report(self, worker: _Worker, report: dict[str, Any]) -> None:
        task = worker.task
        assert task is not None
        if "failure" in report:
            self._remove(worker)
            self.coordinator.handle_worker_death(task, report["failure"], report["traceback"])
        elif self.coordinator.report(task, report):
            worker.send(CONTINUE)
        else:
            worker.task = None

    def _remove(self, worker: _Worker) -> None:
        self._workers.remove(worker)
        worker.end()

    def _end_silent_workers(self) -> None:
        """Kill workers that hang. They end themselves, unless their process is stopped."""
        for worker in self._workers:
            if worker.task and self.coordinator.is_silent(worker.task):
                worker.process.kill()

    def _checkpoint_running(self) -> None:
        """Let running trials save checkpoints, within a time limit."""
        deadline = time.monotonic() + _CHECKPOINT_SECONDS
        running = {worker.connection: worker for worker in self._workers if worker.task}
        while running and (seconds := deadline - time.monotonic()) > 0:
            for connection in wait(list(running), seconds):
                worker = running[connection]  # type: ignore[index]
                report = worker.receive()
                if report is not None and not report["done"]:
                    worker.send(CHECKPOINT)  # the worker answers after saving the checkpoint
                    continue
                del running[worker.connection]
                has_ended = report is not None and not report.get("checkpointed")
                if report is not None and has_ended:
                    self._process_report(worker, report)
