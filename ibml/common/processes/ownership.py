"""Ownership of temporary files and folders: the process that made them, and if it has ended.

ibml deletes only its own files. A temporary folder has an ownership record that is locked while the
folder is in use. An unfinished file has its writer in its name. Process ids alone prove nothing,
because containers and hosts that share a folder number their processes independently.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from stat import S_ISDIR, S_ISREG

# `filelock` is not used: it creates missing files, which would put a record into foreign folders.
# It also unlocks at release and at exit, although the watchdog process that inherits the descriptor
# must keep the lock.

PREFIX = "ibml-"
"""Prefix of the names of temporary folders. The name alone does not prove ownership."""
RECORD = ".ibml-owner.json"
"""Name of the ownership record inside a temporary folder."""
_UNKNOWN = "0"
_KIND = "temporary folder of ibml"


@dataclass(frozen=True)
class Owner:
    """Identity of a process across containers, hosts and reuse of process ids.

    Attributes:
        machine: Hash of host name, boot and PID namespace.
        pid: Process id within that namespace.
        start: Start time of the process, in the system's unit.
    """

    machine: str
    pid: int
    start: str

    @classmethod
    def get_current(cls) -> Owner:
        """Return the identity of this process."""
        return cls(get_machine_id(), os.getpid(), _get_own_start_time(os.getpid()))

    def is_dead(self) -> bool:
        """Return True only if the process ran in this PID namespace and has provably ended."""
        if self.machine != get_machine_id():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False  # a process of another user has this id
        start = _read_start_time(self.pid)
        return start is not None and self.start not in (_UNKNOWN, start)


def get_machine_id() -> str:
    """Return a hash of host name, boot and PID namespace.

    Process ids are comparable between processes with the same hash.
    """
    return _compute_machine_id(socket.gethostname())


@cache
def _compute_machine_id(host: str) -> str:
    parts = [host]
    with suppress(OSError):
        parts.append(_read_boot_id())
        parts.append(str(Path("/proc/self/ns/pid").readlink()))
    return sha256("\n".join(parts).encode()).hexdigest()[:16]


@cache
def _read_boot_id() -> str:
    """Return the id of the current boot of the kernel, or raise `OSError` if it is unavailable."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@cache
def _get_own_start_time(pid: int) -> str:
    return _read_start_time(pid) or _UNKNOWN


def _read_start_time(pid: int) -> str | None:
    """Return the start time of a process, `ended` for a zombie, or None if unknown.

    Linux counts clock ticks since boot, which do not change when the clock is set.
    """
    if not Path("/proc/self").exists():
        return _read_start_time_without_proc(pid)
    try:
        if Path("/proc/self").readlink().name != str(os.getpid()):
            return None  # /proc shows another PID namespace
        status = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    state, *fields = status.rpartition(")")[2].split()
    return "ended" if state in "ZX" else fields[18]


def _read_start_time_without_proc(pid: int) -> str | None:
    """Return the start time on systems without /proc."""
    import psutil

    with suppress(psutil.Error, OSError):
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return "ended"
        return str(int(process.create_time()))
    return None


@dataclass
class TemporaryFolder:
    """Temporary folder with an ownership record that this process holds locked.

    Attributes:
        path: The folder.
        lock: Descriptor of the locked record. A process that inherits it keeps the folder in use.
    """

    path: Path
    lock: int

    def remove(self) -> None:
        """Remove the folder and release the lock; later calls do nothing.

        A folder that was replaced by another one of the same name stays.
        """
        if self.lock < 0:
            return
        with suppress(OSError):
            if os.path.samestat(os.fstat(self.lock), (self.path / RECORD).lstat()):
                _remove_owned(self.path)
        os.close(self.lock)
        self.lock = -1


@contextmanager
def open_temporary_folder(place: str | Path | None = None) -> Iterator[TemporaryFolder]:
    """Make a temporary folder with an ownership record, and remove it when the context ends.

    Args:
        place: Parent folder; by default the system's folder for temporary files.

    Yields:
        The folder.
    """
    folder = make_temporary_folder(place)
    try:
        yield folder
    finally:
        folder.remove()


def make_temporary_folder(place: str | Path | None = None) -> TemporaryFolder:
    """Make a temporary folder with an ownership record.

    Args:
        place: Parent folder; by default the system's folder for temporary files.

    Returns:
        The folder. Its record stays locked until it is removed or this process ends.

    Raises:
        OSError: If the parent folder is not writable.
    """
    path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))
    lock = -1
    try:
        lock = os.open(path / RECORD, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        # On a file system without locks, nobody can prove that the folder is abandoned; it stays.
        with suppress(OSError):
            fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(lock, json.dumps(_describe(path)).encode())
    except BaseException:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(path, ignore_errors=True)
        raise
    return TemporaryFolder(path, lock)


def _describe(path: Path) -> dict[str, str | int]:
    """Return the ownership record of a folder; name and inode exclude copies and moved folders."""
    with suppress(OSError):
        return {
            "kind": _KIND,
            "name": path.name,
            "inode": path.lstat().st_ino,
            "host": socket.gethostname(),
            "boot": _read_boot_id(),
            "pid": os.getpid(),
        }
    return {"kind": _KIND, "name": path.name}


def remove_abandoned_folders(places: Iterable[str | Path]) -> list[Path]:
    """Remove temporary folders whose process ended without removing them.

    A folder is removed only if its ownership record has its name and inode, was written by this
    user since the last boot, and is not locked. The working directory and its parents always stay.

    Args:
        places: Folders for temporary files.

    Returns:
        The removed folders.
    """
    removed = []
    for place in places:
        with suppress(OSError):
            for folder in Path(place).glob(f"{PREFIX}*"):
                with suppress(OSError, ValueError, RecursionError):
                    if _remove_if_abandoned(folder):
                        removed.append(folder)
    return removed


def _remove_if_abandoned(folder: Path) -> bool:
    status = folder.lstat()
    if not S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or _is_in_use_here(folder):
        return False
    lock = os.open(folder / RECORD, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        about = os.fstat(lock)
        if not S_ISREG(about.st_mode) or about.st_uid != os.geteuid():
            return False
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where the owner holds it
        record = json.loads(os.read(lock, 4096))
        expected = {
            "kind": _KIND,
            "name": folder.name,
            "inode": status.st_ino,
            "boot": _read_boot_id(),
        }
        if not isinstance(record, dict) or any(
            record.get(key) != value for key, value in expected.items()
        ):
            return False
        if not os.path.samestat(about, (folder / RECORD).lstat()):
            return False
        _remove_owned(folder)
        return True
    finally:
        os.close(lock)


def _is_in_use_here(folder: Path) -> bool:
    """Return True for the working directory and its parents."""
    try:
        return Path.cwd().resolve().is_relative_to(folder.resolve())
    except OSError:
        return False  # the working directory was deleted


def _remove_owned(folder: Path) -> None:
    """Remove a folder, its record last, so that an interrupted removal can be completed later."""
    for entry in folder.iterdir():
        if entry.name == RECORD:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    folder.rmdir()
