"""Which samples of a listing can be used, and what is wrong with the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ibml.common.errors import did_you_mean
from ibml.config.datasets import FilesConfig
from ibml.data.listing import Damage, Listing, Row, SplitName

EVALUATED: tuple[SplitName, ...] = ("val", "test")
ORDER: tuple[SplitName, ...] = ("test", "val", "train")
"""A sample in several splits stays in the first of these, so that what is evaluated on stays what it was."""


@dataclass(frozen=True)
class Checked:
    """The rows of each split that can be used, by their places in the listing, and everything that is wrong."""

    kept: dict[SplitName, list[int]]
    damages: list[Damage]
    classes: tuple[str, ...]


def check(
    listing: Listing,
    config: FilesConfig,
    unreadable: Mapping[tuple[SplitName, str], Mapping[int, str]],
    contents: Mapping[str, str | None],
) -> Checked:
    """Look at all samples. `unreadable` has what could not be decoded, by split, modality and place in the listing;
    `contents` the digest of every file, None for one that is not there."""
    used = set(config.modalities)
    damages = [d for d in listing.damages if d.modality is None or d.modality in used]
    hurt = {(d.split, d.where) for d in damages}
    kept: dict[SplitName, list[int]] = {}
    seen: dict[str, tuple[SplitName, str]] = {}
    for split in ORDER:
        kept[split] = []
        for position, row in enumerate(listing.rows.get(split, ())):
            if (split, row.where) in hurt:
                continue
            found = list(_row_damages(split, position, row, used, unreadable, contents))
            if row.name in seen:
                found.append(Damage(row.where, _twice(row, split, *seen[row.name]), split))
            else:
                seen[row.name] = (split, row.where)
            if found:
                damages += found
            else:
                kept[split].append(position)
    return _labelled(listing, kept, damages)


def _twice(row: Row, split: SplitName, other: SplitName, where: str) -> str:
    if split == other:
        return f"{row.name[:60]!r} is listed already, at {where}"
    return f"{row.name[:60]!r} is in {other} too, at {where}"


def _row_damages(
    split: SplitName,
    position: int,
    row: Row,
    used: set[str],
    unreadable: Mapping[tuple[SplitName, str], Mapping[int, str]],
    contents: Mapping[str, str | None],
) -> Iterable[Damage]:
    for name, part in row.parts.items():
        if name not in used:
            continue
        gone = [file for file in part.files if contents[file] is None]
        if gone:
            more = f", nor do {len(gone) - 1} more of this sample" if len(gone) > 1 else ""
            yield Damage(row.where, f"{gone[0]} does not exist{more}", split, name)
        elif message := unreadable.get((split, name), {}).get(position):
            yield Damage(row.where, f"{_shown(part.files, part.inside)} {message}", split, name)


def _shown(files: tuple[str, ...], inside: str) -> str:
    if not files:
        return "the text"
    place = files[0] if len(files) == 1 else files[0].rpartition("/")[0]
    return f"{place} ({inside})" if inside else place


def _labelled(listing: Listing, kept: dict[SplitName, list[int]], damages: list[Damage]) -> Checked:
    """Classes are the labels of training samples; others must have one of those."""
    counts = Counter(listing.rows["train"][position].label for position in kept["train"])
    classes = tuple(sorted(counts))
    for split in EVALUATED:
        known = []
        for position in kept[split]:
            row = listing.rows[split][position]
            if row.label in counts:
                known.append(position)
            else:
                hint = did_you_mean(row.label, classes)
                damages.append(Damage(row.where, f"no training sample has the label {row.label[:60]!r}{hint}", split))
        kept[split] = known
    for split in ORDER:
        listed = len(listing.rows.get(split, ()))
        if not kept[split] and (listed or split in listing.needed):
            message = f"none of its {listed} samples can be used" if listed else "has no samples"
            damages.append(Damage(f"the split {split}", message, fatal=True))
    if len(classes) == 1:
        damages.append(Damage("the split train", f"has one class only, {classes[0]!r}", fatal=True))
    return Checked(kept, damages, classes)
