"""What the split files of a data set list: samples, the files of their modalities, and what is wrong with them."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ibml.config.base import IbmlError
from ibml.config.printable import is_printable

SplitName = Literal["train", "val", "test"]
SHOWN = 5
"""How many of the things that are wrong an error names; the rest is counted."""


class DataError(IbmlError):
    """A data set that is not there, or has samples that cannot be used."""


@dataclass(frozen=True)
class Part:
    """What one modality of a sample is read from: files below the root, or a text; of a file with many samples, the
    place inside it."""

    files: tuple[str, ...] = ()
    text: str | None = None
    inside: str = ""


@dataclass(frozen=True)
class Row:
    """A sample: the line that lists it, a name that tells it apart, its label, and its parts by modality."""

    where: str
    name: str
    label: str
    parts: dict[str, Part]


@dataclass(frozen=True)
class Damage:
    """Why a sample cannot be used. Of one modality alone where it has one; `fatal` things are never skipped."""

    where: str
    message: str
    split: SplitName | None = None
    modality: str | None = None
    fatal: bool = False

    def __str__(self) -> str:
        return f"{self.where}: {self.message}"


@dataclass
class Listing:
    """A layout's rows by split, in the order of the files, and the damage found while they were listed."""

    root: Path
    rows: dict[SplitName, list[Row]] = field(default_factory=dict)
    damages: list[Damage] = field(default_factory=list)

    def add(self, split: SplitName, row: Row) -> None:
        self.rows.setdefault(split, []).append(row)

    def stop(self, where: str, message: str) -> None:
        """Something that makes the whole data set useless."""
        self.damages.append(Damage(where, message, fatal=True))

    def skip(self, split: SplitName, where: str, message: str, modality: str | None = None) -> None:
        """Something that makes one sample useless."""
        self.damages.append(Damage(where, message, split, modality))

    def has(self, file: str) -> bool:
        return (self.root / file).exists()

    def lines(self, file: str) -> Iterator[tuple[str, str]]:
        """The lines of a text file that are not empty, each with its place."""
        try:
            with (self.root / file).open(encoding="utf-8-sig") as stream:
                for number, line in enumerate(stream, 1):
                    if text := line.strip("\r\n"):
                        yield f"{file}:{number}", text
        except OSError as error:
            self.stop(file, f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.stop(file, "is not UTF-8 text")

    def table(self, file: str) -> Iterator[tuple[str, list[str]]]:
        """The rows of a CSV file that are not empty, each with its place."""
        try:
            with (self.root / file).open(encoding="utf-8-sig", newline="") as stream:
                reader = csv.reader(stream)
                for cells in reader:
                    if any(cell.strip() for cell in cells):
                        yield f"{file}:{reader.line_num}", cells
        except OSError as error:
            self.stop(file, f"cannot be read: {error.strerror}")
        except UnicodeDecodeError:
            self.stop(file, "is not UTF-8 text")
        except csv.Error as error:
            self.stop(file, f"is not CSV: {error}")

    def objects(self, file: str, split: SplitName) -> Iterator[tuple[str, dict[str, Any]]]:
        """The objects of a file of JSON lines, each with its place."""
        for where, line in self.lines(file):
            try:
                found = json.loads(line)
            except (ValueError, RecursionError) as error:
                self.skip(split, where, f"is not JSON: {error}")
                continue
            if isinstance(found, dict):
                yield where, found
            else:
                self.skip(split, where, "is no JSON object")

    def file(self, path: str, where: str) -> str | None:
        """The path of a file as the root has it; none, and the data set refused, for one that leads elsewhere."""
        problem = path_problem(path)
        if problem is None:
            return "/".join(part for part in path.split("/") if part != ".")
        self.stop(where, f"{path[:80]!r} {problem}")
        return None

    def frames(
        self,
        split: SplitName,
        folder: str,
        where: str,
        modality: str,
        suffixes: Sequence[str] = (".jpg", ".jpeg", ".png"),
    ) -> Part:
        """The pictures in a folder, in the order of the numbers in their names."""
        try:
            names = [entry.name for entry in (self.root / folder).iterdir() if entry.suffix.lower() in suffixes]
        except OSError:
            self.skip(split, where, f"the folder {folder} does not exist", modality)
            return Part()
        if not names:
            self.skip(split, where, f"the folder {folder} has no pictures", modality)
        return Part(tuple(f"{folder}/{name}" for name in sorted(names, key=numbered)))


def path_problem(path: str) -> str | None:
    """Why a path of a data set's own files cannot be used, if so."""
    if not path or not is_printable(path):
        return "is no path"
    if path.startswith(("/", "~")) or "\\" in path or re.match(r"[A-Za-z]:", path):
        return "leads out of the data set's folder"
    if ".." in path.split("/"):
        return "leads out of the data set's folder"
    return None


def numbered(name: str) -> list[tuple[int, int, str]]:
    """A key that sorts 2.jpg before 10.jpg."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", name) if part]


def refused(name: str, root: Path, damages: Sequence[Damage], can_skip: bool = True) -> DataError:
    """The error that names the first few of the things that are wrong, and counts the rest."""
    lines = [f"{name} in {root}: {len(damages)} thing{'s' if len(damages) > 1 else ''} wrong, so nothing was trained"]
    lines += [f"  {damage}" for damage in damages[:SHOWN]]
    if len(damages) > SHOWN:
        lines.append(f"  and {len(damages) - SHOWN} more: see 'ibml data check'")
    if can_skip:
        lines.append("  data.on_missing=skip trains without such samples and says how many they are")
    return DataError("\n".join(lines))
