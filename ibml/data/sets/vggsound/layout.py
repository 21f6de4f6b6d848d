"""Layout of VGGSound.

- `train.txt` and `test.txt`: rows of CLIP.mp4,label.
- `audios/CLIP.wav`: sound.
- `Image-01-FPS/CLIP/*.jpg`: frames.

The lists may also have the columns of the official list, id,start,label,split. The name of the clip
is then ID, ID_START or ID_START with six digits, according to the files.
"""

from __future__ import annotations

from collections.abc import Sequence

from ibml.data.layouts.clips import FolderEntry, add_clip, count_files
from ibml.data.layouts.lists import (
    CLIP_WORDS,
    LABEL_WORDS,
    SPLIT_WORDS,
    ListFormat,
    ListRow,
    Record,
    read_list,
)
from ibml.data.listing import SampleListing, find_path_problem
from ibml.data.sets.vggsound.config import VGGSoundConfig

FORMAT = ListFormat(
    "CLIP.mp4,label or id,start,label,split",
    {"clip": CLIP_WORDS, "label": LABEL_WORDS},
    optional={
        "start": ("start", "start seconds", "start time", "start second"),
        "split": ("split", "train/test split", "subset"),
    },
)


def list_samples(config: VGGSoundConfig, listing: SampleListing) -> None:
    """Add every clip of the split files to the listing."""

    def count(record: Record) -> int:
        return count_files(listing, *_build_entries(_find_clip(listing, record)))

    for split in listing.needed:
        rows = listing.read_csv(f"{split}.txt")
        for where, record in read_list(listing, split, rows, FORMAT, count, _detect_official_order):
            own = record.get("split", split)
            if SPLIT_WORDS.get(own.lower(), own) != split:
                message = f"its split is {own[:40]!r}, but the list is of {split}"
                listing.add_issue(split, where, message)
                continue
            clip = _find_clip(listing, record)
            audio, frames = _build_entries(clip)
            add_clip(listing, split, where, clip, record["label"], audio=audio, frames=frames)


def _detect_official_order(rows: Sequence[ListRow]) -> dict[str, int] | None:
    """Detect the columns id,start,label,split.

    They are recognized by whole seconds in the second column of every row and a text in the third.
    """
    stripped = [list(map(str.strip, cells)) for _, cells in rows]
    if not stripped:
        return None
    for cells in stripped:
        if len(cells) < 3 or not cells[1].isdecimal() or cells[2].isdecimal():
            return None
        if cells[0].endswith(".mp4"):
            return None  # the second column is a label that is a number
    if all(cells[2].lower() in SPLIT_WORDS for cells in stripped):
        return None  # the same
    positions = {"clip": 0, "start": 1, "label": 2}
    if all(len(cells) > 3 and cells[3].lower() in SPLIT_WORDS for cells in stripped):
        positions["split"] = 3
    return positions


def _find_clip(listing: SampleListing, record: Record) -> str:
    clip = record["clip"].removesuffix(".mp4")
    start = record.get("start", "")
    if not start.isdecimal() or find_path_problem(clip):
        return clip
    names = (f"{clip}_{int(start):06}", f"{clip}_{start}", clip)
    for name in names:
        if count_files(listing, *_build_entries(name)):
            return name
    return names[0]


def _build_entries(clip: str) -> tuple[FolderEntry, FolderEntry]:
    return ("audios", f"{clip}.wav"), ("Image-01-FPS", clip)
