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
from ibml.config.datasets import CarvedConfig, FilesConfig
from ibml.config.preprocessing import RawImageConfig, VectorConfig
from ibml.data.base import Indices, Labels, Progress
from ibml.data.files.check import Checked, check
from ibml.data.listing import DataError, Listing, Part, SplitName, refused
from ibml.data.media import Form, media_of
from ibml.data.stores.cache import Wanted, stores
from ibml.data.stores.digests import digests
from ibml.data.stores.store import Store

SPLITS: tuple[SplitName, ...] = ("train", "val", "test")

Stores = dict[tuple[SplitName, str, Form], Store]
"""By split, modality and form."""


@dataclass(frozen=True)
class Surveyed:
    """A listing with the digests of its files, by path; None for one that is not there."""

    listing: Listing
    contents: dict[str, str | None]
    fingerprint: str


@dataclass(frozen=True)
class Opened:
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


def survey(config: FilesConfig, progress: Progress) -> Surveyed:
    """List the samples and read every file's digest. Raises `DataError` where there is no such folder."""
    root = config.folder()
    if root is None:
        raise DataError(f"where is {config.type}? Give data.root, or set {DATA_VARIABLE} to the folder that has it")
    if not root.is_dir():
        raise DataError(f"{config.type}: there is no folder {root}")
    listing = _listed(config, root)
    files = {
        file: None for rows in listing.rows.values() for row in rows for p in row.parts.values() for file in p.files
    }
    contents = digests(root, files, progress)
    return Surveyed(listing, contents, _fingerprint(listing, contents))


def _listed(config: FilesConfig, root: Path) -> Listing:
    listing = Listing(root, ("train", "test") if isinstance(config, CarvedConfig) else SPLITS)
    load_object(config.layout)(config, listing)
    return listing


def _fingerprint(listing: Listing, contents: dict[str, str | None]) -> str:
    """Of every sample's split, name, label and content, in the order of the split files."""
    digest = hashlib.sha256()
    for split in SPLITS:
        for row in listing.rows.get(split, ()):
            parts = {name: content_of(part, contents) for name, part in row.parts.items()}
            digest.update(json.dumps([split, row.name, row.label, parts]).encode() + b"\n")
    return digest.hexdigest()


def content_of(part: Part, contents: dict[str, str | None]) -> str:
    """What a part is read from, as text that is the same wherever the data set lies."""
    if len(part.files) == 1 and part.text is None and not part.inside:
        return contents[part.files[0]] or "missing"
    plain = [[contents[file] or "missing" for file in part.files], part.text, part.inside]
    return hashlib.sha256(json.dumps(plain).encode()).hexdigest()


def open_files(config: FilesConfig, say: Callable[[str], None], progress: Progress) -> Opened:
    """Check a data set as a whole, decoding what was not decoded before. Raises `DataError` where something is wrong,
    unless such samples are to be skipped."""
    surveyed = survey(config, progress)
    listing = surveyed.listing
    if fatal := [damage for damage in listing.damages if damage.fatal]:
        raise refused(config.type, listing.root, fatal, can_skip=False)
    found, checked = examined(config, surveyed, progress)
    fatal = [damage for damage in checked.damages if damage.fatal]
    if fatal or (checked.damages and config.on_missing == "stop"):
        raise refused(config.type, listing.root, [*fatal, *(d for d in checked.damages if not d.fatal)], not fatal)
    opened = opened_from(surveyed, checked, found)
    if opened.skipped:
        number = f"{opened.skipped} sample{'s' if opened.skipped > 1 else ''}"
        say(f"{config.type}: {number} left out, the first: {checked.damages[0]}")
    return opened


def examined(config: FilesConfig, surveyed: Surveyed, progress: Progress) -> tuple[Stores, Checked]:
    """What every sample became, and which of them can be used."""
    found = decoded(config, surveyed, progress)
    return found, check(surveyed.listing, config, unusable(config, found), surveyed.contents)


def decoded(config: FilesConfig, surveyed: Surveyed, progress: Progress) -> Stores:
    """The stores of every split and modality that the model sees."""
    listing = surveyed.listing
    found: Stores = {}
    carved = not listing.rows.get("val")
    for split in SPLITS:
        rows = listing.rows.get(split, [])
        for name in config.modalities if rows else ():
            media = media_of(config.parts[name])
            forms = tuple(f for f in media.forms() if split == "train" or f == "plain")
            if split == "train" and not carved and "varied" in forms:
                forms = ("varied",)
            parts = [row.parts[name] for row in rows]
            contents = [content_of(part, surveyed.contents) for part in parts]
            wanted = Wanted(f"{config.type}-{split}-{name}", listing.root, parts, contents, media, forms)
            for form, store in stores(wanted, progress).items():
                found[split, name, form] = store
    return found


def unusable(config: FilesConfig, found: Stores) -> dict[tuple[SplitName, str], dict[int, str]]:
    """What could not be decoded, and arrays of another shape than most of train, by split and modality."""
    bad = {}
    for (split, name, _), store in found.items():
        bad[split, name] = store.bad
        if isinstance(config.parts[name], VectorConfig | RawImageConfig):
            usual = found["train", name, "plain"].usual_shape if ("train", name, "plain") in found else None
            bad[split, name] = {**store.bad, **store.of_other_shape(usual)}
    return bad


def fingerprint_of(surveyed: Surveyed, checked: Checked) -> str:
    """Of what can be used: which samples are left out depends on the modalities, and on what this machine can read."""
    rows = surveyed.listing.rows
    kept = {split: places for split, places in checked.kept.items() if len(places) < len(rows.get(split, ()))}
    if not kept:
        return surveyed.fingerprint
    return hashlib.sha256(json.dumps([surveyed.fingerprint, kept], sort_keys=True).encode()).hexdigest()


def opened_from(surveyed: Surveyed, checked: Checked, found: Stores) -> Opened:
    """A data set without the samples that cannot be used."""
    numbers = {label: number for number, label in enumerate(checked.classes)}
    labels, rows = {}, {}
    for split in SPLITS:
        listed = surveyed.listing.rows.get(split, [])
        labels[split] = np.array([numbers[listed[row].label] for row in checked.kept[split]], np.int64)
        rows[split] = np.array(checked.kept[split], np.int64)
    skipped = len({(damage.split, damage.where) for damage in checked.damages})
    return Opened(fingerprint_of(surveyed, checked), checked.classes, labels, rows, found, skipped)


def found_at(kind: type[FilesConfig], around: Path | None) -> str:
    """How many samples the split files of a data set list in its folder among others, in words."""
    name = kind.model_fields["type"].default
    root = around / name if around else None
    if root is None or not root.is_dir():
        return "-"
    if kind.model_fields["root"].is_required():
        return "its own file says what it is"
    listing = _listed(kind.model_validate({"type": name}), root)
    if not listing.rows:
        return "another layout" if listing.damages else "nothing"
    return " / ".join(f"{len(listing.rows[split]):,}" if split in listing.rows else "-" for split in SPLITS)
