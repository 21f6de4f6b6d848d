"""Layout of a user's own data: CSV tables or JSON lines, a row per sample."""

from __future__ import annotations

import csv
import json
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing
from typing import Any

from ibml.common.errors import format_suggestion
from ibml.config.preprocessing import ColumnConfig
from ibml.data.layouts.lists import SPLIT_WORDS
from ibml.data.listing import Sample, SampleListing, SamplePart, SplitName, is_one_line
from ibml.data.sets.folder.config import FolderConfig

_DELIMITERS = (",", ";", "\t", "|")
_NOT_SCALAR = "is not a text or a number"


def list_samples(config: FolderConfig, listing: SampleListing) -> None:
    """Add every row of the tables to the listing."""
    tables: list[tuple[SplitName | None, str]] = []
    if isinstance(config.tables, str):
        tables.append((None, config.tables))
    else:
        tables.extend(config.tables.items())
    for split, table in tables:
        file = listing.resolve_user_path(table, "data.tables")
        if file is None:
            continue
        for where, cells in _read_rows(config, file, split, listing):
            own = split or SPLIT_WORDS.get(str(cells[config.split]).strip().lower())
            if own is None:
                name = str(cells[config.split])[:40]
                message = f"split {name!r} is not one of train, val and test"
                listing.add_issue("train", where, message)
                continue
            _add(config, own, where, cells, listing)


def _read_rows(
    config: FolderConfig, file: str, split: SplitName | None, listing: SampleListing
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield location and cells of each row that has all the columns."""
    needed = {config.label, *(part.column for part in config.columns.values())}
    if split is None:
        needed.add(config.split)
    if config.id:
        needed.add(config.id)
    is_json = file.endswith((".jsonl", ".json"))
    rows: Iterator[tuple[str, Mapping[str, Any]]]
    if is_json:
        rows = listing.read_json_lines(file, split or "train")
    else:
        rows = _read_csv_rows(file, split, listing, needed)
    for where, cells in rows:
        missing = sorted(needed - set(cells))
        if not missing:
            yield where, cells
            continue
        message = f"has no column {missing[0]!r}{format_suggestion(missing[0], cells)}"
        if not is_json:
            listing.add_fatal_issue(f"{file}:1", message)
            return
        listing.add_issue(split or "train", where, message)


def _read_csv_rows(
    file: str, split: SplitName | None, listing: SampleListing, needed: Collection[str]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    rows = listing.read_csv(file, _detect_delimiter(file, listing, needed))
    first, header = next(rows, ("", []))
    names = [name.strip() for name in header]
    if twice := [name for name in names if names.count(name) > 1 and name]:
        listing.add_fatal_issue(first, f"has two columns {twice[0][:60]!r}")
        return
    for where, cells in rows:
        if len(cells) != len(names):
            message = f"has {len(cells)} cells, but the header has {len(names)}"
            listing.add_issue(split or "train", where, message)
            continue
        yield where, dict(zip(names, cells, strict=True))


def _detect_delimiter(file: str, listing: SampleListing, needed: Collection[str]) -> str:
    """Return the delimiter with which the header has most of the needed columns.

    The first of several equally good delimiters is taken.
    """
    # A listing apart: issues of the file are reported when it is read as a whole.
    with closing(SampleListing(listing.root).read_lines(file)) as lines:
        _, header = next(lines, ("", ""))

    def count_columns(delimiter: str) -> tuple[int, int]:
        try:
            rows = list(csv.reader([header], delimiter=delimiter))
        except csv.Error:
            return 0, 0
        names: set[str] = set()
        for row in rows:
            names.update(map(str.strip, row))
        return len(names & set(needed)), len(names)

    return max(_DELIMITERS, key=count_columns)


def _add(
    config: FolderConfig,
    split: SplitName,
    where: str,
    cells: Mapping[str, Any],
    listing: SampleListing,
) -> None:
    for column_name in filter(None, (config.label, config.id)):
        if problem := _find_problem(cells[column_name]):
            listing.add_issue(split, where, f"{column_name!r} {problem}")
            return
    parts = {}
    for modality, column in config.columns.items():
        part = _build_part(column, modality, split, where, cells[column.column], listing)
        if part is None:
            return
        parts[modality] = part
    name = str(cells[config.id]).strip() if config.id else _build_name(parts)
    listing.add(split, Sample(where, name, str(cells[config.label]).strip(), parts))


def _find_problem(cell: Any) -> str | None:
    """Return why a cell, which in JSON may be anything, cannot be a label or a name."""
    if cell is None or isinstance(cell, list | dict):
        return _NOT_SCALAR
    return None if str(cell).strip() else "is empty"


def _build_name(parts: Mapping[str, SamplePart]) -> str:
    """Build a name from the content, which identifies a sample without a column for it."""
    cells = []
    for part in parts.values():
        cells.append(",".join(part.files) if part.text is None else part.text)
    name = json.dumps(cells, ensure_ascii=False)
    return name if is_one_line(name) else json.dumps(cells)


def _build_part(
    column: ColumnConfig,
    modality: str,
    split: SplitName,
    where: str,
    cell: Any,
    listing: SampleListing,
) -> SamplePart | None:
    """Build the part of a cell; None, with a fatal issue, for a path that leads out of the root."""
    if isinstance(cell, list) and column.kind == "vector":
        return SamplePart(text=" ".join(map(str, cell)))
    if isinstance(cell, list | dict):
        listing.add_issue(split, where, f"{column.column!r} {_NOT_SCALAR}", modality)
        return SamplePart()
    text = str(cell) if cell is not None else ""
    if column.kind == "text" or (column.kind == "vector" and not text.strip().endswith(".npy")):
        return SamplePart(text=text)
    path = text.strip()
    if not path:
        listing.add_issue(split, where, f"{column.column!r} is empty", modality)
        return SamplePart()
    file = listing.resolve_user_path(path, where)
    if file is None:
        return None
    if column.kind == "frames":
        return listing.list_frames(split, file, where, modality)
    return SamplePart((file,))
