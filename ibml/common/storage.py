"""Where checkpoints lie: a folder, or a place in a bucket (`s3://`, `gs://`) by pyarrow, as Ray's own storage."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path, PurePosixPath
from stat import S_IFDIR, S_IFREG
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pyarrow.fs import FileInfo, FileSystem

SCHEMES = ("s3", "gs")


@dataclass(frozen=True)
class ObjectPath:
    """An object in a bucket, or what stands for a folder there, with those methods of `pathlib.Path` that checkpoints
    need. `options` are those of pyarrow's filesystem (`endpoint_override=HOST:PORT&scheme=http`). Folders are there as
    soon as something is below them, and what is written is there as a whole or not at all.

    Raises `OSError`, and `FileNotFoundError` where nothing is there.
    """

    scheme: str
    plain: PurePosixPath
    options: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{self.plain}{f'?{self.options}' if self.options else ''}"

    def __truediv__(self, name: str) -> ObjectPath:
        return self.joinpath(name)

    def joinpath(self, *names: str) -> ObjectPath:
        return ObjectPath(self.scheme, self.plain.joinpath(*names), self.options)

    @property
    def name(self) -> str:
        return self.plain.name

    @property
    def stem(self) -> str:
        return self.plain.stem

    @property
    def parent(self) -> ObjectPath:
        return ObjectPath(self.scheme, self.plain.parent, self.options)

    def absolute(self) -> ObjectPath:
        return self

    def exists(self) -> bool:
        from pyarrow.fs import FileType

        return bool(self._info().type != FileType.NotFound)

    def is_file(self) -> bool:
        return bool(self._info().is_file)

    def is_dir(self) -> bool:
        from pyarrow.fs import FileType

        return bool(self._info().type == FileType.Directory)

    def stat(self) -> os.stat_result:
        """Size and time of the last change alone."""
        return _build_stat_result(self._info(), str(self))

    def read_bytes(self) -> bytes:
        with self._system.open_input_stream(str(self.plain)) as file:
            return bytes(file.read())

    def write_bytes(self, content: bytes) -> int:
        with self._system.open_output_stream(str(self.plain)) as file:
            file.write(content)
        return len(content)

    def unlink(self, missing_ok: bool = False) -> None:
        try:
            self._system.delete_file(str(self.plain))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        """Unlike a folder's, with all that is below it."""
        self._system.delete_dir(str(self.plain))

    def iterdir(self) -> Iterator[ObjectPath]:
        return (path for path, _ in self.scan())

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """By a pattern for names in this folder; with `/` at its end for folders alone."""
        for path, status in self.scan():
            if fnmatchcase(path.name, pattern.rstrip("/")) and not (
                pattern.endswith("/") and status.st_mode & S_IFREG
            ):
                yield path

    def rglob(self, pattern: str) -> Iterator[ObjectPath]:
        return (path for path, _ in self.scan(recursive=True) if fnmatchcase(path.name, pattern))

    def scan(self, recursive: bool = False) -> Iterator[tuple[ObjectPath, os.stat_result]]:
        """What is in this folder, if it is there, by one request in a thousand."""
        from pyarrow.fs import FileSelector

        chosen = FileSelector(str(self.plain), recursive=recursive, allow_not_found=True)
        for info in self._system.get_file_info(chosen):
            path = ObjectPath(self.scheme, PurePosixPath(info.path), self.options)
            yield path, _build_stat_result(info, str(path))

    def _info(self) -> FileInfo:
        return self._system.get_file_info([str(self.plain)])[0]

    @property
    def _system(self) -> FileSystem:
        bucket = self.plain.parts[0]
        return _system(f"{self.scheme}://{bucket}{f'?{self.options}' if self.options else ''}")


StoragePath = Path | ObjectPath
"""A folder or file, on this machine or in a bucket."""


def parse_storage_path(text: str | StoragePath) -> StoragePath:
    """The place that is named by a path or an address. Raises `ValueError` for an address of another kind, and for
    a home that is not there."""
    if isinstance(text, ObjectPath):
        return text
    scheme, mark, rest = str(text).partition("://")
    if not mark:
        try:
            return Path(text).expanduser().absolute()
        except RuntimeError:
            raise ValueError(
                f"{text} names a home folder that does not exist; set HOME, or name a full path"
            ) from None
    plain, _, options = rest.partition("?")
    if scheme not in SCHEMES:
        raise ValueError(
            f"{scheme}:// is no kind of storage; there are {', '.join(f'{s}://' for s in SCHEMES)}"
        )
    if not plain.strip("/") or "@" in plain:
        raise ValueError(
            f"{scheme}://BUCKET/FOLDER is meant, with keys in the environment and not in the address"
        )
    return ObjectPath(scheme, PurePosixPath(plain.strip("/")), options)


def scan_files(folder: StoragePath) -> Iterator[tuple[StoragePath, os.stat_result]]:
    """The files of a folder, if it is there, with their sizes and times."""
    if isinstance(folder, ObjectPath):
        yield from folder.scan()
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:  # removed meanwhile
                continue
            yield Path(entry.path), status


def find_paths(folder: StoragePath, pattern: str) -> list[StoragePath]:
    """What is in a folder by a pattern for names, in order; with `/` at its end folders alone."""
    return sorted(folder.glob(pattern), key=str)


def remove_tree(folder: StoragePath) -> None:
    """Remove a folder with all that is in it. Raises `OSError`."""
    if isinstance(folder, ObjectPath):
        folder.rmdir()
    else:
        shutil.rmtree(folder)


def _build_stat_result(info: FileInfo, name: str) -> os.stat_result:
    from pyarrow.fs import FileType

    if info.type == FileType.NotFound:
        raise FileNotFoundError(f"{name} is not there")
    mode, changed = (
        S_IFREG if info.is_file else S_IFDIR,
        info.mtime.timestamp() if info.mtime else 0.0,
    )
    given: tuple[Any, ...] = (mode, 0, 0, 1, 0, 0, info.size or 0, changed, changed, changed)
    return os.stat_result(given)


@lru_cache
def _system(bucket: str) -> FileSystem:
    """The filesystem of a bucket; its keys are where its kind looks for them."""
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(bucket)[0]
