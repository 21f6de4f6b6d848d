"""Ray for the length of a study: a running cluster, or a local one that starts and stops with it."""

from __future__ import annotations

import logging
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from ibml.config.study import ResourcesConfig

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
_LONGEST_SOCKET_FOLDER = 40
"""Ray puts sockets about 60 characters below its folder, and their paths end at 107."""


class ClusterError(RuntimeError):
    """The cluster cannot be reached, or can never run a trial."""


@contextmanager
def connected(address: str | None, resources: ResourcesConfig) -> Iterator[Path]:
    """Connect to Ray and give a folder for Tune's own files, which is gone afterwards.

    `address` defaults to `RAY_ADDRESS`; without either a local cluster is started. Raises `ClusterError`.
    """
    os.environ.update({key: value for key, value in _QUIET.items() if key not in os.environ})
    import ray

    _sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"ibml-{os.getpid()}-"))
    address = address or os.environ.get("RAY_ADDRESS")
    try:
        if address:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        else:
            place = str(folder / "ray") if len(str(folder)) < _LONGEST_SOCKET_FOLDER else None
            ray.init(
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _temp_dir=place,
            )
            _check_size(resources)
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        with _sigterm_as_interrupt():
            yield folder / "tune"
    except (ConnectionError, TimeoutError) as error:
        raise ClusterError(f"no Ray cluster at {address}: {error}") from error
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _sweep() -> None:
    """Remove what drivers that were killed have left: their folders carry their process ids."""
    for folder in Path(tempfile.gettempdir()).glob("ibml-*-*"):
        owner = folder.name.split("-")[1]
        if owner.isdigit() and not _alive(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _check_size(resources: ResourcesConfig) -> None:
    """A local cluster does not grow: what is not there now would be waited for without end."""
    import ray

    total = ray.cluster_resources()
    for kind, asked in (("CPU", resources.cpu), ("GPU", resources.gpu)):
        if asked > total.get(kind, 0):
            have = f"{total.get(kind, 0):g}"
            raise ClusterError(f"resources.{kind.lower()}: a trial asks for {asked:g} {kind}, this machine has {have}")


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """A scheduler's SIGTERM stops a study as Ctrl-C does: finished trials are kept, the others marked."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread, which alone may set handlers
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
