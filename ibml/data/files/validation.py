"""Which samples of a listing can be used, and what is wrong with the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ibml.common.errors import format_suggestion
from ibml.config.datasets import FilesConfig
from ibml.data.listing import DataIssue, Sample, SampleListing, SplitName

EVALUATED: tuple[SplitName, ...] = ("val", "test")
ORDER: tuple[SplitName, ...] = ("test", "val", "train")
"""A sample in several splits stays in the first of these, so that what is evaluated on stays what it was."""


@dataclass(frozen=True)
class ValidationReport:
    """The rows of each split that can be used, by their places in the listing, and everything that is wrong."""

    usable: dict[SplitName, list[int]]
    issues: list[DataIssue]
    classes: tuple[str, ...]


def validate_samples(
    listing: SampleListing,
    config: FilesConfig,
    unreadable: Mapping[tuple[SplitName, str], Mapping[int, str]],
    contents: Mapping[str, str | None],
) -> ValidationReport:
    """Look at all samples. `unreadable` has what could not be decoded, by split, modality and place in the listing;
    `contents` the digest of every file, None for one that is not there."""
    used = set(config.modalities)
    issues = [d for d in listing.issues if d.modality is None or d.modality in used]
    hurt = {(d.split, d.where) for d in issues}
    usable: dict[SplitName, list[int]] = {}
    seen: dict[str, tuple[SplitName, str]] = {}
    for split in ORDER:
        usable[split] = []
        for position, row in enumerate(listing.rows.get(split, ())):
            if (split, row.where) in hurt:
                continue
            found = list(_find_issues(split, position, row, used, unreadable, contents))
            if row.name in seen:
                found.append(
                    DataIssue(row.where, _describe_duplicate(row, split, *seen[row.name]), split)
                )
            else:
                seen[row.name] = (split, row.where)
            if found:
                issues += found
            else:
                usable[split].append(position)
    return _check_labels(listing, usable, issues)


def _describe_duplicate(row: Sample, split: SplitName, other: SplitName, where: str) -> str:
    if split == other:
        return f"{row.name[:60]!r} is listed already, at {where}"
    return f"{row.name[:60]!r} is in {other} too, at {where}"


def _find_issues(
    split: SplitName,
    position: int,
    row: Sample,
    used: set[str],
    unreadable: Mapping[tuple[SplitName, str], Mapping[int, str]],
    contents: Mapping[str, str | None],
) -> Iterable[DataIssue]:
    for name, part in row.parts.items():
        if name not in used:
            continue
        gone = [file for file in part.files if contents[file] is None]
        if gone:
            more = f", nor do {len(gone) - 1} more of this sample" if len(gone) > 1 else ""
            yield DataIssue(row.where, f"{gone[0]} does not exist{more}", split, name)
        elif message := unreadable.get((split, name), {}).get(position):
            yield DataIssue(
                row.where, f"{_format_place(part.files, part.inside)} {message}", split, name
            )


def _format_place(files: tuple[str, ...], inside: str) -> str:
    if not files:
        return "the text"
    place = files[0] if len(files) == 1 else files[0].rpartition("/")[0]
    return f"{place} ({inside})" if inside else place


def _check_labels(
    listing: SampleListing, usable: dict[SplitName, list[int]], issues: list[DataIssue]
) -> ValidationReport:
    """Classes are the labels of training samples; others must have one of those."""
    counts = Counter(listing.rows["train"][position].label for position in usable["train"])
    classes = tuple(sorted(counts))
    for split in EVALUATED:
        known = []
        for position in usable[split]:
            row = listing.rows[split][position]
            if row.label in counts:
                known.append(position)
            else:
                hint = format_suggestion(row.label, classes)
                issues.append(
                    DataIssue(
                        row.where,
                        f"no training sample has the label {row.label[:60]!r}{hint}",
                        split,
                    )
                )
        usable[split] = known
    for split in ORDER:
        listed = len(listing.rows.get(split, ()))
        if not usable[split] and (listed or split in listing.needed):
            message = f"none of its {listed} samples can be used" if listed else "has no samples"
            issues.append(DataIssue(f"the split {split}", message, fatal=True))
    if len(classes) == 1:
        issues.append(
            DataIssue("the split train", f"has one class only, {classes[0]!r}", fatal=True)
        )
    return ValidationReport(usable, issues, classes)
