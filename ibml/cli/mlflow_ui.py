"""MLflow's web interface for a store: its server as a child process that ends with this one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

from ibml.common.errors import IbmlError

START_SECONDS = 120.0
"""Time limit for the server to respond."""
_LOOK_SECONDS = 0.2
_STANDARD_ERROR = 2
"""Descriptor for the server's messages, so that standard output has only the address."""


def serve(uri: str, host: str, port: int, on_ready: Callable[[], None]) -> None:
    """Run MLflow's server until it ends or this process is interrupted.

    The server and all its workers end with this process, even if it is killed.

    Args:
        uri: URI of the store.
        host: Address to listen on.
        port: Port to listen on.
        on_ready: Called once, when the server responds.

    Raises:
        IbmlError: If the server does not start or ends unexpectedly.
        KeyboardInterrupt: On SIGINT or SIGTERM, after the server has ended.
    """
    from ibml.common.processes.guarded_processes import guard_processes

    _check_free(host, port)
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "ui",
        "--workers",
        "1",
        "--host",
        host,
        "--port",
        str(port),
    ]
    with guard_processes() as mark:
        # Other users can see the command line, but not the environment.
        environment = {**os.environ, **mark, "MLFLOW_BACKEND_STORE_URI": uri}
        server = subprocess.Popen(
            command, env=environment, start_new_session=True, stdout=_STANDARD_ERROR
        )
        _wait_until_ready(server, host, port)
        on_ready()
        code = server.wait()
    raise IbmlError(f"MLflow's server ended with exit code {code}.")


def _check_free(host: str, port: int) -> None:
    """Raise `IbmlError` if the port is taken: another program would be mistaken for the server."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as tried:
        tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            tried.bind((host, port))
        except OSError as error:
            raise IbmlError(
                f"MLflow cannot listen on {host}:{port}: {error.strerror}. Choose another port with"
                " --port."
            ) from None


def _wait_until_ready(server: subprocess.Popen[bytes], host: str, port: int) -> None:
    """Wait until the server responds, or raise `IbmlError` at `START_SECONDS`."""
    url_host = f"[{host}]" if ":" in host else host
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, url_host)
    direct = build_opener(ProxyHandler({}))
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise IbmlError(
                f"MLflow's server did not start (exit code {server.returncode}); its messages are"
                " above."
            )
        try:
            direct.open(f"http://{reachable}:{port}/health", timeout=2).close()
        except (URLError, OSError):
            time.sleep(_LOOK_SECONDS)
        else:
            return
    raise IbmlError(
        f"MLflow's server did not respond on {host}:{port} within {START_SECONDS:.0f} s."
    )
