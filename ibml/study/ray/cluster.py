"""Connections to Ray: a running cluster, or a local one that starts and stops with a run."""

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
    "TUNE_GLOBAL_CHECKPOINT_S": "1e9",  # ibml does not restore Tune's state
    "TUNE_MAX_PENDING_TRIALS_PG": "16",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # Tune's handler takes locks
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
# Switch of Ray for clusters of Windows and macOS machines. Off, every node binds to 127.0.0.1 only.
_LOOPBACK_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}
# By default Ray tries 20 times, for a minute each, to reach a cluster.
_ONE_TRY = {"RAY_gcs_server_port_wait_time_s": "1"}
_LOCAL_TOKEN = secrets.token_hex(32)
_ADDRESS = "the address of a cluster is HOST:6379, or `auto` on one of its hosts"
_JOBS_ADDRESS = "this is the address for jobs (--submit, --jobs)"
_OTHER_ADDRESSES = {
    "http": _JOBS_ADDRESS,
    "https": _JOBS_ADDRESS,
    "ray": "Ray Client cannot run a study",
}
"""URL scheme -> explanation why such an address is not the address of a cluster."""
_LONGEST_SOCKET_FOLDER = 40
"""Ray's socket paths add about 60 characters to the folder; the limit of a path is 107."""


class ClusterError(IbmlError):
    """The cluster is unreachable, or can never run a trial."""


def resolve_address(address: str | None) -> str | None:
    """Return the address of a running cluster, from `RAY_ADDRESS` if None; None for a local one."""
    return (address or "").strip() or os.environ.get("RAY_ADDRESS", "").strip() or None


@contextmanager
def connect_to_ray(address: str | None, resources: ResourcesConfig) -> Iterator[Path]:
    """Connect to Ray, and provide a temporary folder for Tune's files.

    A process that is already connected to Ray keeps its connection.

    Args:
        address: Address of a running cluster. With None, `RAY_ADDRESS` is used; if that is not set
            either, a local cluster is started.
        resources: Resources of one trial, which a local cluster must have.

    Yields:
        The folder, which is removed afterwards.

    Raises:
        ClusterError: If Ray is not available.
        KeyboardInterrupt: If SIGTERM arrives while Ray starts.
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
            except SystemExit:  # Ray's reaction to SIGTERM while it starts
                raise KeyboardInterrupt from None
            install_handlers()  # Ray has replaced the handler of SIGTERM
        logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
        yield folder / "tune"


@contextmanager
def connect_to_cluster(address: str | None) -> Iterator[None]:
    """Connect to a running cluster.

    Args:
        address: Address of the cluster. With None, `RAY_ADDRESS` is used; if that is not set
            either, the cluster of this host.

    Yields:
        None, while the connection is open.

    Raises:
        ClusterError: If no cluster is running there.
    """
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
    except Exception as error:  # for example another version of Ray or Python
        where = "on this host" if address == "auto" else f"at {address}"
        reason = _get_first_line(error)
        if address.endswith(":8265"):
            reason += f"; 8265 is usually the port of the dashboard: {_ADDRESS}"
        raise ClusterError(
            f"no Ray cluster {where} that this process can join: {reason}"
        ) from error


@contextmanager
def _translate_start_errors() -> Iterator[None]:
    """Convert the exceptions of Ray's start on this machine, which have many lines and types."""
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
    """Set environment variables in this context, for the processes that are started in it.

    Args:
        values: Variables to set.

    Yields:
        None; the former values are restored afterwards.
    """
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
    """Return the folder for temporary files, or /tmp if Ray's socket paths would be too long."""
    folder = tempfile.gettempdir()
    length = len(folder) + len("/ibml-1234567-12345678")
    return folder if length < _LONGEST_SOCKET_FOLDER else "/tmp"


@contextmanager
def set_ray_environment(address: str | None) -> Iterator[None]:
    """Set Ray's environment variables in this context, except those that the user has set.

    Enter this context before Ray is imported, since Ray reads some variables on import. If Ray was
    imported before, a local cluster listens on all addresses; its token then protects it.

    Args:
        address: Address of a running cluster; None for `RAY_ADDRESS` or a local cluster.

    Yields:
        None; variables that were added, also by Ray, are removed afterwards.
    """
    chosen = resolve_address(address)
    connection = _ONE_TRY if chosen else _LOOPBACK_ONLY
    values = {**_QUIET, **connection, **_get_authentication(chosen)}
    before = set(os.environ)
    for key, value in values.items():
        os.environ.setdefault(key, value)
    try:
        yield
    finally:
        for key in set(os.environ) - before:
            if key.startswith(("RAY_", "TUNE_")):  # Ray leaves RAY_AUTH_MODE behind
                del os.environ[key]


def _get_authentication(address: str | None) -> dict[str, str]:
    """Return the variables of Ray's token authentication.

    A local cluster gets a random token; otherwise Ray would write a world-readable token to the
    home folder. For a running cluster the user's token is used, which Ray itself looks up only if
    it finds the cluster without an address.
    """
    if not address:
        return {"RAY_AUTH_TOKEN": _LOCAL_TOKEN}
    file = os.environ.get("RAY_AUTH_TOKEN_PATH") or get_home_folder() / ".ray" / "auth_token"
    # Unlike Path.is_file, os.path.isfile returns False for an unreadable folder.
    is_known = "RAY_AUTH_TOKEN" in os.environ or os.path.isfile(file)  # noqa: PTH113
    return {"RAY_AUTH_MODE": "token"} if is_known else {}


def _check_address(address: str | None) -> None:
    """Check that a server listens at an address, since Ray would try a wrong address for minutes.

    Like Ray, replace a loopback address by this machine's address.
    """
    if address in (None, "auto", "local"):
        return
    scheme, mark, _ = str(address).partition("://")
    if mark:
        problem = _OTHER_ADDRESSES.get(scheme, "unknown kind of address")
        raise ClusterError(f"{redact_url(str(address))}: {problem}; {_ADDRESS}")
    host, _, port = str(address).rpartition(":")
    if not (host and port.isdecimal() and 0 < int(port) < 65536):
        raise ClusterError(f"{address} is not the address of a Ray cluster; {_ADDRESS}")
    host = host.strip("[]")
    if host in ("127.0.0.1", "localhost", "::1"):
        from ray.util import get_node_ip_address

        host = get_node_ip_address()
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except OSError as error:
        problem = f"no Ray cluster at {address}: {error.strerror or error}"
        if host not in str(address):
            problem += f" at {host}, which Ray uses instead"
        raise ClusterError(problem) from None


def _check_size(resources: ResourcesConfig) -> None:
    """Check that a trial fits a local cluster; since it cannot grow, Ray would wait forever."""
    import ray

    total = ray.cluster_resources()
    for kind, requested in (("CPU", resources.cpu), ("GPU", resources.gpus)):
        available = total.get(kind, 0)
        if requested > available:
            raise ClusterError(
                f"resources.{kind.lower()}: a trial asks for {requested:g} {kind},"
                f" this machine has {available:g}"
            )
