"""What the split files of a data set list: samples, the files of their modalities, and what is wrong with them."""

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
"""How many of the things that are wrong an error names; the rest is counted."""


class DataError(IbmlError):
    """A data set that is not there, or has samples that cannot be used."""


@dataclass(frozen=True)
class SamplePart:
    """What one modality of a sample is read from: files below the root, or a text; of a file with many samples, the
    place inside it."""

    files: tuple[str, ...] = ()
    text: str | None = None
    inside: str = ""


@dataclass(frozen=True)
class Sample:
    """A sample: the line that lists it, a name that tells it apart, its label, and its parts by modality."""

    where: str
    name: str
    label: str
    parts: dict[str, SamplePart]


@dataclass(frozen=True)
class DataIssue:
    """Why a sample cannot be used. Of one modality alone where it has one; `fatal` things are never skipped."""

    where: str
    message: str
    split: SplitName | None = None
    modality: str | None = None
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass
class SampleListing:
    """A layout's rows by split, in the order of the files, and the damage found while they were listed."""

    root: Path
    needed: tuple[SplitName, ...] = ("train", "test")
    """The splits without which the data set is useless."""
    rows: dict[SplitName, list[Sample]] = field(default_factory=dict)
    issues: list[DataIssue] = field(default_factory=list)
    _inside: dict[str, bool] = field(default_factory=dict)
    """Folders that own tables name: whether they are in the root when links are followed."""

    def add(self, split: SplitName, row: Sample) -> None:
        for what, text in (("name", row.name), ("label", row.label)):
            if not is_one_line(text):
                self.add_issue(
                    split,
                    row.where,
                    f"its {what} {text[:60]!r} has characters that cannot be shown",
                )
                return
        self.rows.setdefault(split, []).append(row)

    def add_fatal_issue(self, where: str, message: str) -> None:
        """Something that makes the whole data set useless."""
        self.issues.append(DataIssue(where, message, fatal=True))

    def add_issue(
        self, split: SplitName, where: str, message: str, modality: str | None = None
    ) -> None:
        """Something that makes one sample useless."""
        self.issues.append(DataIssue(where, message, split, modality))

    def has(self, file: str) -> bool:
        return os.path.exists(self.root / file)  # noqa: PTH110 - Path.exists raises for a name that is too long

    def read_lines(self, file: str) -> Generator[tuple[str, str]]:
        """The lines of a text file that are not empty, each with its place."""
        for number, line in enumerate(self._read_text(file), 1):
            if line.strip():
                yield f"{file}:{number}", line.strip("\r\n")

    def read_csv(self, file: str, delimiter: str = ",") -> Iterator[tuple[str, list[str]]]:
        """The rows of a CSV file that are not empty, each with the place where it begins."""
        # strict, since else a quote that is never closed swallows all rows after it
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
            if self.has(file) and not path.is_file():  # opening a pipe would wait for ever
                self.add_fatal_issue(file, "is no file")
                return
            with path.open(encoding="utf-8-sig", newline=newline) as stream:
                yield from stream
        except OSError as error:
            self.add_fatal_issue(file, f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.add_fatal_issue(file, "is not UTF-8 text")

    def read_json_lines(self, file: str, split: SplitName) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a file of JSON lines, each with its place."""
        for where, line in self.read_lines(file):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                self.add_issue(split, where, f"is not JSON: {error}")
                continue
            if isinstance(found, dict):
                yield where, found
            else:
                self.add_issue(split, where, "is no JSON object")

    def resolve_path(self, path: str, where: str) -> str | None:
        """The path of a file as the root has it; none, and the data set refused, for one that leads elsewhere."""
        problem = find_path_problem(path)
        if problem is None:
            return "/".join(part for part in path.split("/") if part not in ("", "."))
        self.add_fatal_issue(where, f"{path[:80]!r} {problem}")
        return None

    def resolve_user_path(self, path: str, where: str) -> str | None:
        """Return the path of a file that a user's own table names, relative to the root.

        Backslashes count as slashes, and an absolute path below the root is taken. No path leaves the root, by links
        neither: that refuses the data set.
        """
        plain = path.replace("\\", "/")
        problem = find_foreign_path_problem(path) or find_path_problem(plain.lstrip("/"))
        inside = plain if problem or not plain.startswith("/") else self._make_relative(plain)
        if problem is None and (inside is None or not self._is_inside_root(inside)):
            by_link = (
                ""
                if inside is None
                else " by a link; take a data.root that has what the link leads to"
            )
            problem = f"leads out of the data set's folder{by_link}"
        if problem is None and inside is not None:
            return self.resolve_path(inside, where)
        self.add_fatal_issue(where, f"{path[:80]!r} {problem}")
        return None

    def _make_relative(self, path: str) -> str | None:
        """An absolute path as one relative to the root; none for one that is not below it."""
        for base in (self.root.absolute(), self.root.resolve()):
            if Path(path).is_relative_to(base):
                return Path(path).relative_to(base).as_posix()
        return None

    def _is_inside_root(self, path: str) -> bool:
        """Whether a path below the root is there too when its links are followed."""
        folder, _, _ = path.rpartition("/")
        if folder not in self._inside:
            self._inside[folder] = _is_below(self.root / folder, self.root.resolve())
        file = self.root / path
        return self._inside[folder] and (
            not os.path.islink(file) or _is_below(file, self.root.resolve())
        )  # noqa: PTH114

    def list_names(self, folder: str) -> list[str]:
        """What is in a folder, sorted; raises `OSError`. Hidden files are left out: other systems leave such behind."""
        return sorted(name for name in os.listdir(self.root / folder) if not name.startswith("."))  # noqa: PTH208

    def list_frames(self, split: SplitName, folder: str, where: str, modality: str) -> SamplePart:
        """The pictures in a folder, in the order of the numbers in their names."""
        try:
            names = [name for name in self.list_names(folder) if name.lower().endswith(PICTURES)]
        except FileNotFoundError:
            self.add_issue(split, where, f"the folder {folder} does not exist", modality)
            return SamplePart()
        except OSError as error:
            self.add_issue(
                split, where, f"the folder {folder} cannot be read: {error.strerror}", modality
            )
            return SamplePart()
        if not names:
            self.add_issue(split, where, f"the folder {folder} has no pictures", modality)
        if odd := [name for name in names if not is_one_line(name)]:
            self.add_issue(
                split,
                where,
                f"{folder} has {odd[0]!r}, which has characters that cannot be shown",
                modality,
            )
            return SamplePart()
        return SamplePart(
            tuple(f"{folder}/{name}" for name in sorted(names, key=build_natural_sort_key))
        )


def is_one_line(text: str) -> bool:
    """Whether an error that has the text says what it seems to say."""
    return is_printable(text) and not re.search("[\n\t\u2028\u2029]", text)


def find_foreign_path_problem(path: str) -> str | None:
    """Return why a path cannot be one of a file on this machine; none if it can."""
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+://", path):
        return "is a URL; files must be in the data set's folder"
    if re.match(r"[A-Za-z]:|\\\\", path):
        return "is a path of Windows with a drive; write it relative to the data set's folder"
    if path.startswith("~"):
        return "begins with ~, which is not expanded; write it relative to the data set's folder"
    return None


def _is_below(path: Path, root: Path) -> bool:
    try:
        return path.resolve().is_relative_to(root)
    except (OSError, RuntimeError, ValueError):  # a loop of links, or a name that no file can have
        return True  # it leads nowhere, which is found when it is read


def find_path_problem(path: str) -> str | None:
    """Why a path of a data set's own files cannot be used, if so."""
    if not is_one_line(path):
        return "has characters that cannot be shown"
    if path.startswith(("/", "~")) or "\\" in path or re.match(r"[A-Za-z]:", path):
        return "leads out of the data set's folder"
    if ".." in path.split("/"):
        return "leads out of the data set's folder"
    return None if path.strip("./") else "is no path"


def build_natural_sort_key(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts 2.jpg before 10.jpg; of names that differ in zeros alone, the order is what it was."""
    return [
        (0, int(part), "") if part.isdecimal() else (1, 0, part)
        for part in re.split(r"(\d+)", name)
        if part
    ]


def build_data_error(
    name: str, root: Path, issues: Sequence[DataIssue], can_skip: bool = True
) -> DataError:
    """The error that names the first few of the things that are wrong, and counts the rest."""
    lines = [
        f"{name} in {root}: {len(issues)} thing{'s' if len(issues) > 1 else ''} wrong, so nothing was trained"
    ]
    lines += [f"  {issue}" for issue in issues[:SHOWN]]
    if len(issues) > SHOWN:
        lines.append(f"  and {len(issues) - SHOWN} more: see 'ibml data check'")
    if can_skip:
        lines.append(
            "  data.on_missing=skip trains without such samples and says how many they are"
        )
    return DataError("\n".join(lines))
