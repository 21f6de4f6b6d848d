"""Data sets in files: scanned, validated and decoded once, then split for every trial."""

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
from ibml.data.listing import (
    DataError,
    DataIssue,
    Sample,
    SampleListing,
    SamplePart,
    SplitName,
    build_data_error,
)
from ibml.data.stores.cache import DecodeRequest, get_stores
from ibml.data.stores.digests import compute_digests
from ibml.data.stores.store import Store

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

Stores = dict[tuple[SplitName, str, Form], Store]
"""Stores of decoded samples by split, modality and form."""


@dataclass(frozen=True)
class DatasetScan:
    """Listed samples and the content of their files, before anything is decoded.

    Attributes:
        listing: Samples and the issues found while listing them.
        contents: Digest of every file by path; None for a file that does not exist.
        fingerprint: Hash of all listed samples.
    """

    listing: SampleListing
    contents: dict[str, str | None]
    fingerprint: str


@dataclass(frozen=True)
class FileDataset:
    """Validated and decoded data set in files.

    Attributes:
        fingerprint: Hash of the usable samples.
        classes: Sorted names of the classes.
        labels: Class ids of the usable samples by split, shape (n,).
        rows: Rows of the usable samples in the stores by split, shape (n,).
        stores: Decoded samples, including those that cannot be used.
        skipped: Number of samples that are left out.
    """

    fingerprint: str
    classes: tuple[str, ...]
    labels: dict[SplitName, Labels]
    rows: dict[SplitName, Indices]
    stores: Stores
    skipped: int

    @property
    def has_validation(self) -> bool:
        """True if the files have a validation split."""
        return len(self.labels["val"]) > 0


def scan_dataset(config: FilesConfig, progress: Progress) -> DatasetScan:
    """List the samples of a data set and compute the digests of their files.

    Args:
        config: Configuration of the data set.
        progress: Called while files are read.

    Returns:
        The listing, the digests and the fingerprint.

    Raises:
        DataError: The folder of the data set is unknown or does not exist.
    """
    root = config.find_folder()
    if root is None:
        raise DataError(
            f"the folder of {config.type} is unknown; set data.root to it,"
            f" or {DATA_VARIABLE} to the folder that contains {config.type}/"
        )
    if not root.is_dir():
        raise DataError(f"{config.type}: the folder {root} does not exist")
    listing = _list_samples(config, root)
    files: dict[str, None] = {}  # in the order of the listing
    for samples in listing.samples.values():
        for sample in samples:
            for part in sample.parts.values():
                files.update(dict.fromkeys(part.files))
    contents = compute_digests(root, files, progress)
    return DatasetScan(listing, contents, _hash_listing(listing, contents))


def _list_samples(config: FilesConfig, root: Path) -> SampleListing:
    needed: tuple[SplitName, ...] = (
        ("train", "test") if isinstance(config, HoldoutConfig) else SPLITS
    )
    listing = SampleListing(root, needed)
    load_object(config.layout)(config, listing)
    return listing


def _hash_listing(listing: SampleListing, contents: dict[str, str | None]) -> str:
    """Hash split, name, label and content of every sample, in the order of the split files."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for sample in listing.samples.get(split, ()):
            parts = {
                name: compute_content_digest(part, contents) for name, part in sample.parts.items()
            }
            line = json.dumps([split, sample.name, sample.label, parts])
            digest.update(line.encode() + b"\n")
    return digest.hexdigest()


def compute_content_digest(part: SamplePart, contents: dict[str, str | None]) -> str:
    """Compute a digest of the content of a part, which does not depend on the root.

    Args:
        part: Files, text or place in a file.
        contents: Digest of every file; None for a file that does not exist.

    Returns:
        A digest, or "missing" for a single file that does not exist.
    """
    if len(part.files) == 1 and part.text is None and not part.inside:
        return contents[part.files[0]] or "missing"
    plain = [[contents[file] or "missing" for file in part.files], part.text, part.inside]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def open_file_dataset(
    config: FilesConfig, say: Callable[[str], None], progress: Progress
) -> FileDataset:
    """Validate a data set as a whole and decode the samples that are not in the cache.

    Args:
        config: Configuration of the data set.
        say: Called with the number of samples left out, if any.
        progress: Called while files are read and decoded.

    Returns:
        The data set without unusable samples.

    Raises:
        DataError: The data set does not exist, cannot be used, or has unusable samples and
            `config.on_missing` is "stop".
    """
    scan = scan_dataset(config, progress)
    listing = scan.listing
    fatal, _ = _partition_issues(listing.issues)
    if fatal:
        raise build_data_error(config.type, listing.root, fatal, can_skip=False)
    stores, report = decode_and_validate(config, scan, progress)
    fatal, others = _partition_issues(report.issues)
    if fatal or (others and config.on_missing == "stop"):
        can_skip = not fatal
        raise build_data_error(config.type, listing.root, [*fatal, *others], can_skip)
    file_dataset = build_file_dataset(scan, report, stores)
    if file_dataset.skipped:
        number = f"{file_dataset.skipped} sample{'s' if file_dataset.skipped > 1 else ''}"
        say(f"{config.type}: {number} left out; the first: {report.issues[0]}")
    return file_dataset


def _partition_issues(issues: list[DataIssue]) -> tuple[list[DataIssue], list[DataIssue]]:
    """Return the fatal issues and the others."""
    fatal = [issue for issue in issues if issue.fatal]
    return fatal, [issue for issue in issues if not issue.fatal]


def decode_and_validate(
    config: FilesConfig, scan: DatasetScan, progress: Progress
) -> tuple[Stores, ValidationReport]:
    """Decode all samples and find those that can be used.

    Args:
        config: Configuration of the data set.
        scan: Samples and the content of their files.
        progress: Called while samples are decoded.

    Returns:
        The stores of all samples, and the result of the validation.
    """
    stores = decode_samples(config, scan, progress)
    unreadable = find_unusable(config, stores)
    return stores, validate_samples(scan.listing, config, unreadable, scan.contents)


def decode_samples(config: FilesConfig, scan: DatasetScan, progress: Progress) -> Stores:
    """Decode the modalities in use, as far as the cache does not have them.

    Args:
        config: Configuration of the data set.
        scan: Samples and the content of their files.
        progress: Called while samples are decoded.

    Returns:
        A store for every split, modality and form that training or evaluation needs.
    """
    stores: Stores = {}
    for split in SPLITS:
        samples = scan.listing.samples.get(split, [])
        if not samples:
            continue
        for name in config.modalities:
            request = _build_request(config, scan, split, name, samples)
            for form, store in get_stores(request, progress).items():
                stores[split, name, form] = store
    return stores


def _build_request(
    config: FilesConfig, scan: DatasetScan, split: SplitName, name: str, samples: list[Sample]
) -> DecodeRequest:
    decoder = build_decoder(config.parts[name])
    forms = decoder.get_forms()
    if split != "train":
        forms = tuple(form for form in forms if form == "plain")
    elif scan.listing.samples.get("val") and "varied" in forms:
        forms = ("varied",)  # no sample of train is evaluated on
    parts = [sample.parts[name] for sample in samples]
    contents = [compute_content_digest(part, scan.contents) for part in parts]
    title = f"{config.type}-{split}-{name}"
    return DecodeRequest(title, scan.listing.root, parts, contents, decoder, forms)


def find_unusable(
    config: FilesConfig, stores: Stores
) -> dict[tuple[SplitName, str], dict[int, str]]:
    """Find samples that could not be decoded, or whose shape differs from most of train.

    Args:
        config: Configuration of the data set.
        stores: Stores of all samples.

    Returns:
        By split and modality: position of the sample -> reason.
    """
    unusable = {}
    for (split, name, _), store in stores.items():
        reasons = store.bad
        if isinstance(config.parts[name], VectorConfig | RawImageConfig):
            training = stores.get(("train", name, "plain"))
            usual = None if training is None else training.usual_shape
            reasons = {**reasons, **store.find_other_shapes(usual)}
        unusable[split, name] = reasons
    return unusable


def compute_fingerprint(scan: DatasetScan, report: ValidationReport) -> str:
    """Compute the hash of the usable samples.

    If samples are left out, the hash depends on which: that follows from the modalities in use
    and from what this machine can decode.

    Args:
        scan: Listed samples, whose fingerprint is used if all of them are usable.
        report: Usable samples.

    Returns:
        A SHA-256 digest.
    """
    listed = scan.listing.samples
    reduced = {}
    for split, positions in report.usable.items():
        if len(positions) < len(listed.get(split, ())):
            reduced[split] = positions
    if not reduced:
        return scan.fingerprint
    content = json.dumps([scan.fingerprint, reduced], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()


def build_file_dataset(scan: DatasetScan, report: ValidationReport, stores: Stores) -> FileDataset:
    """Build the data set of the usable samples.

    Args:
        scan: Listed samples.
        report: Usable samples and classes.
        stores: Stores of all samples.

    Returns:
        The data set without unusable samples.
    """
    class_ids = {label: number for number, label in enumerate(report.classes)}
    labels: dict[SplitName, Labels] = {}
    rows: dict[SplitName, Indices] = {}
    for split in SPLITS:
        samples = scan.listing.samples.get(split, [])
        positions = report.usable[split]
        labels[split] = np.array([class_ids[samples[row].label] for row in positions], np.int64)
        rows[split] = np.array(positions, np.int64)
    skipped = len({(issue.split, issue.where) for issue in report.issues})
    fingerprint = compute_fingerprint(scan, report)
    return FileDataset(fingerprint, report.classes, labels, rows, stores, skipped)


def describe_folder(kind: type[FilesConfig], around: Path | None) -> str:
    """Describe the folder of a data set for `ibml data list`.

    Args:
        kind: Configuration class of the data set.
        around: Folder that contains a folder per data set; None if unknown.

    Returns:
        Number of listed samples as "train / val / test", or a remark if no sample is listed.
    """
    name = kind.model_fields["type"].default
    root = around / name if around else None
    if root is None or not root.is_dir():
        return "-"
    if kind.model_fields["root"].is_required():
        return "depends on its configuration"
    listing = _list_samples(kind.model_validate({"type": name}), root)
    if not listing.samples:
        return "another layout" if listing.issues else "nothing"
    counts = []
    for split in SPLITS:
        samples = listing.samples.get(split)
        counts.append("-" if samples is None else f"{len(samples):,}")
    return " / ".join(counts)
