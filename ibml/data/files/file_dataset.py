"""Data sets in files: listed, checked, decoded once, and split for a trial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ibml.common.imports import load_object
from ibml.common.paths import DATA_VARIABLE
from ibml.config.datasets import FilesConfig, HoldoutConfig
from ibml.config.preprocessing import RawImageConfig, VectorConfig
from ibml.data.base import Indices, Labels, Progress
from ibml.data.decoders import Form, build_decoder
from ibml.data.files.validation import ValidationReport, validate_samples
from ibml.data.listing import DataError, SampleListing, SamplePart, SplitName, build_data_error
from ibml.data.stores.cache import DecodeRequest, stores
from ibml.data.stores.digests import digests
from ibml.data.stores.store import Store

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

Stores = dict[tuple[SplitName, str, Form], Store]
"""By split, modality and form."""


@dataclass(frozen=True)
class DatasetScan:
    """A listing with the digests of its files, by path; None for one that is not there."""

    listing: SampleListing
    contents: dict[str, str | None]
    fingerprint: str


@dataclass(frozen=True)
class FileDataset:
    """A data set that can be trained on: of each split the labels and the stores' rows of its samples, and the
    stores."""

    fingerprint: str
    classes: tuple[str, ...]
    labels: dict[SplitName, Labels]
    rows: dict[SplitName, Indices]
    stores: Stores
    skipped: int
    """How many samples are left out."""

    @property
    def has_validation(self) -> bool:
        return len(self.labels["val"]) > 0


def scan_dataset(config: FilesConfig, progress: Progress) -> DatasetScan:
    """List the samples and read every file's digest. Raises `DataError` where there is no such folder."""
    root = config.find_folder()
    if root is None:
        raise DataError(
            f"where is {config.type}? Give data.root, or set {DATA_VARIABLE} to the folder that has it"
        )
    if not root.is_dir():
        raise DataError(f"{config.type}: there is no folder {root}")
    listing = _list_samples(config, root)
    files = {
        file: None
        for rows in listing.rows.values()
        for row in rows
        for p in row.parts.values()
        for file in p.files
    }
    contents = digests(root, files, progress)
    return DatasetScan(listing, contents, _hash_listing(listing, contents))


def _list_samples(config: FilesConfig, root: Path) -> SampleListing:
    listing = SampleListing(
        root, ("train", "test") if isinstance(config, HoldoutConfig) else SPLITS
    )
    load_object(config.layout)(config, listing)
    return listing


def _hash_listing(listing: SampleListing, contents: dict[str, str | None]) -> str:
    """Of every sample's split, name, label and content, in the order of the split files."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for row in listing.rows.get(split, ()):
            parts = {
                name: compute_content_digest(part, contents) for name, part in row.parts.items()
            }
            digest.update(json.dumps([split, row.name, row.label, parts]).encode() + b"\n")
    return digest.hexdigest()


def compute_content_digest(part: SamplePart, contents: dict[str, str | None]) -> str:
    """What a part is read from, as text that is the same wherever the data set lies."""
    if len(part.files) == 1 and part.text is None and not part.inside:
        return contents[part.files[0]] or "missing"
    plain = [[contents[file] or "missing" for file in part.files], part.text, part.inside]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def open_file_dataset(
    config: FilesConfig, say: Callable[[str], None], progress: Progress
) -> FileDataset:
    """Check a data set as a whole, decoding what was not decoded before. Raises `DataError` where something is wrong,
    unless such samples are to be skipped."""
    scan = scan_dataset(config, progress)
    listing = scan.listing
    if fatal := [issue for issue in listing.issues if issue.fatal]:
        raise build_data_error(config.type, listing.root, fatal, can_skip=False)
    found, report = decode_and_validate(config, scan, progress)
    fatal = [issue for issue in report.issues if issue.fatal]
    if fatal or (report.issues and config.on_missing == "stop"):
        raise build_data_error(
            config.type,
            listing.root,
            [*fatal, *(d for d in report.issues if not d.fatal)],
            not fatal,
        )
    file_dataset = build_file_dataset(scan, report, found)
    if file_dataset.skipped:
        number = f"{file_dataset.skipped} sample{'s' if file_dataset.skipped > 1 else ''}"
        say(f"{config.type}: {number} left out, the first: {report.issues[0]}")
    return file_dataset


def decode_and_validate(
    config: FilesConfig, scan: DatasetScan, progress: Progress
) -> tuple[Stores, ValidationReport]:
    """What every sample became, and which of them can be used."""
    found = decode_samples(config, scan, progress)
    return found, validate_samples(
        scan.listing, config, find_unusable(config, found), scan.contents
    )


def decode_samples(config: FilesConfig, scan: DatasetScan, progress: Progress) -> Stores:
    """The stores of every split and modality that the model sees."""
    listing = scan.listing
    found: Stores = {}
    carved = not listing.rows.get("val")
    for split in SPLITS:
        rows = listing.rows.get(split, [])
        for name in config.modalities if rows else ():
            media = build_decoder(config.parts[name])
            forms = tuple(f for f in media.get_forms() if split == "train" or f == "plain")
            if split == "train" and not carved and "varied" in forms:
                forms = ("varied",)
            parts = [row.parts[name] for row in rows]
            contents = [compute_content_digest(part, scan.contents) for part in parts]
            request = DecodeRequest(
                f"{config.type}-{split}-{name}", listing.root, parts, contents, media, forms
            )
            for form, store in stores(request, progress).items():
                found[split, name, form] = store
    return found


def find_unusable(
    config: FilesConfig, found: Stores
) -> dict[tuple[SplitName, str], dict[int, str]]:
    """What could not be decoded, and arrays of another shape than most of train, by split and modality."""
    bad = {}
    for (split, name, _), store in found.items():
        bad[split, name] = store.bad
        if isinstance(config.parts[name], VectorConfig | RawImageConfig):
            usual = (
                found["train", name, "plain"].usual_shape
                if ("train", name, "plain") in found
                else None
            )
            bad[split, name] = {**store.bad, **store.find_other_shapes(usual)}
    return bad


def compute_fingerprint(scan: DatasetScan, report: ValidationReport) -> str:
    """Of what can be used: which samples are left out depends on the modalities, and on what this machine can read."""
    rows = scan.listing.rows
    usable = {
        split: places
        for split, places in report.usable.items()
        if len(places) < len(rows.get(split, ()))
    }
    if not usable:
        return scan.fingerprint
    return hashlib.sha256(
        json.dumps([scan.fingerprint, usable], sort_keys=True).encode()
    ).hexdigest()


def build_file_dataset(scan: DatasetScan, report: ValidationReport, found: Stores) -> FileDataset:
    """A data set without the samples that cannot be used."""
    numbers = {label: number for number, label in enumerate(report.classes)}
    labels, rows = {}, {}
    for split in SPLITS:
        listed = scan.listing.rows.get(split, [])
        labels[split] = np.array(
            [numbers[listed[row].label] for row in report.usable[split]], np.int64
        )
        rows[split] = np.array(report.usable[split], np.int64)
    skipped = len({(issue.split, issue.where) for issue in report.issues})
    return FileDataset(
        compute_fingerprint(scan, report), report.classes, labels, rows, found, skipped
    )


def describe_folder(kind: type[FilesConfig], around: Path | None) -> str:
    """How many samples the split files of a data set list in its folder among others, in words."""
    name = kind.model_fields["type"].default
    root = around / name if around else None
    if root is None or not root.is_dir():
        return "-"
    if kind.model_fields["root"].is_required():
        return "its own file says what it is"
    listing = _list_samples(kind.model_validate({"type": name}), root)
    if not listing.rows:
        return "another layout" if listing.issues else "nothing"
    return " / ".join(
        f"{len(listing.rows[split]):,}" if split in listing.rows else "-" for split in SPLITS
    )
