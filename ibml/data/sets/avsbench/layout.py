"""Layout of AVSBench (S4).

- `s4_data/audio_wav/SPLIT/CLASS/ID.wav`: sound.
- `s4_data/visual_frames/SPLIT/CLASS/ID/*.png`: frames.
- `s4_meta_data.csv`: the classes. If it has a column for the split, all clips that must exist.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibml.common.errors import format_suggestion
from ibml.data.layouts.clips import add_clip
from ibml.data.layouts.lists import LABEL_WORDS
from ibml.data.listing import SampleListing, SplitName, is_one_line
from ibml.data.sets.avsbench.config import AVSBenchConfig

AUDIO = "s4_data/audio_wav"
FRAMES = "s4_data/visual_frames"
META = "s4_meta_data.csv"


@dataclass(frozen=True)
class _Clip:
    """Row of the table."""

    where: str
    label: str
    split: str | None


def list_samples(config: AVSBenchConfig, listing: SampleListing) -> None:
    """Add every clip of the folders to the listing, and an issue for every missing one."""
    table = _read_table(listing)
    classes = {clip.label for clip in table.values()}
    found: set[str] = set()
    for split in listing.needed:
        if not listing.has(f"{AUDIO}/{split}"):
            listing.add_fatal_issue(f"{AUDIO}/{split}", "does not exist")
            continue
        for label in _list_names(listing, split):
            for name in _list_names(listing, f"{split}/{label}"):
                found.add(name)
                _add(listing, split, label, name, table.get(name), classes)
    for name, clip in table.items():
        for split in listing.needed:
            if name not in found and split == clip.split:
                message = f"{AUDIO}/{split}/{clip.label}/{name}.wav does not exist"
                listing.add_issue(split, clip.where, message)


def _read_table(listing: SampleListing) -> dict[str, _Clip]:
    """Read the rows of the table by clip."""
    rows = listing.read_csv(META)
    first, cells = next(rows, (META, []))
    header = [cell.strip().lower() for cell in cells]
    name = _find_column(header, ("name", "id", "video", "video_id", "video_name"))
    label = _find_column(header, LABEL_WORDS)
    split = _find_column(header, ("split",))
    if name is label is split is None:
        if cells:  # a table that does not exist has been reported
            message = "has no header; expected one with name, category and split"
            listing.add_fatal_issue(first, message)
        return {}
    if name is None:
        name = 0
    if label is None:
        label = 2
    clips: dict[str, _Clip] = {}
    for where, cells in rows:
        own = [cell.strip() for cell in cells]
        if len(own) <= max(name, label, split or 0):
            message = f"has {len(own)} cells, but the header has {len(header)}"
            listing.add_fatal_issue(where, message)
            continue
        clips[own[name]] = _Clip(where, own[label], None if split is None else own[split])
    return clips


def _find_column(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _list_names(listing: SampleListing, below: str) -> list[str]:
    """List the classes of a split, or the clips of a class, that have sound, frames or both."""
    names: set[str] = set()
    for folder in (AUDIO, FRAMES):
        try:
            names |= {name.removesuffix(".wav") for name in listing.list_names(f"{folder}/{below}")}
        except OSError:
            continue
    return sorted(names)


def _add(
    listing: SampleListing,
    split: SplitName,
    label: str,
    name: str,
    clip: _Clip | None,
    classes: set[str],
) -> None:
    path = f"{label}/{name}"
    if not is_one_line(path):
        message = f"{path!r} has characters that cannot be shown"
        listing.add_issue(split, f"{AUDIO}/{split}", message)
        return
    where = f"{AUDIO}/{split}/{path}.wav"
    if label not in classes:
        hint = format_suggestion(label, classes)
        listing.add_issue(split, where, f"{META} has no class {label!r}{hint}")
    elif clip and (clip.label != label or clip.split not in (None, split)):
        message = f"{clip.where} lists it in {clip.split or split}, as {clip.label!r}"
        listing.add_issue(split, where, message)
    else:
        audio = (f"{AUDIO}/{split}/{label}", f"{name}.wav")
        frames = (f"{FRAMES}/{split}/{label}", name)
        add_clip(listing, split, where, name, label, audio=audio, frames=frames)
