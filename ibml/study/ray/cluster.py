"""Ray for the length of a study: a running cluster, or a local one that starts and stops with it."""

from __future__ import annotations

import logging
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from ibml.common.errors import IbmlError
from ibml.common.paths import get_folder_variables, get_home_folder
from ibml.common.processes.guarded_processes import guard_processes
from ibml.common.processes.interruption import install_handlers
from ibml.common.processes.ownership import open_temporary_folder, remove_abandoned_folders
from ibml.common.redaction import redact_url
from ibml.config.resources import ResourcesConfig

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # of Tune's own state, which nothing is restored from
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's own takes locks
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


def resolve_address(address: str | None) -> str | None:
    """The running cluster that is meant: as given, else `RAY_ADDRESS`; none for a local one."""
    return (address or "").strip() or os.environ.get("RAY_ADDRESS", "").strip() or None


@contextmanager
def connect_to_ray(address: str | None, resources: ResourcesConfig) -> Iterator[Path]:
    """Connect to Ray and give a folder for Tune's own files, which is gone afterwards.

    `address` defaults to `RAY_ADDRESS`; without either a local cluster is started. A process that uses Ray already
    keeps its connection. Raises `ClusterError`.
    """
    import ray

    remove_abandoned_folders({tempfile.gettempdir(), "/tmp"})
    address = resolve_address(address)
    with ExitStack() as stack:
        owned = stack.enter_context(open_temporary_folder(_choose_socket_folder()))
        folder = owned.path
        if not ray.is_initialized():
            mark = {} if address else stack.enter_context(guard_processes(owned))
            stack.callback(ray.shutdown)
            try:
                _start(address, folder / "ray", resources, mark)
            except SystemExit:  # Ray's answer to a SIGTERM while it starts
                raise KeyboardInterrupt from None
            install_handlers()  # Ray has replaced that of SIGTERM
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        yield folder / "tune"


@contextmanager
def connect_to_cluster(address: str | None) -> Iterator[None]:
    """Connect to a running cluster: that of the address or of `RAY_ADDRESS`, else that of this host. Raises
    `ClusterError`."""
    chosen = resolve_address(address) or "auto"
    with set_ray_environment(chosen), connect_to_ray(chosen, ResourcesConfig()):
        yield


def _start(
    address: str | None, folder: Path, resources: ResourcesConfig, mark: Mapping[str, str]
) -> None:
    import ray

    _check_address(address)
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    if not address:
        with set_environment({**mark, **get_folder_variables()}), _translate_start_errors():
            ray.init(address="local", include_dashboard=False, _temp_dir=str(folder), **quiet)
        _check_size(resources)
        return
    try:
        ray.init(address=address, **quiet)
    except Exception as error:  # of another version of Ray or Python, among others
        where = "on this host" if address == "auto" else f"at {address}"
        meant = (
            f"; 8265 is usually the port of the dashboard: {_ADDRESS}"
            if address.endswith(":8265")
            else ""
        )
        reason = f"{_get_first_line(error)}{meant}"
        raise ClusterError(
            f"no Ray cluster {where} that this process can join: {reason}"
        ) from error


@contextmanager
def _translate_start_errors() -> Iterator[None]:
    """Raise `ClusterError` for whatever Ray raises while it starts on this machine: plain exceptions, of many lines."""
    try:
        yield
    except Exception as error:
        advice = "If the machine is busy, repeat the command."
        raise ClusterError(
            f"Ray did not start on this machine: {_get_first_line(error)}. {advice}"
        ) from error


def _get_first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()]
    return next(filter(None, lines), type(error).__name__).rstrip(".")


@contextmanager
def set_environment(values: Mapping[str, str]) -> Iterator[None]:
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


def _choose_socket_folder() -> str:
    """Return the folder for temporary files, or /tmp where the paths of Ray's sockets would become too long."""
    place = tempfile.gettempdir()
    return place if len(place) + len("/ibml-1234567-12345678") < _LONGEST_SOCKET_FOLDER else "/tmp"


@contextmanager
def set_ray_environment(address: str | None) -> Iterator[None]:
    """Ray's settings that the user has not set, for as long as Ray runs. Ray reads some when it is imported,
    so this comes before: a local cluster of a process that had imported Ray already listens on all addresses, where
    its token guards it."""
    chosen = resolve_address(address)
    values = {**_QUIET, **(_ONE_TRY if chosen else _LOOPBACK_ONLY), **_get_authentication(chosen)}
    before = set(os.environ)
    os.environ.update({key: value for key, value in values.items() if key not in before})
    try:
        yield
    finally:
        for key in set(os.environ) - before:
            if key.startswith(
                ("RAY_", "TUNE_")
            ):  # Ray's own additions too: it leaves RAY_AUTH_MODE behind
                del os.environ[key]


def _get_authentication(address: str | None) -> dict[str, str]:
    """Ray's token authentication: a token of its own for a local cluster, which Ray would otherwise write to
    the home folder for all to read; for a running one the user's, which Ray itself looks for only where it finds
    the cluster by itself."""
    if not address:
        return {"RAY_AUTH_TOKEN": _LOCAL_TOKEN}
    file = os.environ.get("RAY_AUTH_TOKEN_PATH") or get_home_folder() / ".ray" / "auth_token"
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
            f"{redact_url(str(address))}: {_OTHER_ADDRESSES.get(scheme, 'unknown kind of address')}; {_ADDRESS}"
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
        raise ClusterError(
            f"no Ray cluster at {address}: {error.strerror or error}{meant}"
        ) from None


def _check_size(resources: ResourcesConfig) -> None:
    """A local cluster does not grow: what is not there now would be waited for without end."""
    import ray

    total = ray.cluster_resources()
    for kind, asked in (("CPU", resources.cpu), ("GPU", resources.gpus)):
        if asked > total.get(kind, 0):
            have = f"{total.get(kind, 0):g}"
            raise ClusterError(
                f"resources.{kind.lower()}: a trial asks for {asked:g} {kind}, this machine has {have}"
            )
