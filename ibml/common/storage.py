"""Checkpoint storage: local folders, and buckets (`s3://`, `gs://`) through pyarrow, as in Ray."""

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
"""Supported URL schemes."""


@dataclass(frozen=True)
class ObjectPath:
    """Path of an object or folder in a bucket, with the methods of `pathlib.Path` that ibml uses.

    A folder exists as soon as it contains an object. Writes are atomic. Methods raise `OSError`;
    it is `FileNotFoundError` if there is no such object.

    Attributes:
        scheme: `s3` or `gs`.
        plain: Bucket and path inside it.
        options: Options of pyarrow's filesystem, such as `endpoint_override=HOST:PORT&scheme=http`.
    """

    scheme: str
    plain: PurePosixPath
    options: str = ""

    def __str__(self) -> str:
        return self._format_url(str(self.plain))

    def _format_url(self, place: str) -> str:
        query = f"?{self.options}" if self.options else ""
        return f"{self.scheme}://{place}{query}"

    def __truediv__(self, name: str) -> ObjectPath:
        return self.joinpath(name)

    def joinpath(self, *names: str) -> ObjectPath:
        """Return the path of a file or folder below this one."""
        return ObjectPath(self.scheme, self.plain.joinpath(*names), self.options)

    @property
    def name(self) -> str:
        """Last part of the path."""
        return self.plain.name

    @property
    def stem(self) -> str:
        """Last part of the path, without its suffix."""
        return self.plain.stem

    @property
    def parent(self) -> ObjectPath:
        """Folder that contains this path."""
        return ObjectPath(self.scheme, self.plain.parent, self.options)

    def absolute(self) -> ObjectPath:
        """Return this path, which is always absolute."""
        return self

    def exists(self) -> bool:
        """Return True if there is an object or a folder at this path."""
        from pyarrow.fs import FileType

        return bool(self._info().type != FileType.NotFound)

    def is_file(self) -> bool:
        """Return True if there is an object at this path."""
        return bool(self._info().is_file)

    def is_dir(self) -> bool:
        """Return True if there is a folder at this path."""
        from pyarrow.fs import FileType

        return bool(self._info().type == FileType.Directory)

    def stat(self) -> os.stat_result:
        """Return the type, size and modification time; all other fields are placeholders."""
        return _build_stat_result(self._info(), str(self))

    def read_bytes(self) -> bytes:
        """Return the content of the object."""
        with self._filesystem.open_input_stream(str(self.plain)) as file:
            return bytes(file.read())

    def write_bytes(self, content: bytes) -> int:
        """Write the object and return the number of bytes."""
        with self._filesystem.open_output_stream(str(self.plain)) as file:
            file.write(content)
        return len(content)

    def unlink(self, missing_ok: bool = False) -> None:
        """Delete the object.

        Args:
            missing_ok: Do not raise if there is no such object.
        """
        try:
            self._filesystem.delete_file(str(self.plain))
        except FileNotFoundError:
            if not missing_ok:
                raise

    def rmdir(self) -> None:
        """Delete the folder with all its content, unlike `pathlib.Path.rmdir`."""
        self._filesystem.delete_dir(str(self.plain))

    def iterdir(self) -> Iterator[ObjectPath]:
        """Return an iterator over the content of the folder; a missing folder is empty."""
        return (path for path, _ in self.scan())

    def glob(self, pattern: str) -> Iterator[ObjectPath]:
        """Yield the content of the folder that matches a pattern.

        Args:
            pattern: Pattern of names; a trailing `/` selects folders only.

        Yields:
            The matching paths.
        """
        only_folders = pattern.endswith("/")
        for path, status in self.scan():
            is_excluded = only_folders and status.st_mode & S_IFREG
            if fnmatchcase(path.name, pattern.rstrip("/")) and not is_excluded:
                yield path

    def rglob(self, pattern: str) -> Iterator[ObjectPath]:
        """Return an iterator over all paths below the folder whose names match a pattern."""
        return (path for path, _ in self.scan(recursive=True) if fnmatchcase(path.name, pattern))

    def scan(self, recursive: bool = False) -> Iterator[tuple[ObjectPath, os.stat_result]]:
        """List the folder (empty if missing) with one request per 1,000 entries.

        Args:
            recursive: Include the content of subfolders.

        Yields:
            The path and the status of each entry.
        """
        from pyarrow.fs import FileSelector

        chosen = FileSelector(str(self.plain), recursive=recursive, allow_not_found=True)
        for info in self._filesystem.get_file_info(chosen):
            path = ObjectPath(self.scheme, PurePosixPath(info.path), self.options)
            yield path, _build_stat_result(info, str(path))

    def _info(self) -> FileInfo:
        return self._filesystem.get_file_info([str(self.plain)])[0]

    @property
    def _filesystem(self) -> FileSystem:
        return _open_filesystem(self._format_url(self.plain.parts[0]))


StoragePath = Path | ObjectPath
"""Path of a file or folder, local or in a bucket."""


def parse_storage_path(text: str | StoragePath) -> StoragePath:
    """Parse a local path or the URL of a place in a bucket.

    Args:
        text: Path, `s3://BUCKET/FOLDER` or `gs://BUCKET/FOLDER`.

    Returns:
        The absolute path.

    Raises:
        ValueError: If the scheme is unsupported, the URL is incomplete or has credentials, or the
            home folder of `~` does not exist.
    """
    if isinstance(text, ObjectPath):
        return text
    scheme, mark, rest = str(text).partition("://")
    if not mark:
        try:
            return Path(text).expanduser().absolute()
        except RuntimeError:
            raise ValueError(
                f"{text} names a home folder that does not exist; set HOME, or use an absolute path"
            ) from None
    plain, _, options = rest.partition("?")
    if scheme not in SCHEMES:
        known = ", ".join(f"{known_scheme}://" for known_scheme in SCHEMES)
        raise ValueError(f"{scheme}:// is not a supported kind of storage; known: {known}")
    if not plain.strip("/") or "@" in plain:
        raise ValueError(
            f"the URL must have the form {scheme}://BUCKET/FOLDER, without credentials: pass those"
            " in environment variables"
        )
    return ObjectPath(scheme, PurePosixPath(plain.strip("/")), options)


def scan_files(folder: StoragePath) -> Iterator[tuple[StoragePath, os.stat_result]]:
    """Yield the files of a folder with their status.

    Args:
        folder: Folder to list. In a bucket, a missing folder is empty.

    Yields:
        The path and the status of each entry.

    Raises:
        OSError: If the folder cannot be listed.
    """
    if isinstance(folder, ObjectPath):
        yield from folder.scan()
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                status = entry.stat()
            except OSError:  # removed since it was listed
                continue
            yield Path(entry.path), status


def find_paths(folder: StoragePath, pattern: str) -> list[StoragePath]:
    """Return the content of a folder that matches a pattern, sorted.

    Args:
        folder: Folder to search.
        pattern: Pattern of names; a trailing `/` selects folders only.

    Returns:
        The matching paths, sorted as text.
    """
    return sorted(folder.glob(pattern), key=str)


def remove_tree(folder: StoragePath) -> None:
    """Remove a folder with all its content.

    Args:
        folder: Folder to remove.

    Raises:
        OSError: If something cannot be removed.
    """
    if isinstance(folder, ObjectPath):
        folder.rmdir()
    else:
        shutil.rmtree(folder)


def _build_stat_result(info: FileInfo, name: str) -> os.stat_result:
    from pyarrow.fs import FileType

    if info.type == FileType.NotFound:
        raise FileNotFoundError(f"{name} does not exist")
    mode = S_IFREG if info.is_file else S_IFDIR
    changed = info.mtime.timestamp() if info.mtime else 0.0
    given: tuple[Any, ...] = (mode, 0, 0, 1, 0, 0, info.size or 0, changed, changed, changed)
    return os.stat_result(given)


@lru_cache
def _open_filesystem(bucket: str) -> FileSystem:
    """Return the filesystem of a bucket; pyarrow finds the credentials in their usual places."""
    from pyarrow.fs import FileSystem

    return FileSystem.from_uri(bucket)[0]
