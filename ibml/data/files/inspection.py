"""What is in a data set, and all that is wrong with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ibml.config.datasets import FilesConfig
from ibml.data.base import AnySplit, Progress, StreamedSplit
from ibml.data.files.file_dataset import (
    build_file_dataset,
    compute_fingerprint,
    decode_and_validate,
    scan_dataset,
)
from ibml.data.files.loading import load_splits
from ibml.data.files.transforms import gather_batch
from ibml.data.listing import DataError, DataIssue, SplitName
from ibml.inputs import Sequences

PREVIEW = 8
"""Samples in the batch that is shown."""


@dataclass(frozen=True)
class Preview:
    """A modality of one training batch, as the encoder gets it."""

    shape: tuple[int, ...]
    low: float
    high: float
    mean: float
    note: str = ""


@dataclass(frozen=True)
class Inspection:
    """A data set's usable samples by split and class, its damage, and a batch of it, if one can be made."""

    root: Path
    fingerprint: str
    listed: int
    counts: dict[SplitName, Counter[str]]
    issues: list[DataIssue]
    batch: dict[str, Preview] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        return sorted({label for counts in self.counts.values() for label in counts})


def inspect(config: FilesConfig, progress: Progress) -> Inspection:
    """Look at every sample. Raises `DataError` where there is nothing to look at."""
    scan = scan_dataset(config, progress)
    listing = scan.listing
    listed = sum(map(len, listing.rows.values()))
    if any(issue.fatal for issue in listing.issues):
        return Inspection(listing.root, scan.fingerprint, listed, {}, listing.issues)
    stores, report = decode_and_validate(config, scan, progress)
    counts: dict[SplitName, Counter[str]] = {
        split: Counter(listing.rows[split][row].label for row in rows)
        for split, rows in report.usable.items()
        if rows
    }
    batch = {}
    if not any(issue.fatal for issue in report.issues):
        try:
            dataset = load_splits(
                build_file_dataset(scan, report, stores), config, config.modalities, 0
            )
            batch = _build_previews(dataset.train)
        except DataError as error:
            report.issues.append(DataIssue("the splits", str(error), fatal=True))
    return Inspection(
        listing.root, compute_fingerprint(scan, report), listed, counts, report.issues, batch
    )


def _build_previews(split: AnySplit) -> dict[str, Preview]:
    assert isinstance(split, StreamedSplit)
    columns, rows = split.transforms, split.rows
    found = {}
    for name, batch in gather_batch(columns, rows[:PREVIEW], 0, ("preview",)).items():
        made = columns[name].finish(batch, torch.float32)
        values = made.values if isinstance(made, Sequences) else made
        known = len(columns[name].spec.vocabulary)
        note = f"{known:,} words" if known else "tokens" if isinstance(made, Sequences) else ""
        numbers = values.double()
        low, high, mean = (
            float(number) for number in (numbers.min(), numbers.max(), numbers.mean())
        )
        found[name] = Preview(tuple(values.shape), low, high, mean, note)
    return found
