"""Split lists: rows of cells with or without a header, checked against a format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from ibml.data.listing import SampleListing, SplitName

ListRow = tuple[str, list[str]]
"""Location and cells of a row."""
Record = dict[str, str]
"""Cells of a row by column."""

LABEL_WORDS = ("label", "class", "category", "emotion", "class name", "label name")
CLIP_WORDS = (
    "clip",
    "id",
    "name",
    "file",
    "filename",
    "file name",
    "video",
    "video id",
    "videoid",
    "youtube id",
    "ytid",
)
SPLIT_WORDS: dict[str, SplitName] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "dev": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
_TRIED = 20
"""Number of rows whose files are looked up to detect the order of the columns."""


@dataclass(frozen=True)
class ListFormat:
    """Columns of a list in their usual order.

    Attributes:
        description: The order as messages show it.
        columns: Columns that every row has -> words by which a header may name them.
        optional: Columns that are recognized by a header alone -> words.
        numbers: Columns whose cells are numbers.
    """

    description: str
    columns: Mapping[str, Sequence[str]]
    optional: Mapping[str, Sequence[str]] = field(default_factory=dict)
    numbers: frozenset[str] = frozenset()


def read_list(
    listing: SampleListing,
    split: SplitName,
    rows: Iterable[ListRow],
    form: ListFormat,
    count_files: Callable[[Record], int],
    find_positions: Callable[[Sequence[ListRow]], dict[str, int] | None] = lambda rows: None,
) -> Iterator[tuple[str, Record]]:
    """Yield the valid rows of a list; the others become issues of the listing.

    A header determines the order of the columns. Without a header it is the order of the format, or
    the one that `find_positions` detects in the content.

    Two mistakes are fatal issues: a row with more text after its columns, since the commas of its
    label are not quoted, and a list whose files exist in another order of the columns.

    Args:
        listing: Receives the issues.
        split: Split of the list.
        rows: All rows of the list.
        form: Format of the list.
        count_files: Counts the existing files of a row.
        find_positions: Detects another order in the content and returns the position of each
            column; None for the usual order.

    Yields:
        Location and record of each valid row.
    """
    given = list(rows)
    positions = _find_header_positions(given[0][1], form) if given else None
    has_header = positions is not None
    body = given[1:] if has_header else given
    if positions is None:
        positions = find_positions(body) or {name: place for place, name in enumerate(form.columns)}
    expected = f"expected {form.description}"
    if missing := [name for name in form.columns if name not in positions]:
        message = f"its header has no column {missing[0]}; {expected}"
        listing.add_fatal_issue(given[0][0], message)
        return
    if not has_header and (order := _find_other_order(body, form, positions, count_files)):
        message = f"has the columns {','.join(order)} according to its files; {expected}"
        listing.add_fatal_issue(body[0][0], message)
        return
    width = len(given[0][1]) if has_header else 0
    yield from _parse_rows(listing, split, body, form, positions, width)


def _parse_rows(
    listing: SampleListing,
    split: SplitName,
    rows: Sequence[ListRow],
    form: ListFormat,
    positions: Mapping[str, int],
    width: int,
) -> Iterator[tuple[str, Record]]:
    """Yield the rows as records; `width` is the number of cells of the header, 0 without one."""
    for where, cells in rows:
        record = _parse_record(cells, positions, form)
        if record is None:
            listing.add_issue(split, where, f"expected {form.description}")
        elif _has_more_text(cells, max(positions.values()) + 1, width):
            quotes = "; a label with commas needs quotes" if "," in form.description else ""
            message = f"has {len(cells)} cells{quotes}; expected {form.description}"
            listing.add_fatal_issue(where, message)
            return
        else:
            yield where, record


def _has_more_text(cells: Sequence[str], known: int, width: int) -> bool:
    """Return True if a cell after the columns may be the rest of a label.

    That is a text which is not a number, a split or a path.
    """
    if width:
        return len(cells) > width
    return any(not _is_plain(cell) for cell in cells[known:])


def _is_plain(cell: str) -> bool:
    text = cell.strip()
    if not text or _is_number(text) or text.lower() in SPLIT_WORDS:
        return True
    return bool(re.fullmatch(r"\S*[./]\w+", text))


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9]+(\.[0-9]*)?", text))


def _parse_record(
    cells: Sequence[str], positions: Mapping[str, int], form: ListFormat
) -> Record | None:
    """Return the cells by column; None if one is missing, empty, or should be a number."""
    if len(cells) <= max(positions.values()):
        return None
    record = {name: cells[place].strip() for name, place in positions.items()}
    if not all(record.values()):
        return None
    if not all(_is_number(record[name]) for name in form.numbers):
        return None
    return record


def _find_header_positions(cells: Sequence[str], form: ListFormat) -> dict[str, int] | None:
    """Return the position of each column that a header names, or None for any other row.

    A row is a header if its cells name at least two columns.
    """
    words = [re.sub(r"[\s_-]+", " ", cell.strip(" \t#.").lower()) for cell in cells]
    found: dict[str, int] = {}
    for name, known in {**form.columns, **form.optional}.items():
        places = [place for place, word in enumerate(words) if word in known]
        if places:
            found[name] = places[0]
    return found if len(set(found.values())) > 1 else None


def _find_other_order(
    rows: Sequence[ListRow],
    form: ListFormat,
    positions: Mapping[str, int],
    count_files: Callable[[Record], int],
) -> list[str] | None:
    """Return the order of the columns in which most files exist.

    Returns None if files exist in the usual order, or are rare in every order.
    """
    tried = [cells for _, cells in rows[:_TRIED]]

    def count(order: Mapping[str, int]) -> int:
        total = 0
        for cells in tried:
            if record := _parse_record(cells, order, form):
                total += count_files(record)
        return total

    if not tried or count(positions):
        return None
    places = sorted(positions[name] for name in form.columns)
    orders = [dict(zip(order, places, strict=True)) for order in permutations(form.columns)]
    counts = [count(order) for order in orders]
    best = max(counts)
    return list(orders[counts.index(best)]) if best >= len(tried) else None
