"""Data of one's own: CSV tables or JSON lines with a row per sample and a column per modality."""

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


def list_samples(config: FolderConfig, listing: SampleListing) -> None:
    tables: list[tuple[SplitName | None, str]] = (
        [(None, config.tables)] if isinstance(config.tables, str) else [*config.tables.items()]
    )
    for split, table in tables:
        file = listing.resolve_user_path(table, "data.tables")
        if file is None:
            continue
        for where, cells in _read_rows(config, file, split, listing):
            own = split or SPLIT_WORDS.get(str(cells[config.split]).strip().lower())
            if own is None:
                listing.add_issue(
                    "train",
                    where,
                    f"split {str(cells[config.split])[:40]!r} is none of train, val and test",
                )
                continue
            _add(config, own, where, cells, listing)


def _read_rows(
    config: FolderConfig, file: str, split: SplitName | None, listing: SampleListing
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Each row that has all the columns, with its place."""
    needed = {config.label, *(part.column for part in config.columns.values())}
    needed |= ({config.split} if split is None else set()) | ({config.id} if config.id else set())
    lines = file.endswith((".jsonl", ".json"))
    rows = (
        listing.read_json_lines(file, split or "train")
        if lines
        else _read_csv_rows(file, split, listing, needed)
    )
    for where, cells in rows:
        missing = sorted(needed - set(cells))
        if not missing:
            yield where, cells
            continue
        message = f"has no column {missing[0]!r}{format_suggestion(missing[0], cells)}"
        if not lines:
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
            listing.add_issue(
                split or "train", where, f"has {len(cells)} cells, and the header {len(names)}"
            )
            continue
        yield where, dict(zip(names, cells, strict=True))


def _detect_delimiter(file: str, listing: SampleListing, needed: Collection[str]) -> str:
    """The separator with which the header has most of the columns; a comma where it is as good as another."""
    with closing(
        SampleListing(listing.root).read_lines(file)
    ) as lines:  # what is wrong with the file is found when it is read
        _, header = next(lines, ("", ""))

    def columns(delimiter: str) -> tuple[int, int]:
        try:
            names = {
                name.strip() for row in csv.reader([header], delimiter=delimiter) for name in row
            }
        except csv.Error:
            return 0, 0
        return len(names & set(needed)), len(names)

    return max(_DELIMITERS, key=columns)


def _add(
    config: FolderConfig,
    split: SplitName,
    where: str,
    cells: Mapping[str, Any],
    listing: SampleListing,
) -> None:
    for named in filter(None, (config.label, config.id)):
        if problem := _find_problem(cells[named]):
            listing.add_issue(split, where, f"{named!r} {problem}")
            return
    parts = {}
    for name, column in config.columns.items():
        part = _build_part(column, name, split, where, cells[column.column], listing)
        if part is None:
            return
        parts[name] = part
    name = str(cells[config.id]).strip() if config.id else _build_name(parts)
    listing.add(split, Sample(where, name, str(cells[config.label]).strip(), parts))


def _find_problem(cell: Any) -> str | None:
    """Why a cell of a JSON object, where anything may be, can be no label and no name."""
    if cell is None or isinstance(cell, list | dict):
        return "is no text and no number"
    return None if str(cell).strip() else "is empty"


def _build_name(parts: Mapping[str, SamplePart]) -> str:
    cells = [
        part.text if part.text is not None else ",".join(part.files) for part in parts.values()
    ]
    name = json.dumps(cells, ensure_ascii=False)
    return name if is_one_line(name) else json.dumps(cells)


def _build_part(
    column: ColumnConfig, name: str, split: SplitName, where: str, cell: Any, listing: SampleListing
) -> SamplePart | None:
    """None where the path leads out of the folder, which ends everything."""
    if isinstance(cell, list) and column.kind == "vector":
        return SamplePart(text=" ".join(map(str, cell)))
    if isinstance(cell, list | dict):
        listing.add_issue(split, where, f"{column.column!r} is no text and no number", name)
        return SamplePart()
    text = str(cell) if cell is not None else ""
    if column.kind == "text" or (column.kind == "vector" and not text.strip().endswith(".npy")):
        return SamplePart(text=text)
    path = text.strip()
    if not path:
        listing.add_issue(split, where, f"{column.column!r} is empty", name)
        return SamplePart()
    file = listing.resolve_user_path(path, where)
    if file is None:
        return None
    return (
        listing.list_frames(split, file, where, name)
        if column.kind == "frames"
        else SamplePart((file,))
    )
