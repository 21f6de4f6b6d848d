"""AVSBench (S4): `s4_data/audio_wav/SPLIT/CLASS/ID.wav` and `s4_data/visual_frames/SPLIT/CLASS/ID/*.png`, and
`s4_meta_data.csv`, which has the classes and, with a column for the split, what must be there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ibml.common.errors import format_suggestion
from ibml.data.layouts.clips import add_clip
from ibml.data.layouts.lists import LABEL_WORDS
from ibml.data.listing import SampleListing, SplitName, is_one_line
from ibml.data.sets.avsbench.config import AVSBenchConfig

AUDIO, FRAMES, META = "s4_data/audio_wav", "s4_data/visual_frames", "s4_meta_data.csv"


@dataclass(frozen=True)
class _Clip:
    """What the table says of a clip."""

    where: str
    label: str
    split: str | None


def list_samples(config: AVSBenchConfig, listing: SampleListing) -> None:
    table = _read_table(listing)
    classes = {clip.label for clip in table.values()}
    found: set[str] = set()
    for split in listing.needed:
        if not listing.has(f"{AUDIO}/{split}"):
            listing.add_fatal_issue(f"{AUDIO}/{split}", "there is no such folder")
            continue
        for label in _list_names(listing, split):
            for name in _list_names(listing, f"{split}/{label}"):
                found.add(name)
                _add(listing, split, label, name, table.get(name), classes)
    for name, clip in table.items():
        for split in listing.needed:
            if name not in found and split == clip.split:
                listing.add_issue(
                    split, clip.where, f"{AUDIO}/{split}/{clip.label}/{name}.wav does not exist"
                )


def _read_table(listing: SampleListing) -> dict[str, _Clip]:
    """The clips of the table by their names."""
    rows = listing.read_csv(META)
    first, cells = next(rows, (META, []))
    header = [cell.strip().lower() for cell in cells]
    name, label = (
        _find_column(header, ("name", "id", "video", "video_id", "video_name")),
        _find_column(header, LABEL_WORDS),
    )
    split = _find_column(header, ("split",))
    if name is label is split is None:
        if cells:  # a table that is not there has been reported
            listing.add_fatal_issue(
                first, "has no header: expected one with name, category and split"
            )
        return {}
    name, label = 0 if name is None else name, 2 if label is None else label
    clips: dict[str, _Clip] = {}
    for where, cells in rows:
        own = [cell.strip() for cell in cells]
        if len(own) <= max(name, label, split or 0):
            listing.add_fatal_issue(where, f"has {len(own)} cells, and the header {len(header)}")
        else:
            clips[own[name]] = _Clip(where, own[label], None if split is None else own[split])
    return clips


def _find_column(header: Sequence[str], names: Sequence[str]) -> int | None:
    return next((header.index(name) for name in names if name in header), None)


def _list_names(listing: SampleListing, below: str) -> list[str]:
    """The classes of a split, or the clips of a class: those that have sounds, frames, or both."""
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
    if not is_one_line(f"{label}/{name}"):
        listing.add_issue(
            split, f"{AUDIO}/{split}", f"{f'{label}/{name}'!r} has characters that cannot be shown"
        )
        return
    where = f"{AUDIO}/{split}/{label}/{name}.wav"
    if label not in classes:
        listing.add_issue(
            split, where, f"{META} has no class {label!r}{format_suggestion(label, classes)}"
        )
    elif clip and (clip.label != label or clip.split not in (None, split)):
        listing.add_issue(
            split, where, f"{clip.where} has it in {clip.split or split}, as {clip.label!r}"
        )
    else:
        audio, frames = (
            (f"{AUDIO}/{split}/{label}", f"{name}.wav"),
            (f"{FRAMES}/{split}/{label}", name),
        )
        add_clip(listing, split, where, name, label, audio=audio, frames=frames)
