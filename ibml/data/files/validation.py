"""Validation of listed samples: which can be used, and the issues of the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ibml.common.errors import format_suggestion
from ibml.config.datasets import FilesConfig
from ibml.data.listing import DataIssue, Sample, SampleListing, SplitName

EVALUATED: tuple[SplitName, ...] = ("val", "test")
ORDER: tuple[SplitName, ...] = ("test", "val", "train")
"""A sample in several splits stays in the first of these, so that evaluation does not change."""

Unreadable = Mapping[tuple[SplitName, str], Mapping[int, str]]
"""By split and modality: position in the listing -> why the sample could not be decoded."""


@dataclass(frozen=True)
class ValidationReport:
    """Result of the validation of a data set.

    Attributes:
        usable: Positions in the listing of the usable samples, by split.
        issues: All issues of the modalities in use.
        classes: Sorted labels of the usable training samples.
    """

    usable: dict[SplitName, list[int]]
    issues: list[DataIssue]
    classes: tuple[str, ...]


def validate_samples(
    listing: SampleListing,
    config: FilesConfig,
    unreadable: Unreadable,
    contents: Mapping[str, str | None],
) -> ValidationReport:
    """Validate all samples of a listing.

    A sample is usable if it has no issue, its files exist and could be decoded, its name is unique
    and its label occurs in the training split.

    Args:
        listing: Samples and the issues found so far.
        config: Configuration of the data set, which names the modalities in use.
        unreadable: Samples that could not be decoded.
        contents: Digest of every file; None for a file that does not exist.

    Returns:
        Usable samples, all issues and the classes.
    """
    used = set(config.modalities)
    issues = [issue for issue in listing.issues if issue.modality is None or issue.modality in used]
    reported = {(issue.split, issue.where) for issue in issues}
    usable: dict[SplitName, list[int]] = {}
    seen: dict[str, tuple[SplitName, str]] = {}
    for split in ORDER:
        usable[split] = []
        for position, sample in enumerate(listing.samples.get(split, ())):
            if (split, sample.where) in reported:
                continue
            found = list(_find_issues(split, position, sample, used, unreadable, contents))
            if sample.name in seen:
                message = _describe_duplicate(sample, split, *seen[sample.name])
                found.append(DataIssue(sample.where, message, split))
            else:
                seen[sample.name] = (split, sample.where)
            if found:
                issues += found
            else:
                usable[split].append(position)
    classes = _check_labels(listing, usable, issues)
    _check_splits(listing, usable, issues)
    if len(classes) == 1:
        message = f"has only one class, {classes[0]!r}"
        issues.append(DataIssue("the split train", message, fatal=True))
    return ValidationReport(usable, issues, classes)


def _describe_duplicate(sample: Sample, split: SplitName, other: SplitName, where: str) -> str:
    if split == other:
        return f"{sample.name[:60]!r} is already listed at {where}"
    return f"{sample.name[:60]!r} is also in {other}, at {where}"


def _find_issues(
    split: SplitName,
    position: int,
    sample: Sample,
    used: set[str],
    unreadable: Unreadable,
    contents: Mapping[str, str | None],
) -> Iterable[DataIssue]:
    for name, part in sample.parts.items():
        if name not in used:
            continue
        missing = [file for file in part.files if contents[file] is None]
        if missing:
            others = len(missing) - 1
            more = f", nor do {others} other files of this sample" if others else ""
            yield DataIssue(sample.where, f"{missing[0]} does not exist{more}", split, name)
        elif message := unreadable.get((split, name), {}).get(position):
            place = _format_place(part.files, part.inside)
            yield DataIssue(sample.where, f"{place} {message}", split, name)


def _format_place(files: tuple[str, ...], inside: str) -> str:
    if not files:
        return "the text"
    place = files[0] if len(files) == 1 else files[0].rpartition("/")[0]
    return f"{place} ({inside})" if inside else place


def _check_labels(
    listing: SampleListing, usable: dict[SplitName, list[int]], issues: list[DataIssue]
) -> tuple[str, ...]:
    """Remove evaluated samples whose label no training sample has, and return the classes."""
    counts = Counter(listing.samples["train"][position].label for position in usable["train"])
    classes = tuple(sorted(counts))
    for split in EVALUATED:
        known = []
        for position in usable[split]:
            sample = listing.samples[split][position]
            if sample.label in counts:
                known.append(position)
            else:
                hint = format_suggestion(sample.label, classes)
                message = f"no training sample has the label {sample.label[:60]!r}{hint}"
                issues.append(DataIssue(sample.where, message, split))
        usable[split] = known
    return classes


def _check_splits(
    listing: SampleListing, usable: dict[SplitName, list[int]], issues: list[DataIssue]
) -> None:
    for split in ORDER:
        listed = len(listing.samples.get(split, ()))
        if usable[split] or not (listed or split in listing.needed):
            continue
        message = f"none of its {listed} samples can be used" if listed else "has no samples"
        issues.append(DataIssue(f"the split {split}", message, fatal=True))
