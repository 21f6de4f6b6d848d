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

from ibml.common.atomic_files import get_unfinished_path, remove_unfinished
from ibml.common.errors import IbmlError
from ibml.common.paths import get_cache_folder
from ibml.common.processes.interruption import raise_if_stop_requested
from ibml.data.base import Progress
from ibml.data.decoders import DecodeError, Decoder, Form
from ibml.data.decoders.base import Array
from ibml.data.listing import DataError, SamplePart
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
class DecodeRequest:
    """The samples of one split and one modality, and the forms in which they are needed."""

    name: str
    root: Path
    parts: Sequence[SamplePart]
    contents: Sequence[str]
    """What each part is read from, as a digest."""
    media: Decoder
    forms: tuple[Form, ...]


def get_stores_folder() -> Path:
    """Where all stores are; raises `DataError` where there is no place for a cache."""
    try:
        return get_cache_folder() / "data"
    except RuntimeError:
        raise DataError(
            "there is no folder for the cache of decoded media: set IBML_CACHE to one"
        ) from None


def stores(request: DecodeRequest, progress: Progress) -> dict[Form, Store]:
    """The stores of these samples, made now where there are none; one process makes them, and others wait for it.

    Raises `DataError`, for a disk without room among others.
    """
    targets = {
        form: get_stores_folder() / _build_store_name(request, form) for form in request.forms
    }
    missing = {
        form: target for form, target in targets.items() if not (target / "about.json").is_file()
    }
    if missing:
        with ExitStack() as locks:
            # each, since others may want one of these forms beside other ones; in one order, or two would wait for ever
            for target in sorted(missing.values()):
                locks.enter_context(_hold_lock(target))
            missing = {
                form: target
                for form, target in missing.items()
                if not (target / "about.json").is_file()
            }
            if missing:
                _make_stores(request, missing, progress)
    return {form: Store(target) for form, target in targets.items()}


def _build_store_name(request: DecodeRequest, form: Form) -> str:
    media = request.media
    content = [
        media.wire_name,
        media.revision,
        media.get_settings(form),
        form,
        list(request.contents),
    ]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{request.name}-{form}-{digest[:20]}"


@contextmanager
def _hold_lock(target: Path) -> Iterator[None]:
    """Hold a store's lock. Raises `DataError` if the cache cannot be used, `KeyboardInterrupt` if asked to stop."""
    with ExitStack() as stack:
        try:
            stack.enter_context(_get_lock(target).acquire(cancel_check=_raise_if_stopping))
        except OSError as error:
            raise DataError(
                f"the cache {target.parent} cannot be used: {error.strerror}; IBML_CACHE names another"
            ) from None
        yield


def _get_lock(store: Path) -> FileLock:
    """Return the lock of a store, which another process may hold for as long as it decodes.

    Earlier versions of ibml lock the same file by `flock`, as `filelock` does.
    """
    return FileLock(
        store.with_name(store.name + LOCK), poll_interval=_LOOK_SECONDS, fallback_to_soft=False
    )


def _raise_if_stopping() -> bool:
    raise_if_stop_requested()
    return False


def _make_stores(request: DecodeRequest, targets: dict[Form, Path], progress: Progress) -> None:
    unfinished = {form: get_unfinished_path(target) for form, target in targets.items()}
    writers: dict[Form, StoreWriter] = {}
    try:
        remove_unfinished(get_stores_folder())
        for target in targets.values():
            remove_store(target)  # without its description, it is none
        for form, begun in unfinished.items():
            writers[form] = StoreWriter(begun, request.media.dtype)
        with _use_single_thread():
            _write_stores(request, writers, progress)
        for form, target in targets.items():
            writers[form].finish(target, request.media.vocabulary)
    except OSError as error:
        raise DataError(
            f"{request.name} could not be cached: {error}; IBML_CACHE names another folder"
        ) from None
    except DecodeError as error:
        raise DataError(f"{request.name}: {error}") from None
    finally:
        for writer in writers.values():
            writer.discard()


@contextmanager
def _use_single_thread() -> Iterator[None]:
    """Samples are decoded side by side, so that threads within each would only be in one another's way."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _write_stores(
    request: DecodeRequest, writers: dict[Form, StoreWriter], progress: Progress
) -> None:
    total = len(request.parts)
    for done, made in enumerate(_decode(request, tuple(writers)), 1):
        for form, writer in writers.items():
            if isinstance(made, str):
                writer.bad(made)
            else:
                writer.append(made[form])
        if done == min(_TRIED, total):
            _check_room(request, writers, done)
        if done % 16 == 0 or done == total:
            progress(f"decoding {request.name}", done, total)


def _decode(
    request: DecodeRequest, forms: tuple[Form, ...]
) -> Iterator[dict[Form, list[Array]] | str]:
    """What each sample became, in order, or why it cannot be used."""

    def read(part: SamplePart) -> dict[Form, list[Array]] | str:
        if not part.files and part.text is None:
            return "is not there"
        try:
            return request.media.read(part, request.root, forms)
        except DecodeError as error:
            return str(error)
        except IbmlError:
            raise
        except (OSError, ValueError) as error:
            return _explain_error(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead: deque[Future[dict[Form, list[Array]] | str]] = deque()
        for part in request.parts:
            ahead.append(pool.submit(read, part))
            if len(ahead) >= _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _explain_error(error: OSError | ValueError) -> str:
    """What is wrong with a sample; raises `DataError` for what is wrong with the machine."""
    if not isinstance(error, OSError):
        return f"cannot be read: {error}"
    if error.errno in _PASSING:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None
    return f"cannot be read: {error.strerror or error}"


def _check_room(request: DecodeRequest, writers: dict[Form, StoreWriter], done: int) -> None:
    needed = sum(writer.bytes for writer in writers.values()) * len(request.parts) // max(done, 1)
    folder = get_stores_folder()
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise DataError(
            f"{request.name} decoded takes about {needed / 1e9:.1f} GB, and {folder} has room for {free / 1e9:.1f} GB;"
            " IBML_CACHE names another folder, and a smaller stored_side or size takes less"
        )


@dataclass(frozen=True)
class CacheEntry:
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
            with _get_lock(self.path.with_name(named[0])).acquire(blocking=False):
                remove_store(self.path)
        except Timeout:
            return False
        return not self.path.exists()


def list_cache_entries() -> list[CacheEntry]:
    """The stores in the cache of decoded media, the largest first, also those that a killed process left unfinished."""
    folder = get_stores_folder()
    there = (
        [path for path in folder.iterdir() if _STORE.match(path.name) and path.is_dir()]
        if folder.is_dir()
        else []
    )
    found = [CacheEntry(path, _measure_size(path)) for path in there]
    return sorted(found, key=lambda entry: (-entry.size, entry.name))


def _measure_size(path: Path) -> int:
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())
