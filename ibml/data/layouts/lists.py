"""Split lists: rows of cells, their header where they have one, and rows that are not as expected."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import permutations

from ibml.data.listing import SampleListing, SplitName

ListRow = tuple[str, list[str]]
"""The place of a row, and its cells."""
Record = dict[str, str]
"""The cells of a row by their columns."""

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
"""Rows whose files are looked for to tell which column is which."""


@dataclass(frozen=True)
class ListFormat:
    """The columns of a list in their order, each with the words that a header may have for it.

    Attributes:
        words: The order as messages show it.
        columns: The columns that every row has.
        optional: Columns that are known by a header alone.
        numbers: Columns that are numbers.
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
    """Yield the rows of a list that are as expected; the others become damage of the listing.

    A header says which column is which. Without one the order is that of the format, or what `find_positions` finds in
    the content. A row with more text after its columns has a label whose commas are not quoted, and a list whose files
    exist in another order of the columns has that order: both make the data set useless.

    Args:
        listing: Takes the damage.
        split: The split that the list is of.
        rows: All rows of the list.
        form: Its columns.
        count_files: How many of a row's files are there.
        find_positions: Tells another order by the content: column -> place; none where the order is the usual one.
    """
    given = list(rows)
    positions = _find_header_positions(given[0][1], form) if given else None
    has_header = positions is not None
    body = given[1:] if has_header else given
    if positions is None:
        positions = find_positions(body) or {name: place for place, name in enumerate(form.columns)}
    if missing := [name for name in form.columns if name not in positions]:
        listing.add_fatal_issue(
            given[0][0], f"its header names no {missing[0]}; expected {form.description}"
        )
        return
    if not has_header and (order := _find_other_order(body, form, positions, count_files)):
        listing.add_fatal_issue(
            body[0][0],
            f"has the columns {','.join(order)} by its files; expected {form.description}",
        )
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
    """The rows as records; of a list with a header, each has its `width`."""
    for where, cells in rows:
        record = _parse_record(cells, positions, form)
        if record is None:
            listing.add_issue(split, where, f"expected {form.description}")
        elif _has_more_text(cells, max(positions.values()) + 1, width):
            quotes = "; a label with commas needs quotes" if "," in form.description else ""
            listing.add_fatal_issue(
                where, f"has {len(cells)} cells{quotes}; expected {form.description}"
            )
            return
        else:
            yield where, record


def _has_more_text(cells: Sequence[str], known: int, width: int) -> bool:
    """Whether a row goes on after its columns with what may be the rest of a label: no number, split or path."""
    if width:
        return len(cells) > width
    return any(not _is_plain(cell) for cell in cells[known:])


def _is_plain(cell: str) -> bool:
    text = cell.strip()
    return (
        not text
        or _is_number(text)
        or text.lower() in SPLIT_WORDS
        or bool(re.fullmatch(r"\S*[./]\w+", text))
    )


def _is_number(text: str) -> bool:
    return bool(re.fullmatch(r"-?[0-9]+(\.[0-9]*)?", text))


def _parse_record(
    cells: Sequence[str], positions: Mapping[str, int], form: ListFormat
) -> Record | None:
    """The cells by columns; none where one is missing, empty, or no number although it should be."""
    if len(cells) <= max(positions.values()):
        return None
    record = {name: cells[place].strip() for name, place in positions.items()}
    return (
        record
        if all(record.values()) and all(_is_number(record[name]) for name in form.numbers)
        else None
    )


def _find_header_positions(cells: Sequence[str], form: ListFormat) -> dict[str, int] | None:
    """Column -> place as a header says it; none for a row that is no header: two columns at least are named by it."""
    words = [re.sub(r"[\s_-]+", " ", cell.strip(" \t#.").lower()) for cell in cells]
    found = {
        name: next(place for place, word in enumerate(words) if word in known)
        for name, known in {**form.columns, **form.optional}.items()
        if any(word in known for word in words)
    }
    return found if len(set(found.values())) > 1 else None


def _find_other_order(
    rows: Sequence[ListRow],
    form: ListFormat,
    positions: Mapping[str, int],
    count_files: Callable[[Record], int],
) -> list[str] | None:
    """The order of the columns in which most files exist, where none does in the usual one."""
    tried = [cells for _, cells in rows[:_TRIED]]

    def count(order: Mapping[str, int]) -> int:
        records = [record for cells in tried if (record := _parse_record(cells, order, form))]
        return sum(map(count_files, records))

    if not tried or count(positions):
        return None
    places = sorted(positions[name] for name in form.columns)
    orders = [dict(zip(order, places, strict=True)) for order in permutations(form.columns)]
    counts = [count(order) for order in orders]
    best = max(counts)
    return list(orders[counts.index(best)]) if best >= len(tried) else None
