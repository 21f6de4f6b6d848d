"""Who works on a store: each driver's sign of life, a tag of the experiment that it renews.

A driver on this machine is alive if its process is. One on another machine is alive as long as its sign changes: it is
watched by this machine's clock alone, so that clocks that differ do not matter.
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
LEASE_SECONDS = 60.0
"""A driver on another machine whose sign has not changed for so long has ended, and its trials are taken over."""
_DRIVER = "ibml.driver."
_LOCK = "ibml.lock."
_LAST = "ibml.last_driver"
"""A tag of the experiment: which driver was the last to come. Where it is another, or gone, one has come meanwhile."""
_ATTEMPTS = 5
_LEAVE_SECONDS = 5.0
"""How long the end of a driver waits for the store to forget it."""
_WAIT_SECONDS = (1.0, 3.0)


@dataclass(frozen=True)
class DriverInfo:
    """A driver: its process, where that runs, and how often it has given a sign."""

    host: str
    machine: str
    pid: int
    started: float
    beat: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}"


class Heartbeat:
    """This driver's own sign of life, and those of others. Inside the context a thread renews the sign."""

    def __init__(self, store: Experiment):
        self.store = store
        self.id = secrets.token_hex(6)
        self.missed_renewals = 0
        """How often others may have taken this driver for dead."""
        self._beat, self._beat_at = 0, _read_clock()
        self._read_at = 0.0
        self.has_peers = True
        """Whether another driver may have been at work since this one began, as far as that is known."""
        self._seen: dict[
            str, tuple[int, float]
        ] = {}  # of others: the beat, and since when it is that
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=self._renew_periodically, name="ibml-presence", daemon=True
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
        leaving = threading.Thread(target=self._unregister, name="ibml-presence-end", daemon=True)
        leaving.start()
        leaving.join(
            _LEAVE_SECONDS
        )  # what a store that is silent keeps of this driver is found dead by the next

    def _unregister(self) -> None:
        """Take this driver's sign away."""
        self._thread.join()
        with suppress(TrackingError):
            self._remove_tag(_DRIVER + self.id)
            if self._read_tags().get(_LAST) == self.id:
                self._remove_tag(_LAST)

    def beat(self) -> None:
        """Give a sign now. Raises `TrackingError`."""
        with self._lock:
            self._beat += 1
            sign = DriverInfo(
                socket.gethostname(),
                get_machine_id(),
                os.getpid(),
                _get_start_time(os.getpid()) or 0.0,
                self._beat,
            )
            self._set_tag(_DRIVER + self.id, json.dumps(asdict(sign)))
            if _read_clock() - self._beat_at > LEASE_SECONDS / 2:
                self.missed_renewals += 1
                self._announce()  # as if anew
            self._beat_at = _read_clock()

    def _announce(self) -> None:
        """Let drivers that are at work know of one more. The sign comes before, so that of two each knows the other."""
        for left in reversed(range(_ATTEMPTS)):
            try:
                self._set_tag(_LAST, self.id)
            except TrackingError:  # another driver has just made the same tag, or removed it
                if not left:
                    raise
                time.sleep(random.uniform(0.0, 0.1))
            else:
                return

    def detect_peers(self) -> bool:
        """See whether another driver has come by now. Raises `TrackingError`."""
        self.has_peers = self.has_peers or self._read_tags().get(_LAST) != self.id
        return self.has_peers

    def confirm(self) -> int:
        """Give a sign if the last was long ago, and say how often there was none for long. Raises `TrackingError`."""
        if _read_clock() - self._beat_at > LEASE_SECONDS / 2:
            self.beat()
        return self.missed_renewals

    def _renew_periodically(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            with suppress(TrackingError):  # the store is out of reach; the recorder says so
                self.beat()

    def is_alive(self, driver: str) -> bool:
        """Whether a driver, given by its id, is at work. Raises `TrackingError`."""
        return driver == self.id or driver in self.list_peers()

    def list_peers(self) -> dict[str, DriverInfo]:
        """The other drivers that are at work, by id. Raises `TrackingError`."""
        now, tags = _read_clock(), self._read_tags()
        if now - self._read_at > LEASE_SECONDS / 2:
            self._seen.clear()  # nobody was watched meanwhile
        self._read_at = now
        signs = {
            name.removeprefix(_DRIVER): _parse_driver(text)
            for name, text in tags.items()
            if name.startswith(_DRIVER)
        }
        alive = {}
        for driver, sign in signs.items():
            if sign and driver != self.id:
                if self._is_driver_alive(driver, sign, now):
                    alive[driver] = sign
                elif not self.store.read_only:
                    self._remove_tag(_DRIVER + driver)  # one that only slept gives its next sign
        return alive

    def _is_driver_alive(self, driver: str, sign: DriverInfo, now: float) -> bool:
        if sign.machine == get_machine_id():
            return _is_running(sign)
        beat, since = self._seen.get(driver, (sign.beat, now))
        since = since if beat == sign.beat else now
        self._seen[driver] = sign.beat, since
        return now - since < LEASE_SECONDS

    @contextmanager
    def exclusive(self, name: str, say: Callable[[str], None]) -> Iterator[None]:
        """Wait until no other driver works on what has this name, and keep others waiting. What two drivers see at the
        same time neither takes; each looks again after a moment by chance."""
        tag = f"{_LOCK}{sha256(name.encode()).hexdigest()[:16]}."
        told = False
        while True:
            raise_if_stop_requested()
            holder = self._find_holder(tag)
            if holder is None:
                self._set_tag(tag + self.id, name[:250])
                if self._find_holder(tag) is None:
                    break
                self._remove_tag(tag + self.id)
            elif not told:
                say(f"{name} is being run by {holder}; waiting for it.")
                told = True
            time.sleep(random.uniform(*_WAIT_SECONDS))
        try:
            yield
        finally:
            with suppress(TrackingError):  # it goes with the driver's sign
                self._remove_tag(tag + self.id)

    def _find_holder(self, tag: str) -> DriverInfo | None:
        others = self.list_peers()
        for name in self._read_tags():
            if name.startswith(tag) and name != tag + self.id:
                if holder := others.get(name.removeprefix(tag)):
                    return holder
                self._remove_tag(name)
        return None

    def _read_tags(self) -> Mapping[str, str]:
        if not self.store.exists:
            return {}
        with translate_errors(self.store.uri):
            tags: Mapping[str, str] = self.store.client.get_experiment(
                self.store.experiment_id
            ).tags
            return tags

    def _set_tag(self, name: str, text: str) -> None:
        with translate_errors(self.store.uri):
            self.store.client.set_experiment_tag(self.store.experiment_id, name, text)

    def _remove_tag(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        with (
            translate_errors(self.store.uri),
            suppress(MlflowException),
        ):  # another driver may have removed it
            self.store.client.delete_experiment_tag(self.store.experiment_id, name)


def _parse_driver(text: str) -> DriverInfo | None:
    try:
        return DriverInfo(**json.loads(text))
    except (ValueError, TypeError):
        return None


def _is_running(sign: DriverInfo) -> bool:
    """Whether a process of this machine lives; a number may have gone to another one since."""
    started = _get_start_time(sign.pid)
    return started is not None and abs(started - sign.started) < 2.0


def _get_start_time(pid: int) -> float | None:
    import psutil

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else process.create_time()
    except psutil.NoSuchProcess:
        return None


def _read_clock() -> float:
    """Seconds that also pass while the machine sleeps."""
    return (
        time.clock_gettime(time.CLOCK_BOOTTIME) if hasattr(time, "CLOCK_BOOTTIME") else time.time()
    )
