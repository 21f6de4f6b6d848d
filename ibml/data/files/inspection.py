"""Inspection of a data set for `ibml data check`: its samples, all issues, and a batch."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ibml.config.datasets import FilesConfig
from ibml.data.base import AnySplit, AnyTransform, Progress, StreamedSplit
from ibml.data.files.file_dataset import (
    build_file_dataset,
    compute_fingerprint,
    decode_and_validate,
    scan_dataset,
)
from ibml.data.files.loading import load_splits
from ibml.data.files.transforms import gather_batch
from ibml.data.listing import DataError, DataIssue, SplitName
from ibml.inputs import Input, Sequences

PREVIEW = 8
"""Number of samples in the batch that is shown."""


@dataclass(frozen=True)
class Preview:
    """One modality of a training batch, as the encoder receives it.

    Attributes:
        shape: Shape of the batch.
        low: Smallest value.
        high: Largest value.
        mean: Mean value.
        note: Description of token ids, whose values say little; empty for other modalities.
    """

    shape: tuple[int, ...]
    low: float
    high: float
    mean: float
    note: str = ""


@dataclass(frozen=True)
class Inspection:
    """Result of the inspection of a data set.

    Attributes:
        root: Folder of the data set.
        fingerprint: Hash of its usable content.
        listed: Number of samples that the split files list.
        counts: Number of usable samples by split and class.
        issues: All issues of the modalities in use.
        batch: Preview of a training batch by modality; empty if no batch can be made.
    """

    root: Path
    fingerprint: str
    listed: int
    counts: dict[SplitName, Counter[str]]
    issues: list[DataIssue]
    batch: dict[str, Preview] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        """Sorted labels of the usable samples."""
        labels: set[str] = set()
        for counts in self.counts.values():
            labels.update(counts)
        return sorted(labels)


def inspect(config: FilesConfig, progress: Progress) -> Inspection:
    """Check every sample of a data set and collect all issues.

    Args:
        config: Configuration of the data set.
        progress: Called while files are read and decoded.

    Returns:
        Usable samples, issues and a batch.

    Raises:
        DataError: The folder of the data set is unknown or does not exist.
    """
    scan = scan_dataset(config, progress)
    listing = scan.listing
    listed = sum(map(len, listing.samples.values()))
    if any(issue.fatal for issue in listing.issues):
        return Inspection(listing.root, scan.fingerprint, listed, {}, listing.issues)
    stores, report = decode_and_validate(config, scan, progress)
    counts: dict[SplitName, Counter[str]] = {}
    for split, positions in report.usable.items():
        if positions:
            samples = listing.samples[split]
            counts[split] = Counter(samples[position].label for position in positions)
    batch = {}
    if not any(issue.fatal for issue in report.issues):
        try:
            file_dataset = build_file_dataset(scan, report, stores)
            batch = _build_previews(load_splits(file_dataset, config, config.modalities, 0).train)
        except DataError as error:
            report.issues.append(DataIssue("the splits", str(error), fatal=True))
    fingerprint = compute_fingerprint(scan, report)
    return Inspection(listing.root, fingerprint, listed, counts, report.issues, batch)


def _build_previews(split: AnySplit) -> dict[str, Preview]:
    assert isinstance(split, StreamedSplit)
    batches = gather_batch(split.transforms, split.rows[:PREVIEW], 0, ("preview",))
    return {name: _build_preview(split.transforms[name], batch) for name, batch in batches.items()}


def _build_preview(transform: AnyTransform, batch: Input) -> Preview:
    finished = transform.finish(batch, torch.float32)
    values = finished.values if isinstance(finished, Sequences) else finished
    words = len(transform.spec.vocabulary)
    note = ""
    if words:
        note = f"{words:,} words"
    elif isinstance(finished, Sequences):
        note = "tokens"
    numbers = values.double()
    return Preview(
        tuple(values.shape),
        float(numbers.min()),
        float(numbers.max()),
        float(numbers.mean()),
        note,
    )
