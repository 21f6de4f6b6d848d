"""What is in a data set, and all that is wrong with it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ibml.config.datasets import FilesConfig
from ibml.data.base import AnySplit, Progress, StreamedSplit
from ibml.data.files.columns import gathered
from ibml.data.files.loading import split_for
from ibml.data.files.opened import examined, fingerprint_of, opened_from, survey
from ibml.data.listing import Damage, DataError, SplitName
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
    damages: list[Damage]
    batch: dict[str, Preview] = field(default_factory=dict)

    @property
    def classes(self) -> list[str]:
        return sorted({label for counts in self.counts.values() for label in counts})


def inspect(config: FilesConfig, progress: Progress) -> Inspection:
    """Look at every sample. Raises `DataError` where there is nothing to look at."""
    surveyed = survey(config, progress)
    listing = surveyed.listing
    listed = sum(map(len, listing.rows.values()))
    if any(damage.fatal for damage in listing.damages):
        return Inspection(listing.root, surveyed.fingerprint, listed, {}, listing.damages)
    stores, checked = examined(config, surveyed, progress)
    counts: dict[SplitName, Counter[str]] = {
        split: Counter(listing.rows[split][row].label for row in rows) for split, rows in checked.kept.items() if rows
    }
    batch = {}
    if not any(damage.fatal for damage in checked.damages):
        try:
            dataset = split_for(opened_from(surveyed, checked, stores), config, config.modalities, 0)
            batch = _previews(dataset.train)
        except DataError as error:
            checked.damages.append(Damage("the splits", str(error), fatal=True))
    return Inspection(listing.root, fingerprint_of(surveyed, checked), listed, counts, checked.damages, batch)


def _previews(split: AnySplit) -> dict[str, Preview]:
    assert isinstance(split, StreamedSplit)
    columns, rows = split.columns, split.rows
    found = {}
    for name, batch in gathered(columns, rows[:PREVIEW], 0, ("preview",)).items():
        made = columns[name].finish(batch, torch.float32)
        values = made.values if isinstance(made, Sequences) else made
        known = len(columns[name].spec.vocabulary)
        note = f"{known:,} words" if known else "tokens" if isinstance(made, Sequences) else ""
        numbers = values.double()
        low, high, mean = (float(number) for number in (numbers.min(), numbers.max(), numbers.mean()))
        found[name] = Preview(tuple(values.shape), low, high, mean, note)
    return found
