"""Worker process of the pool: run as a module, with its socket as an inherited descriptor."""

from __future__ import annotations

import os
import signal
import traceback
from multiprocessing.connection import Connection
from typing import Any

CONTINUE = "continue"
"""Answer to a report: continue training."""
CHECKPOINT = "checkpoint"
"""Answer to a report: save a checkpoint, and end."""
SOCKET_VARIABLE = "IBML_WORKER_SOCKET"
"""Environment variable with the file descriptor of the socket."""


def serve(connection: Connection) -> None:
    """Train assignments until the pool closes the socket.

    Args:
        connection: Socket for assignments and answers in one direction, and reports in the other.
    """
    from ibml.study.engine.retry import TrialFailure
    from ibml.study.engine.worker import TrialWorker

    worker = TrialWorker()
    while True:
        message: Any = connection.recv()
        if message == CHECKPOINT:
            worker.checkpoint_now()
            connection.send({"done": True, "checkpointed": True})
            return
        if message != CONTINUE:
            worker.assign(message)
        try:
            connection.send(worker.step())
        except TrialFailure as failure:
            connection.send(
                {"done": True, "failure": str(failure), "traceback": traceback.format_exc()}
            )
            return


def main() -> None:
    """Serve the socket that is given in the environment."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)  # the pool decides when its workers end
    connection = Connection(int(os.environ.pop(SOCKET_VARIABLE)))
    try:
        serve(connection)
    except (EOFError, OSError):
        return  # the pool has ended


if __name__ == "__main__":
    main()
