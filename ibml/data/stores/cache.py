"""Media that were decoded before: stores in the user's cache, each named by what its arrays were made from and how."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout

from ibml.common.atomic_files import remove_unfinished, unfinished_path
from ibml.common.errors import IbmlError
from ibml.common.paths import cache_folder
from ibml.common.processes.interruption import raise_if_requested
from ibml.data.base import Progress
from ibml.data.listing import DataError, Part
from ibml.data.media import Form, Media, MediaError
from ibml.data.media.base import Array
from ibml.data.stores.store import Store, StoreWriter, remove_store

LOCK = ".lock"
"""The end of the name of the file that whoever makes a store holds; such a file stays, or two processes could hold one
of that name."""
_STORE = re.compile(r"[^/]+-[0-9a-f]{20}(?=$|\.)")
"""The name of a store, finished or not."""
_LOOK_SECONDS = 0.1
"""How often it is looked whether another process has finished a store."""
_AHEAD = 32
"""How many samples are decoded before the first of them is written."""
_TRIED = 64
"""After how many samples the size of the whole is known well enough to compare it with the disk."""
_SPARE = 2**28
_PASSING = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)
"""What is wrong with the machine, and may be right tomorrow: it is not kept as what is wrong with a sample."""


@dataclass(frozen=True)
class Wanted:
    """The samples of one split and one modality, and the forms in which they are needed."""

    name: str
    root: Path
    parts: Sequence[Part]
    contents: Sequence[str]
    """What each part is read from, as a digest."""
    media: Media
    forms: tuple[Form, ...]


def stores_folder() -> Path:
    """Where all stores are; raises `DataError` where there is no place for a cache."""
    try:
        return cache_folder() / "data"
    except RuntimeError:
        raise DataError("there is no folder for the cache of decoded media: set IBML_CACHE to one") from None


def stores(wanted: Wanted, progress: Progress) -> dict[Form, Store]:
    """The stores of these samples, made now where there are none; one process makes them, and others wait for it.

    Raises `DataError`, for a disk without room among others.
    """
    targets = {form: stores_folder() / _name(wanted, form) for form in wanted.forms}
    missing = {form: target for form, target in targets.items() if not (target / "about.json").is_file()}
    if missing:
        with ExitStack() as locks:
            # each, since others may want one of these forms beside other ones; in one order, or two would wait for ever
            for target in sorted(missing.values()):
                locks.enter_context(_locked(target))
            missing = {form: target for form, target in missing.items() if not (target / "about.json").is_file()}
            if missing:
                _make(wanted, missing, progress)
    return {form: Store(target) for form, target in targets.items()}


def _name(wanted: Wanted, form: Form) -> str:
    media = wanted.media
    content = [media.wire_name, media.revision, media.stored(form), form, list(wanted.contents)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{wanted.name}-{form}-{digest[:20]}"


@contextmanager
def _locked(target: Path) -> Iterator[None]:
    """Hold a store's lock. Raises `DataError` if the cache cannot be used, `KeyboardInterrupt` if asked to stop."""
    with ExitStack() as stack:
        try:
            stack.enter_context(_lock(target).acquire(cancel_check=_raise_if_stopping))
        except OSError as error:
            raise DataError(
                f"the cache {target.parent} cannot be used: {error.strerror}; IBML_CACHE names another"
            ) from None
        yield


def _lock(store: Path) -> FileLock:
    """Return the lock of a store, which another process may hold for as long as it decodes.

    Earlier versions of ibml lock the same file by `flock`, as `filelock` does.
    """
    return FileLock(store.with_name(store.name + LOCK), poll_interval=_LOOK_SECONDS, fallback_to_soft=False)


def _raise_if_stopping() -> bool:
    raise_if_requested()
    return False


def _make(wanted: Wanted, targets: dict[Form, Path], progress: Progress) -> None:
    unfinished = {form: unfinished_path(target) for form, target in targets.items()}
    writers: dict[Form, StoreWriter] = {}
    try:
        remove_unfinished(stores_folder())
        for target in targets.values():
            remove_store(target)  # without its description, it is none
        for form, begun in unfinished.items():
            writers[form] = StoreWriter(begun, wanted.media.dtype)
        with _one_thread_each():
            _write(wanted, writers, progress)
        for form, target in targets.items():
            writers[form].finish(target, wanted.media.vocabulary)
    except OSError as error:
        raise DataError(f"{wanted.name} could not be cached: {error}; IBML_CACHE names another folder") from None
    except MediaError as error:
        raise DataError(f"{wanted.name}: {error}") from None
    finally:
        for writer in writers.values():
            writer.discard()


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Samples are decoded side by side, so that threads within each would only be in one another's way."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write(wanted: Wanted, writers: dict[Form, StoreWriter], progress: Progress) -> None:
    total = len(wanted.parts)
    for done, made in enumerate(_decoded(wanted, tuple(writers)), 1):
        for form, writer in writers.items():
            if isinstance(made, str):
                writer.bad(made)
            else:
                writer.append(made[form])
        if done == min(_TRIED, total):
            _check_room(wanted, writers, done)
        if done % 16 == 0 or done == total:
            progress(f"decoding {wanted.name}", done, total)


def _decoded(wanted: Wanted, forms: tuple[Form, ...]) -> Iterator[dict[Form, list[Array]] | str]:
    """What each sample became, in order, or why it cannot be used."""

    def read(part: Part) -> dict[Form, list[Array]] | str:
        if not part.files and part.text is None:
            return "is not there"
        try:
            return wanted.media.read(part, wanted.root, forms)
        except MediaError as error:
            return str(error)
        except IbmlError:
            raise
        except (OSError, ValueError) as error:
            return _why(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead: deque[Future[dict[Form, list[Array]] | str]] = deque()
        for part in wanted.parts:
            ahead.append(pool.submit(read, part))
            if len(ahead) >= _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _why(error: OSError | ValueError) -> str:
    """What is wrong with a sample; raises `DataError` for what is wrong with the machine."""
    if not isinstance(error, OSError):
        return f"cannot be read: {error}"
    if error.errno in _PASSING:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None
    return f"cannot be read: {error.strerror or error}"


def _check_room(wanted: Wanted, writers: dict[Form, StoreWriter], done: int) -> None:
    needed = sum(writer.bytes for writer in writers.values()) * len(wanted.parts) // max(done, 1)
    folder = stores_folder()
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise DataError(
            f"{wanted.name} decoded takes about {needed / 1e9:.1f} GB, and {folder} has room for {free / 1e9:.1f} GB;"
            " IBML_CACHE names another folder, and a smaller stored_side or size takes less"
        )


@dataclass(frozen=True)
class Kept:
    """Something in the cache of decoded media."""

    path: Path
    size: int

    @property
    def name(self) -> str:
        return self.path.name

    def remove(self) -> bool:
        """Remove it, unless it is being made; a process that reads it goes on. Whether it is gone."""
        named = _STORE.match(self.name)
        assert named, "only stores are listed"
        try:
            with _lock(self.path.with_name(named[0])).acquire(blocking=False):
                remove_store(self.path)
        except Timeout:
            return False
        return not self.path.exists()


def kept() -> list[Kept]:
    """The stores in the cache of decoded media, the largest first, also those that a killed process left unfinished."""
    folder = stores_folder()
    there = [path for path in folder.iterdir() if _STORE.match(path.name) and path.is_dir()] if folder.is_dir() else []
    found = [Kept(path, _size(path)) for path in there]
    return sorted(found, key=lambda entry: (-entry.size, entry.name))


def _size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
