"""Samples that the split files of a data set list, and the issues found while listing them."""

from __future__ import annotations

import csv
import json
import os
import re
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ibml.common.errors import IbmlError
from ibml.common.sanitize import is_printable

SplitName = Literal["train", "val", "test"]
PICTURES = (".jpg", ".jpeg", ".png")
SHOWN = 5
"""Number of issues that an error names; the others are counted."""

_UNPRINTABLE = "has characters that cannot be shown"
_OUTSIDE = "leads out of the data set's folder"


class DataError(IbmlError):
    """A data set that does not exist or has samples that cannot be used."""


@dataclass(frozen=True)
class SamplePart:
    """Raw content of one modality of a sample: files, or a text.

    Attributes:
        files: Paths relative to the root of the data set.
        text: Text of the split file itself; None if the content is in files.
        inside: Place of the sample inside a file of many samples, for instance `data[3]`.
    """

    files: tuple[str, ...] = ()
    text: str | None = None
    inside: str = ""


@dataclass(frozen=True)
class Sample:
    """A listed sample.

    Attributes:
        where: Location in the split file, for instance `train.csv:3`.
        name: Name that identifies the sample within the data set.
        label: Name of its class.
        parts: Raw content by modality.
    """

    where: str
    name: str
    label: str
    parts: dict[str, SamplePart]


@dataclass(frozen=True)
class DataIssue:
    """Reason why a sample, or the data set as a whole, cannot be used.

    Attributes:
        where: Location of the issue: a line of a split file, a file or a split.
        message: Predicate of the sentence whose subject is the location.
        split: Split of the sample; None for the data set as a whole.
        modality: The modality concerned; None for all of them.
        fatal: True if the data set cannot be used even without the sample.
    """

    where: str
    message: str
    split: SplitName | None = None
    modality: str | None = None
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass
class SampleListing:
    """Samples of a data set by split, in the order of its split files, and the issues found.

    A layout fills the listing with `add`. Its methods read split files and report what is wrong
    with them as issues instead of raising errors.

    Attributes:
        root: Folder of the data set.
        needed: Splits without which the data set cannot be used.
        samples: Samples by split.
        issues: Issues found so far.
    """

    root: Path
    needed: tuple[SplitName, ...] = ("train", "test")
    samples: dict[SplitName, list[Sample]] = field(default_factory=dict)
    issues: list[DataIssue] = field(default_factory=list)
    _inside: dict[str, bool] = field(default_factory=dict)
    """Folders named by a user's tables -> True if they are in the root after following links."""

    def add(self, split: SplitName, sample: Sample) -> None:
        """Add a sample to a split, or an issue if its name or label cannot be shown."""
        for field_name, text in (("name", sample.name), ("label", sample.label)):
            if not is_one_line(text):
                message = f"its {field_name} {text[:60]!r} {_UNPRINTABLE}"
                self.add_issue(split, sample.where, message)
                return
        self.samples.setdefault(split, []).append(sample)

    def add_fatal_issue(self, where: str, message: str) -> None:
        """Report an issue that makes the whole data set unusable."""
        self.issues.append(DataIssue(where, message, fatal=True))

    def add_issue(
        self, split: SplitName, where: str, message: str, modality: str | None = None
    ) -> None:
        """Report an issue that makes one sample unusable.

        Args:
            split: Split of the sample.
            where: Location of the issue.
            message: Predicate of the sentence whose subject is the location.
            modality: Modality concerned; None for all of them.
        """
        self.issues.append(DataIssue(where, message, split, modality))

    def has(self, file: str) -> bool:
        """Return True if there is a file or folder of this path below the root."""
        # Path.exists raises for a name that is too long.
        return os.path.exists(self.root / file)  # noqa: PTH110

    def read_lines(self, file: str) -> Generator[tuple[str, str]]:
        """Yield the location and the content of every line of a text file that is not empty."""
        for number, line in enumerate(self._read_text(file), 1):
            if line.strip():
                yield f"{file}:{number}", line.strip("\r\n")

    def read_csv(self, file: str, delimiter: str = ",") -> Iterator[tuple[str, list[str]]]:
        """Yield the location of the first line and the cells of every row that is not empty."""
        # Without strict mode, a quote that is never closed would swallow all rows after it.
        reader = csv.reader(self._read_text(file, newline=""), delimiter=delimiter, strict=True)
        begin = 1
        try:
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield f"{file}:{begin}", cells
                begin = reader.line_num + 1
        except csv.Error as error:
            self.add_fatal_issue(f"{file}:{begin}", f"is not CSV: {error}")

    def _read_text(self, file: str, newline: str | None = None) -> Iterator[str]:
        path = self.root / file
        try:
            if self.has(file) and not path.is_file():  # opening a pipe would wait forever
                self.add_fatal_issue(file, "is not a file")
                return
            with path.open(encoding="utf-8-sig", newline=newline) as stream:
                yield from stream
        except OSError as error:
            self.add_fatal_issue(file, f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.add_fatal_issue(file, "is not UTF-8 text")

    def read_json_lines(self, file: str, split: SplitName) -> Iterator[tuple[str, dict[str, Any]]]:
        """Yield the location and the object of every line of a JSON lines file.

        Args:
            file: Path of the file below the root.
            split: Split of the issues for lines that are not JSON objects.

        Yields:
            Location and object.
        """
        for where, line in self.read_lines(file):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                self.add_issue(split, where, f"is not JSON: {error}")
                continue
            if isinstance(found, dict):
                yield where, found
            else:
                self.add_issue(split, where, "is not a JSON object")

    def resolve_path(self, path: str, where: str) -> str | None:
        """Normalize a path that a split file names.

        Args:
            path: Path relative to the root, with slashes.
            where: Location of the path, for the issue.

        Returns:
            The path relative to the root; None, with a fatal issue, if it leads out of the root.
        """
        problem = find_path_problem(path)
        if problem is None:
            return "/".join(part for part in path.split("/") if part not in ("", "."))
        self.add_fatal_issue(where, f"{path[:80]!r} {problem}")
        return None

    def resolve_user_path(self, path: str, where: str) -> str | None:
        """Normalize a path that a user's own table names.

        Backslashes count as slashes, and absolute paths below the root are accepted. Links must
        stay in the root.

        Args:
            path: Path as the table has it.
            where: Location of the path, for the issue.

        Returns:
            The path relative to the root; None, with a fatal issue, if it leads out of the root.
        """
        plain = path.replace("\\", "/")
        problem = find_foreign_path_problem(path) or find_path_problem(plain.lstrip("/"))
        inside: str | None = plain
        if problem is None and plain.startswith("/"):
            inside = self._make_relative(plain)
        if problem is None and inside is None:
            problem = _OUTSIDE
        elif problem is None and inside is not None and not self._is_inside_root(inside):
            problem = f"{_OUTSIDE} by a link; use a data.root that contains the link's target"
        if problem is None and inside is not None:
            return self.resolve_path(inside, where)
        self.add_fatal_issue(where, f"{path[:80]!r} {problem}")
        return None

    def _make_relative(self, path: str) -> str | None:
        """Return an absolute path relative to the root, or None if it is not below the root."""
        for base in (self.root.absolute(), self.root.resolve()):
            if Path(path).is_relative_to(base):
                return Path(path).relative_to(base).as_posix()
        return None

    def _is_inside_root(self, path: str) -> bool:
        """Return True if a path below the root stays there after following links."""
        folder, _, _ = path.rpartition("/")
        if folder not in self._inside:
            self._inside[folder] = _is_below(self.root / folder, self.root.resolve())
        if not self._inside[folder]:
            return False
        file = self.root / path
        is_link = os.path.islink(file)  # noqa: PTH114
        return not is_link or _is_below(file, self.root.resolve())

    def list_names(self, folder: str) -> list[str]:
        """List the names in a folder, sorted and without hidden files.

        Other systems leave hidden files behind, which are not part of a data set.

        Args:
            folder: Path of the folder below the root.

        Returns:
            Names of the files and folders.

        Raises:
            OSError: The folder cannot be read.
        """
        names = os.listdir(self.root / folder)  # noqa: PTH208
        return sorted(name for name in names if not name.startswith("."))

    def list_frames(self, split: SplitName, folder: str, where: str, modality: str) -> SamplePart:
        """List the images in a folder, in the order of the numbers in their names.

        Args:
            split: Split of the sample, for issues.
            folder: Path of the folder below the root.
            where: Location of the sample, for issues.
            modality: Modality of the frames, for issues.

        Returns:
            The files; none of them, with an issue, if the folder cannot be used.
        """
        try:
            names = [name for name in self.list_names(folder) if name.lower().endswith(PICTURES)]
        except FileNotFoundError:
            self.add_issue(split, where, f"the folder {folder} does not exist", modality)
            return SamplePart()
        except OSError as error:
            message = f"the folder {folder} cannot be read: {error.strerror}"
            self.add_issue(split, where, message, modality)
            return SamplePart()
        if not names:
            self.add_issue(split, where, f"the folder {folder} has no images", modality)
        if odd := [name for name in names if not is_one_line(name)]:
            message = f"{folder} contains {odd[0]!r}, which {_UNPRINTABLE}"
            self.add_issue(split, where, message, modality)
            return SamplePart()
        ordered = sorted(names, key=build_natural_sort_key)
        return SamplePart(tuple(f"{folder}/{name}" for name in ordered))


def is_one_line(text: str) -> bool:
    """Return True if the text is printable and has no line break or tab.

    Other texts could make an error message that quotes them say something else.
    """
    return is_printable(text) and not re.search("[\n\t\u2028\u2029]", text)


def find_foreign_path_problem(path: str) -> str | None:
    """Return why a path cannot name a file on this machine; None if it can."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        return "is a URL; files must be in the data set's folder"
    if re.match(r"[A-Za-z]:|\\\\", path):
        return "is a Windows path with a drive; write it relative to the data set's folder"
    if path.startswith("~"):
        return "begins with ~, which is not expanded; write it relative to the data set's folder"
    return None


def _is_below(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a name that no file can have
        return True  # it leads nowhere, which is found when it is read


def find_path_problem(path: str) -> str | None:
    """Return why a path in a data set's own files cannot be used; None if it can."""
    if not is_one_line(path):
        return _UNPRINTABLE
    if path.startswith(("/", "~")) or "\\" in path or re.match(r"[A-Za-z]:", path):
        return _OUTSIDE
    if ".." in path.split("/"):
        return _OUTSIDE
    return None if path.strip("./") else "is not a path"


def build_natural_sort_key(name: str) -> list[tuple[int, int, str]]:
    """Build a key that sorts 2.jpg before 10.jpg.

    Names that differ only in leading zeros have equal keys, so a stable sort keeps their order.
    """
    key: list[tuple[int, int, str]] = []
    for part in re.split(r"(\d+)", name):
        if part.isdecimal():
            key.append((0, int(part), ""))
        elif part:
            key.append((1, 0, part))
    return key


def build_data_error(
    name: str, root: Path, issues: Sequence[DataIssue], can_skip: bool = True
) -> DataError:
    """Build the error that names the first issues and counts the others.

    Args:
        name: Name of the data set.
        root: Folder of the data set.
        issues: All issues, at least one.
        can_skip: True if training is possible without the samples concerned.

    Returns:
        The error, with one line per issue shown.
    """
    number = "1 issue" if len(issues) == 1 else f"{len(issues)} issues"
    lines = [f"{name} in {root}: {number} found, so nothing was trained"]
    lines += [f"  {issue}" for issue in issues[:SHOWN]]
    if len(issues) > SHOWN:
        lines.append(f"  and {len(issues) - SHOWN} more; run 'ibml data check' to list them")
    if can_skip:
        lines.append("  Set data.on_missing=skip to train without these samples.")
    return DataError("\n".join(lines))
