"""Heartbeats of drivers: each driver renews a tag of the experiment while it works on the store.

A driver on this machine is alive if its process is. A driver on another machine is alive while its
tag keeps changing. Changes are timed by this machine's clock alone, so clocks need not agree.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from hashlib import sha256
from types import TracebackType
from typing import Self

from ibml.common.processes.interruption import raise_if_stop_requested
from ibml.common.processes.ownership import get_machine_id
from ibml.tracking.store.experiment import Experiment
from ibml.tracking.store.uri import TrackingError, translate_errors

BEAT_SECONDS = 10.0
"""Interval between renewals of the heartbeat."""
LEASE_SECONDS = 60.0
"""Age of an unchanged heartbeat at which a driver on another machine counts as dead."""
_DRIVER = "ibml.driver."
_LOCK = "ibml.lock."
_LAST = "ibml.last_driver"
"""Tag with the id of the driver that registered last. A changed tag reveals a new driver."""
_ATTEMPTS = 5
_UNREGISTER_SECONDS = 5.0
"""Time limit for removing this driver's tags at its end."""
_WAIT_SECONDS = (1.0, 3.0)


@dataclass(frozen=True)
class DriverInfo:
    """Identity of a driver, as its heartbeat tag stores it in JSON.

    Attributes:
        host: Host name, for messages.
        machine: Identity of the machine, container and boot.
        pid: Process id on that machine.
        started: Start time of the process in seconds, since process ids are reused.
        beat: Number of renewals so far.
    """

    host: str
    machine: str
    pid: int
    started: float
    beat: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Heartbeat:
    """This driver's heartbeat, and the heartbeats of its peers.

    Inside the context, a thread renews the heartbeat every `BEAT_SECONDS`.

    Args:
        store: Experiment whose tags hold the heartbeats.

    Attributes:
        id: Random id of this driver, 12 hexadecimal digits.
        has_peers: False only if no other driver was at work since this one registered.
        missed_renewals: Number of times that peers may have taken this driver for dead.
    """

    def __init__(self, store: Experiment):
        self.store = store
        self.id = secrets.token_hex(6)
        self.missed_renewals = 0
        self.has_peers = True
        self._beat = 0
        self._beat_at = _read_clock()
        self._read_at = 0.0
        # Of each peer: its last known beat, and since when it has not changed.
        self._seen: dict[str, tuple[int, float]] = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._renew_periodically, name="ibml-heartbeat", daemon=True
        )

    def __enter__(self) -> Self:
        self.beat()
        self._announce()
        self.has_peers = bool(self.list_peers())
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        thread = threading.Thread(target=self._unregister, name="ibml-heartbeat-end", daemon=True)
        thread.start()
        # If the store does not respond in time, the tags stay; the next driver finds them dead.
        thread.join(_UNREGISTER_SECONDS)

    def _unregister(self) -> None:
        """Remove this driver's tags."""
        self._thread.join()
        with suppress(TrackingError):
            self._remove_tag(_DRIVER + self.id)
            if self._read_tags().get(_LAST) == self.id:
                self._remove_tag(_LAST)

    def beat(self) -> None:
        """Renew the heartbeat now.

        Raises:
            TrackingError: The store cannot be written.
        """
        with self._lock:
            self._beat += 1
            driver = DriverInfo(
                host=socket.gethostname(),
                machine=get_machine_id(),
                pid=os.getpid(),
                started=_get_start_time(os.getpid()) or 0.0,
                beat=self._beat,
            )
            self._set_tag(_DRIVER + self.id, json.dumps(asdict(driver)))
            if self._is_renewal_due():
                self.missed_renewals += 1
                self._announce()  # peers may have removed this driver
            self._beat_at = _read_clock()

    def _is_renewal_due(self) -> bool:
        return _read_clock() - self._beat_at > LEASE_SECONDS / 2

    def _announce(self) -> None:
        """Reveal this driver to its peers.

        The heartbeat is written before, so of two drivers that start together each finds the other.
        """
        for attempts_left in reversed(range(_ATTEMPTS)):
            try:
                self._set_tag(_LAST, self.id)
            except TrackingError:  # another driver has just created the same tag, or removed it
                if not attempts_left:
                    raise
                time.sleep(random.uniform(0.0, 0.1))
            else:
                return

    def detect_peers(self) -> bool:
        """Check for drivers that registered after this one, and update `has_peers`.

        Returns:
            The updated `has_peers`.

        Raises:
            TrackingError: The store cannot be read.
        """
        self.has_peers = self.has_peers or self._read_tags().get(_LAST) != self.id
        return self.has_peers

    def confirm(self) -> int:
        """Renew the heartbeat if the last renewal is too long ago.

        Returns:
            The number of missed renewals so far.

        Raises:
            TrackingError: The store cannot be written.
        """
        if self._is_renewal_due():
            self.beat()
        return self.missed_renewals

    def _renew_periodically(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(TrackingError):  # the journal writer reports an unreachable store
                self.beat()

    def is_alive(self, driver: str) -> bool:
        """Return whether a driver is at work.

        Args:
            driver: Id of the driver.

        Returns:
            True for this driver and for its peers.

        Raises:
            TrackingError: The store cannot be read.
        """
        return driver == self.id or driver in self.list_peers()

    def list_peers(self) -> dict[str, DriverInfo]:
        """Find the other drivers that are at work.

        The tags of dead drivers are removed, unless the store is read-only.

        Returns:
            Id -> driver.

        Raises:
            TrackingError: The store cannot be read or written.
        """
        now, tags = _read_clock(), self._read_tags()
        if now - self._read_at > LEASE_SECONDS / 2:
            self._seen.clear()  # changes in between may have been missed
        self._read_at = now
        peers = {}
        for name, text in tags.items():
            driver_id = name.removeprefix(_DRIVER)
            if not name.startswith(_DRIVER) or driver_id == self.id:
                continue
            driver = _parse_driver(text)
            if driver is None:
                continue
            if self._is_driver_alive(driver_id, driver, now):
                peers[driver_id] = driver
            elif not self.store.read_only:
                self._remove_tag(name)  # a driver that was only suspended writes it again
        return peers

    def _is_driver_alive(self, driver_id: str, driver: DriverInfo, now: float) -> bool:
        if driver.machine == get_machine_id():
            return _is_running(driver)
        beat, since = self._seen.get(driver_id, (driver.beat, now))
        if beat != driver.beat:
            since = now
        self._seen[driver_id] = driver.beat, since
        return now - since < LEASE_SECONDS

    @contextmanager
    def exclusive(self, name: str, say: Callable[[str], None]) -> Iterator[None]:
        """Hold a lock that drivers share, waiting until no other driver holds it.

        MLflow has no compare-and-set. If two drivers request the lock at the same time, neither
        gets it, and each tries again after a random delay.

        Args:
            name: Name of the locked work, for example "the study demo".
            say: Receives a message if another driver holds the lock.

        Yields:
            Nothing; the lock is released on exit.

        Raises:
            TrackingError: The store cannot be read or written.
        """
        tag = f"{_LOCK}{sha256(name.encode()).hexdigest()[:16]}."
        is_reported = False
        while True:
            raise_if_stop_requested()
            holder = self._find_holder(tag)
            if holder is None:
                self._set_tag(tag + self.id, name[:250])
                if self._find_holder(tag) is None:
                    break
                self._remove_tag(tag + self.id)
            elif not is_reported:
                say(f"{name} is being run by {holder}; waiting until it ends.")
                is_reported = True
            time.sleep(random.uniform(*_WAIT_SECONDS))
        try:
            yield
        finally:
            with suppress(TrackingError):  # the lock of a dead driver is ignored
                self._remove_tag(tag + self.id)

    def _find_holder(self, tag: str) -> DriverInfo | None:
        peers = self.list_peers()
        for name in self._read_tags():
            if name.startswith(tag) and name != tag + self.id:
                if holder := peers.get(name.removeprefix(tag)):
                    return holder
                self._remove_tag(name)
        return None

    def _read_tags(self) -> Mapping[str, str]:
        if not self.store.exists:
            return {}
        with translate_errors(self.store.uri):
            experiment = self.store.client.get_experiment(self.store.experiment_id)
            tags: Mapping[str, str] = experiment.tags
            return tags

    def _set_tag(self, name: str, text: str) -> None:
        with translate_errors(self.store.uri):
            self.store.client.set_experiment_tag(self.store.experiment_id, name, text)

    def _remove_tag(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        # Another driver may have removed the tag already.
        with translate_errors(self.store.uri), suppress(MlflowException):
            self.store.client.delete_experiment_tag(self.store.experiment_id, name)


def _parse_driver(text: str) -> DriverInfo | None:
    try:
        return DriverInfo(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _is_running(driver: DriverInfo) -> bool:
    """Return whether a driver of this machine runs. Another process may have its process id now."""
    started = _get_start_time(driver.pid)
    return started is not None and abs(started - driver.started) < 2.0


def _get_start_time(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        return process.create_time()
    except psutil.NoSuchProcess:
        return None


def _read_clock() -> float:
    """Return seconds of a clock that also advances while the machine is suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.time()
