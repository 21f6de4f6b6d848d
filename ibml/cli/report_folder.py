"""Report folders: reports of studies and searches on disk, in place of earlier ones."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from ibml.cli.console import note_undrawable_names, out
from ibml.common.errors import IbmlError
from ibml.common.paths import join_escaped

if TYPE_CHECKING:
    from ibml.records import SearchRecord, StudyRecord

REPORTS = Path("reports")
"""Default parent folder of reports."""
MANIFEST = ".ibml-report.json"
"""File that lists the files of the last report in a folder, with their SHA-256."""


def write_study_report(
    study: StudyRecord, files: Mapping[str, str | bytes], to: Path | None, both: bool
) -> None:
    """Write the report of a study and print its path.

    Args:
        study: The study.
        files: Content by path below the report folder.
        to: Report folder, or a `.html` file for the page only; by default below `reports`.
        both: True if a search has the same name; the default folders differ then.

    Raises:
        IbmlError: If a file cannot be written.
    """
    from ibml.report.study.page import PAGE

    page = to if to is not None and to.suffix == ".html" else None
    folder = to or join_escaped(REPORTS, f"{study.name}/study" if both else study.name)
    with _wrap_write_errors(page or folder):
        if page:
            write_file(page, _encode(files[PAGE]))
        else:
            write_report(folder, files)
    note_undrawable_names(study)
    out.print(f"Report: {page or folder / PAGE}", soft_wrap=True)


def write_search_report(
    record: SearchRecord, files: Mapping[str, str | bytes], to: Path | None, both: bool
) -> None:
    """Write the report of a search and print its path.

    Args:
        record: The search.
        files: Content by path below the report folder.
        to: Report folder; by default below `reports`.
        both: True if a study has the same name; the default folders differ then.

    Raises:
        IbmlError: If `to` is a `.html` file or a file cannot be written.
    """
    from ibml.report.search.page import BEST, FILES, PAGE

    if to is not None and to.suffix == ".html":
        raise IbmlError(
            f"the report of a search is a folder, but {to} is named like a page; choose a name"
            " without .html"
        )
    folder = to or join_escaped(REPORTS, f"{record.name}/search" if both else record.name)
    with _wrap_write_errors(folder):
        write_report(folder, {name: files[name] for name in FILES if name in files})
    hint = ""
    if BEST in files and record.scheduler["type"] != "pbt":
        hint = f"; train the best with: ibml train {shlex.quote(str(folder / BEST))}"
    out.print(f"Report: {folder / PAGE}{hint}", soft_wrap=True)


@contextmanager
def _wrap_write_errors(place: Path) -> Iterator[None]:
    """Raise an `OSError` of the context as an `IbmlError` that names the report."""
    try:
        yield
    except OSError as error:
        raise IbmlError(f"the report cannot be written to {place}: {error.strerror}") from None


def write_report(folder: Path, files: Mapping[str, str | bytes]) -> None:
    """Write the files of a report in place of an earlier one.

    Files of the earlier report that the new one lacks are removed. A file counts as such only if
    the folder's manifest lists it with its present content, because users may keep other files in
    the folder.

    Args:
        folder: Report folder; created if missing.
        files: Content by path below the folder.

    Raises:
        OSError: If a file cannot be written.
    """
    before = _read_manifest(folder)
    contents = {name: _encode(content) for name, content in files.items()}
    for name, content in contents.items():
        write_file(folder / name, content)
    for name in before.keys() - contents.keys():
        _remove_unchanged(folder, name, before[name])
    manifest = {name: _hash_bytes(content) for name, content in sorted(contents.items())}
    write_file(folder / MANIFEST, json.dumps(manifest, indent=1, ensure_ascii=False).encode())


def write_file(path: Path, content: bytes) -> None:
    """Write a file and create its folder if missing; raise `OSError` if that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _encode(content: str | bytes) -> bytes:
    return content.encode() if isinstance(content, str) else content


def _read_manifest(folder: Path) -> dict[str, str]:
    """Return the digests of the last report's files by name; empty without a valid manifest."""
    try:
        found = json.loads((folder / MANIFEST).read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {str(name): str(digest) for name, digest in found.items()}


def _remove_unchanged(folder: Path, name: str, digest: str) -> None:
    """Remove a file of the earlier report unless it was changed or is outside the folder."""
    path = folder / name
    if Path(name).is_absolute() or ".." in Path(name).parts or path.is_symlink():
        return
    with suppress(OSError):
        if _hash_bytes(path.read_bytes()) == digest:
            path.unlink()


def _hash_bytes(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
