"""Ownership of temporary files and folders: who made them, and whether that process is provably dead.

ibml deletes only what it made. A temporary folder carries an ownership record that is locked while the folder is in
use; an unfinished file carries its writer in its name. Process ids alone prove nothing, since containers and hosts
that share a folder number their processes independently.
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

# Not `filelock`: it creates a missing file, which would put a record into folders of other origin. It also unlocks at
# its release and at exit, which would end the hold of the watchdog process that inherits the descriptor.

PREFIX = "ibml-"
"""Temporary folders begin with this. The name alone never makes a folder ours."""
RECORD = ".ibml-owner.json"
"""The ownership record inside a temporary folder."""
_UNKNOWN = "0"
_KIND = "temporary folder of ibml"


@dataclass(frozen=True)
class Owner:
    """A process, identified across containers, hosts and reuse of process ids.

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
        """Return True only if the process provably ended: it ran where we can see processes, and is gone."""
        if self.machine != get_machine_id():
            return False
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return True
        except OSError:
            return False  # another user's process has this id
        start = _read_start_time(self.pid)
        return start is not None and self.start not in (_UNKNOWN, start)


def get_machine_id() -> str:
    """Return a hash of host name, boot and PID namespace; equal only where process ids mean the same."""
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
    """Return what identifies the running kernel since its start. Raises `OSError` where the system does not say."""
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


@cache
def _get_own_start_time(pid: int) -> str:
    return _read_start_time(pid) or _UNKNOWN


def _read_start_time(pid: int) -> str | None:
    """Return when a process started, "ended" for a zombie, None if the system does not say.

    Linux counts clock ticks since boot, which do not move when the clock is set.
    """
    if not Path("/proc/self").exists():
        return _read_start_time_without_proc(pid)
    try:
        if Path("/proc/self").readlink().name != str(os.getpid()):
            return None  # /proc shows another PID namespace than ours
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
        return (
            "ended" if process.status() == psutil.STATUS_ZOMBIE else str(int(process.create_time()))
        )
    return None


@dataclass
class TemporaryFolder:
    """A temporary folder whose ownership record this process holds locked.

    Attributes:
        path: The folder.
        lock: Descriptor of the locked record. A process that inherits it keeps the folder in use.
    """

    path: Path
    lock: int

    def remove(self) -> None:
        """Remove the folder if it is still the one that was made here, and release the lock; once."""
        if self.lock < 0:
            return
        with suppress(OSError):
            if os.path.samestat(os.fstat(self.lock), (self.path / RECORD).lstat()):
                _remove_owned(self.path)
        os.close(self.lock)
        self.lock = -1


@contextmanager
def open_temporary_folder(place: str | Path | None = None) -> Iterator[TemporaryFolder]:
    """Make a temporary folder with an ownership record, and remove it at the end of the context."""
    folder = make_temporary_folder(place)
    try:
        yield folder
    finally:
        folder.remove()


def make_temporary_folder(place: str | Path | None = None) -> TemporaryFolder:
    """Make a temporary folder with an ownership record.

    Args:
        place: Where to make it; by default the system's folder for temporary files.

    Returns:
        The folder. Its record stays locked until it is removed or this process ends.

    Raises:
        OSError: If nothing can be written there.
    """
    path = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir=place))
    lock = -1
    try:
        lock = os.open(path / RECORD, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        with suppress(
            OSError
        ):  # a file system without locks: there nobody can prove that a folder is abandoned
            fcntl.flock(lock, fcntl.LOCK_EX)
        os.write(lock, json.dumps(_describe(path)).encode())
    except BaseException:
        if lock >= 0:
            os.close(lock)
        shutil.rmtree(path, ignore_errors=True)
        raise
    return TemporaryFolder(path, lock)


def _describe(path: Path) -> dict[str, str | int]:
    """Return the record of a folder made here. By name and inode, copies and renamed folders are told from it."""
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

    A folder is removed only if it has an ownership record of its own name and inode, written under the running kernel
    by this user, whose lock nobody holds. The working folder and its parents always stay.

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
    """Return True for the working folder and its parents."""
    try:
        return Path.cwd().resolve().is_relative_to(folder.resolve())
    except OSError:
        return False  # the working folder is gone


def _remove_owned(folder: Path) -> None:
    """Remove a folder, its ownership record last, so that an interrupted removal can be completed later."""
    for entry in folder.iterdir():
        if entry.name == RECORD:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry, ignore_errors=True)
        else:
            entry.unlink(missing_ok=True)
    (folder / RECORD).unlink(missing_ok=True)
    folder.rmdir()
