"""Cache of decoded samples: stores in the user's cache folder.

The name of a store has a hash of everything that determines its arrays: the content of the samples,
the decoder and its settings.
"""

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
"""Suffix of the file that a process locks while it makes a store.

The file is never removed, or two processes could hold the lock of one store.
"""
_STORE = re.compile(r"[^/]+-[0-9a-f]{20}(?=$|\.)")
"""Name of a store, finished or not."""
_LOOK_SECONDS = 0.1
"""Interval at which a process checks if another one has released a lock."""
_AHEAD = 32
"""Number of samples that are decoded before the first of them is written."""
_TRIED = 64
"""Number of samples from which the size of the whole store is estimated."""
_SPARE = 2**28
"""Bytes on disk that must stay free."""
_TRANSIENT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE, errno.ETIMEDOUT)
"""Errors of the machine that may not recur, so they are not stored as issues of a sample."""


@dataclass(frozen=True)
class DecodeRequest:
    """Samples of one split and one modality, and the forms in which they are needed.

    Attributes:
        name: Name of the request, for progress and for the names of the stores.
        root: Folder of the data set.
        parts: Raw content of the samples.
        contents: Digest of the content of each part.
        decoder: Decoder of the modality.
        forms: Forms in which the samples are needed.
    """

    name: str
    root: Path
    parts: Sequence[SamplePart]
    contents: Sequence[str]
    decoder: Decoder
    forms: tuple[Form, ...]


def get_stores_folder() -> Path:
    """Return the folder of all stores.

    Returns:
        The folder, which may not exist yet.

    Raises:
        DataError: The user has no cache folder.
    """
    try:
        return get_cache_folder() / "data"
    except RuntimeError:
        message = "there is no folder for the cache of decoded samples; set IBML_CACHE to one"
        raise DataError(message) from None


def get_stores(request: DecodeRequest, progress: Progress) -> dict[Form, Store]:
    """Open the stores of some samples, and make those that do not exist.

    One process makes a store while others wait for it.

    Args:
        request: Samples and forms.
        progress: Called while samples are decoded.

    Returns:
        A store for each form.

    Raises:
        DataError: The cache cannot be used, for instance since the disk is full.
    """
    targets = {
        form: get_stores_folder() / _build_store_name(request, form) for form in request.forms
    }
    missing = _find_missing(targets)
    if missing:
        with ExitStack() as locks:
            # One lock per form, since another process may need only one of these forms. Sorted,
            # or two processes could wait for each other.
            for target in sorted(missing.values()):
                locks.enter_context(_hold_lock(target))
            missing = _find_missing(missing)
            if missing:
                _make_stores(request, missing, progress)
    return {form: Store(target) for form, target in targets.items()}


def _find_missing(targets: dict[Form, Path]) -> dict[Form, Path]:
    missing = {}
    for form, target in targets.items():
        if not (target / "about.json").is_file():
            missing[form] = target
    return missing


def _build_store_name(request: DecodeRequest, form: Form) -> str:
    decoder = request.decoder
    settings = decoder.get_settings(form)
    content = [decoder.wire_name, decoder.revision, settings, form, list(request.contents)]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{request.name}-{form}-{digest[:20]}"


@contextmanager
def _hold_lock(target: Path) -> Iterator[None]:
    """Hold the lock of a store.

    Args:
        target: Folder of the store.

    Raises:
        DataError: The cache cannot be used.
        KeyboardInterrupt: The process has been asked to stop.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(_get_lock(target).acquire(cancel_check=_raise_if_stopping))
        except OSError as error:
            raise DataError(
                f"the cache {target.parent} cannot be used: {error.strerror};"
                " set IBML_CACHE to another folder"
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
            remove_store(target)  # a store without its description is incomplete
        for form, folder in unfinished.items():
            writers[form] = StoreWriter(folder, request.decoder.dtype)
        with _use_single_thread():
            _write_stores(request, writers, progress)
        for form, target in targets.items():
            writers[form].finish(target, request.decoder.vocabulary)
    except OSError as error:
        message = f"{request.name} could not be cached: {error}; set IBML_CACHE to another folder"
        raise DataError(message) from None
    except DecodeError as error:
        raise DataError(f"{request.name}: {error}") from None
    finally:
        for writer in writers.values():
            writer.discard()


@contextmanager
def _use_single_thread() -> Iterator[None]:
    """Limit torch to one thread per sample, since samples are already decoded in parallel."""
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
    for done, decoded in enumerate(_decode(request, tuple(writers)), 1):
        for form, writer in writers.items():
            if isinstance(decoded, str):
                writer.append_unusable(decoded)
            else:
                writer.append(decoded[form])
        if done == min(_TRIED, total):
            _check_room(request, writers, done)
        if done % 16 == 0 or done == total:
            progress(f"decoding {request.name}", done, total)


def _decode(
    request: DecodeRequest, forms: tuple[Form, ...]
) -> Iterator[dict[Form, list[Array]] | str]:
    """Yield the arrays of each sample in order, or the reason why it cannot be decoded."""

    def decode(part: SamplePart) -> dict[Form, list[Array]] | str:
        if not part.files and part.text is None:
            return "does not exist"
        try:
            return request.decoder.decode(part, request.root, forms)
        except DecodeError as error:
            return str(error)
        except IbmlError:
            raise
        except (OSError, ValueError) as error:
            return _explain_error(error)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        ahead: deque[Future[dict[Form, list[Array]] | str]] = deque()
        for part in request.parts:
            ahead.append(pool.submit(decode, part))
            if len(ahead) >= _AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _explain_error(error: OSError | ValueError) -> str:
    """Return the issue of a sample, or raise `DataError` for a transient error of the machine."""
    if not isinstance(error, OSError):
        return f"cannot be read: {error}"
    if error.errno in _TRANSIENT:
        raise DataError(f"{error.filename} cannot be read: {error.strerror}") from None
    return f"cannot be read: {error.strerror or error}"


def _check_room(request: DecodeRequest, writers: dict[Form, StoreWriter], done: int) -> None:
    """Raise `DataError` if the stores, estimated from the first samples, do not fit on the disk."""
    needed = sum(writer.bytes for writer in writers.values()) * len(request.parts) // max(done, 1)
    folder = get_stores_folder()
    free = shutil.disk_usage(folder).free
    if needed + _SPARE > free:
        raise DataError(
            f"{request.name} needs about {needed / 1e9:.1f} GB when decoded, and {folder} has"
            f" {free / 1e9:.1f} GB free; set IBML_CACHE to another folder, or reduce stored_side"
            " or size"
        )


@dataclass(frozen=True)
class CacheEntry:
    """Store in the cache of decoded samples, finished or not.

    Attributes:
        path: Folder of the store.
        size: Size of its files in bytes.
    """

    path: Path
    size: int

    @property
    def name(self) -> str:
        """Name of the folder."""
        return self.path.name

    def remove(self) -> bool:
        """Remove the store unless a process is making it.

        Processes that read the store are not affected.

        Returns:
            True if the store is removed.
        """
        named = _STORE.match(self.name)
        assert named, "only stores are listed"
        try:
            with _get_lock(self.path.with_name(named[0])).acquire(blocking=False):
                remove_store(self.path)
        except Timeout:
            return False
        return not self.path.exists()


def list_cache_entries() -> list[CacheEntry]:
    """List all stores, the largest first, including unfinished ones of killed processes."""
    folder = get_stores_folder()
    if not folder.is_dir():
        return []
    entries = []
    for path in folder.iterdir():
        if _STORE.match(path.name) and path.is_dir():
            entries.append(CacheEntry(path, _measure_size(path)))
    return sorted(entries, key=lambda entry: (-entry.size, entry.name))


def _measure_size(path: Path) -> int:
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
