"""Ray for the length of a study: a running cluster, or a local one that starts and stops with it."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType

import psutil

from ibml.config.base import IbmlError
from ibml.config.places import absolute_places, home_folder
from ibml.config.resources import ResourcesConfig
from ibml.config.urls import shown_url
from ibml.study import guardian

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # of Tune's own state, which nothing is restored from
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# Ray's switch for its clusters of Windows and macOS machines; off, a node of any system keeps to 127.0.0.1.
_LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# Ray tries 20 times, a minute each, to reach a cluster.
_ONE_TRY = {"RAY_gcs_server_port_wait_time_s": "1"}
_LOCAL_TOKEN = secrets.token_hex(32)
_ADDRESS = "the address of a cluster is HOST:6379, or `auto` on one of its hosts"
_JOBS_ADDRESS = "this is the address for jobs (--submit, --jobs)"
_OTHER_ADDRESSES = {
    "http": _JOBS_ADDRESS,
    "https": _JOBS_ADDRESS,
    "ray": "Ray Client cannot run a study",
}
"""By scheme, what an address is that is not the cluster's."""
_LONGEST_SOCKET_FOLDER = 40
"""Ray puts sockets about 60 characters below its folder, and their paths end at 107."""


class ClusterError(IbmlError):
    """The cluster cannot be reached, or can never run a trial."""


def named(address: str | None) -> str | None:
    """The running cluster that is meant: as given, else `RAY_ADDRESS`; none for a local one."""
    return (address or "").strip() or os.environ.get("RAY_ADDRESS", "").strip() or None


@contextmanager
def connected(address: str | None, resources: ResourcesConfig) -> Iterator[Path]:
    """Connect to Ray and give a folder for Tune's own files, which is gone afterwards.

    `address` defaults to `RAY_ADDRESS`; without either a local cluster is started. A process that uses Ray already
    keeps its connection. Raises `ClusterError`.
    """
    import ray

    _sweep()
    folder = _own_folder()
    address = named(address)
    with ExitStack() as stack:
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        stack.enter_context(_sigterm_as_interrupt())  # Ray's own handler must not outlive it
        if not ray.is_initialized():
            mark = {} if address else stack.enter_context(_guarded(folder))
            stack.callback(ray.shutdown)
            try:
                _start(address, folder / "ray", resources, mark)
            except SystemExit:  # Ray's answer to a SIGTERM while it starts
                raise KeyboardInterrupt from None
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        stack.enter_context(_sigterm_as_interrupt())
        yield folder / "tune"


@contextmanager
def running_cluster(address: str | None) -> Iterator[None]:
    """Connect to a running cluster: that of the address or of `RAY_ADDRESS`, else that of this host. Raises
    `ClusterError`."""
    chosen = named(address) or "auto"
    with ray_environment(chosen), connected(chosen, ResourcesConfig()):
        yield


def _start(address: str | None, folder: Path, resources: ResourcesConfig, mark: Mapping[str, str]) -> None:
    import ray

    _check_address(address)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        with inherited({**mark, **absolute_places()}):
            ray.init(address="local", include_dashboard=False, _temp_dir=str(folder), **quiet)
        _check_size(resources)
        return
    try:
        ray.init(address=address, **quiet)
    except (ConnectionError, TimeoutError) as error:
        where = "on this host" if address == "auto" else f"at {address}"
        meant = f"; 8265 is usually the port of the dashboard: {_ADDRESS}" if address.endswith(":8265") else ""
        raise ClusterError(f"no Ray cluster {where}: {error}{meant}") from error


@contextmanager
def _guarded(folder: Path) -> Iterator[dict[str, str]]:
    """A guardian for the cluster that starts now, and the environment by which it knows the cluster's processes.

    It has a session of its own, so that what ends this process's group or terminal leaves it. This process has the
    only other end of the pipe, since Python's files are closed in what a process starts.
    """
    mark = secrets.token_hex(8)
    command = [sys.executable, "-I", "-S", guardian.__file__, mark, str(folder), str(Path(psutil.__file__).parents[1])]
    nowhere = subprocess.DEVNULL
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, start_new_session=True)
    try:
        # Ray's agents write their titles over their environment unless setproctitle is told not to.
        yield {guardian.MARKER: mark, "SPT_NOENV": "1"}
    finally:
        with suppress(subprocess.TimeoutExpired):
            process.communicate(b"\n", timeout=guardian.GIVE_UP_SECONDS)


@contextmanager
def inherited(values: Mapping[str, str]) -> Iterator[None]:
    """The environment with these values, for what starts meanwhile and not for what this process starts later."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _own_folder() -> Path:
    """A temporary folder whose path leaves room for Ray's sockets; its name carries our process id."""
    place = tempfile.gettempdir()
    short = len(place) + len("/ibml-1234567-12345678") < _LONGEST_SOCKET_FOLDER
    return Path(tempfile.mkdtemp(prefix=f"ibml-{os.getpid()}-", dir=place if short else "/tmp"))


def _sweep() -> None:
    """Remove what drivers that were killed have left."""
    for place in {tempfile.gettempdir(), "/tmp"}:
        for folder in Path(place).glob("ibml-*-*"):
            owner = folder.name.split("-")[1]
            if owner.isdigit() and not psutil.pid_exists(int(owner)):
                shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def ray_environment(address: str | None) -> Iterator[None]:
    """Ray's settings that the user has not set, for as long as Ray runs. Ray reads some when it is imported,
    so this comes before: a local cluster of a process that had imported Ray already listens on all addresses, where
    its token guards it."""
    chosen = named(address)
    values = {**_QUIET, **(_ONE_TRY if chosen else _LOOPBACK_ONLY), **_authentication(chosen)}
    before = set(os.environ)
    os.environ.update({key: value for key, value in values.items() if key not in before})
    try:
        yield
    finally:
        for key in set(os.environ) - before:
            if key.startswith(("RAY_", "TUNE_")):  # Ray's own additions too: it leaves RAY_AUTH_MODE behind
                del os.environ[key]


def _authentication(address: str | None) -> dict[str, str]:
    """Ray's token authentication: a token of its own for a local cluster, which Ray would otherwise write to
    the home folder for all to read; for a running one the user's, which Ray itself looks for only where it finds
    the cluster by itself."""
    if not address:
        return {"RAY_AUTH_TOKEN": _LOCAL_TOKEN}
    file = os.environ.get("RAY_AUTH_TOKEN_PATH") or home_folder() / ".ray" / "auth_token"
    known = "RAY_AUTH_TOKEN" in os.environ or os.path.isfile(file)  # noqa: PTH113 -- no error where it cannot be read
    return {"RAY_AUTH_MODE": "token"} if known else {}


def _check_address(address: str | None) -> None:
    """Ray tries a wrong address for minutes; whether anything listens there is known at once. For a loopback address
    Ray takes this machine's own."""
    if address in (None, "auto", "local"):
        return
    scheme, mark, _ = str(address).partition("://")
    if mark:
        raise ClusterError(
            f"{shown_url(str(address))}: {_OTHER_ADDRESSES.get(scheme, 'unknown kind of address')}; {_ADDRESS}"
        )
    host, _, port = str(address).rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise ClusterError(f"{address} is no address of a Ray cluster; {_ADDRESS}")
    host = host.strip("[]")
    if host in ("127.0.0.1", "localhost", "::1"):
        from ray.util import get_node_ip_address

        host = get_node_ip_address()
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        meant = "" if host in str(address) else f" at {host}, which Ray takes for it"
        raise ClusterError(f"no Ray cluster at {address}: {error.strerror or error}{meant}") from None


def _check_size(resources: ResourcesConfig) -> None:
    """A local cluster does not grow: what is not there now would be waited for without end."""
    import ray

    total = ray.cluster_resources()
    for kind, asked in (("CPU", resources.cpu), ("GPU", resources.gpus)):
        if asked > total.get(kind, 0):
            have = f"{total.get(kind, 0):g}"
            raise ClusterError(f"resources.{kind.lower()}: a trial asks for {asked:g} {kind}, this machine has {have}")


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """A scheduler's SIGTERM stops a study as Ctrl-C does: finished trials are kept, the others marked."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        handler = signal.getsignal(signal.SIGINT)
        if not callable(handler):  # it is ignored, as in a shell's background
            raise KeyboardInterrupt
        handler(signal.SIGINT, frame)  # sent as a signal it would not arrive in a job, for which Ray blocks it

    try:
        before = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread, which alone may set handlers
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
