"""VGGSound: `train.txt` and `test.txt` (CLIP.mp4,label), `audios/CLIP.wav`, `Image-01-FPS/CLIP/*.jpg`.

The lists may have the order of the official one too, id,start,label,split. The clip is then ID, ID_START or ID_START
with six digits, as the files are called.
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
    def count(record: Record) -> int:
        return count_files(listing, *_build_entries(_find_clip(listing, record)))

    for split in listing.needed:
        rows = listing.read_csv(f"{split}.txt")
        for where, record in read_list(listing, split, rows, FORMAT, count, _detect_official_order):
            own = record.get("split", split)
            if SPLIT_WORDS.get(own.lower(), own) != split:
                listing.add_issue(
                    split, where, f"its split is {own[:40]!r}, and the list is of {split}"
                )
                continue
            clip = _find_clip(listing, record)
            audio, frames = _build_entries(clip)
            add_clip(listing, split, where, clip, record["label"], audio=audio, frames=frames)


def _detect_official_order(rows: Sequence[ListRow]) -> dict[str, int] | None:
    """id,start,label,split: the second column is whole seconds in every row, and the third a text."""
    cells = [[cell.strip() for cell in row] for _, row in rows]
    if not cells or not all(
        len(row) > 2 and row[1].isdecimal() and not row[2].isdecimal() for row in cells
    ):
        return None
    if any(row[0].endswith(".mp4") for row in cells) or all(
        row[2].lower() in SPLIT_WORDS for row in cells
    ):
        return None  # the second column is a label that is a number
    split = (
        {"split": 3} if all(len(row) > 3 and row[3].lower() in SPLIT_WORDS for row in cells) else {}
    )
    return {"clip": 0, "start": 1, "label": 2, **split}


def _find_clip(listing: SampleListing, record: Record) -> str:
    clip = record["clip"].removesuffix(".mp4")
    start = record.get("start", "")
    if not start.isdecimal() or find_path_problem(clip):
        return clip
    names = (f"{clip}_{int(start):06}", f"{clip}_{start}", clip)
    return next((name for name in names if count_files(listing, *_build_entries(name))), names[0])


def _build_entries(clip: str) -> tuple[FolderEntry, FolderEntry]:
    return ("audios", f"{clip}.wav"), ("Image-01-FPS", clip)
