"""Local backend: trains the coordinator's tasks in this process, or in a pool of processes."""

from __future__ import annotations

import pdb
import time
import traceback
from functools import partial
from typing import NoReturn

from ibml.common.processes.interruption import raise_if_stop_requested
from ibml.config.plugins.failures import describe_failure
from ibml.config.resources import ResourcesConfig
from ibml.study.engine.coordinator import Coordinator
from ibml.study.engine.retry import Fault, TrialFailure
from ibml.study.engine.tasks import TrialTask
from ibml.study.engine.worker import TrialWorker, build_assignment
from ibml.study.local.pool import WorkerPool

_POLL_SECONDS = 0.2
"""Interval of requests for a task while the coordinator waits for other drivers."""


def run_locally(resources: ResourcesConfig, coordinator: Coordinator, debug: bool = False) -> None:
    """Train all tasks of the coordinator.

    Results are bit-identical to those on Ray, since both backends use the same workers.

    Args:
        resources: Resources of one trial, and the number of workers; 1 trains in this process.
        coordinator: Coordinator of the run.
        debug: True to open the debugger at an exception of a trial, and to stop the run afterwards.
    """
    raise_if_stop_requested()
    if resources.workers > 1:
        with WorkerPool(resources, coordinator) as pool:
            pool.run()
        return
    _run_in_process(resources, coordinator, debug)


def _run_in_process(resources: ResourcesConfig, coordinator: Coordinator, debug: bool) -> None:
    on_exception = partial(_open_debugger, coordinator) if debug else None
    worker = TrialWorker(ends_process=False, on_exception=on_exception)
    number = 0
    while not coordinator.is_done:
        task = coordinator.request_task(slots=1)
        if task is None:
            if not coordinator.is_done:
                time.sleep(_POLL_SECONDS)
            continue
        coordinator.start(task)
        worker.assign(
            build_assignment(task, number, coordinator.get_checkpoint_folder(task), resources.gpus)
        )
        number += 1
        if not _train(worker, task, coordinator):
            return


def _train(worker: TrialWorker, task: TrialTask, coordinator: Coordinator) -> bool:
    """Train a task to its end; return True if the run continues."""
    continues = True
    while continues:
        if coordinator.is_stopped:
            worker.checkpoint_now()
            return False
        try:
            report = worker.step()
        except _DebuggerClosed as closed:
            error = closed.error
            fault = Fault(describe_failure(error), "".join(traceback.format_exception(error)))
            coordinator.handle_fault(task, fault, retry=False)
            return False
        except TrialFailure as failure:
            coordinator.handle_worker_death(task, str(failure), traceback.format_exc())
            return True
        continues = coordinator.report(task, report)
    return True


class _DebuggerClosed(Exception):
    """The user has closed the debugger of a trial's exception."""

    def __init__(self, error: Exception):
        super().__init__(repr(error))
        self.error = error


def _open_debugger(coordinator: Coordinator, error: Exception) -> NoReturn:
    """Open the debugger at a trial's exception; raise `_DebuggerClosed` afterwards."""
    with coordinator.progress.pause():
        traceback.print_exception(error)
        pdb.post_mortem(error.__traceback__)
    raise _DebuggerClosed(error)
