"""Kinetics-Sounds: `train.txt` and `test.txt` (wav,frames,label), and below a folder of the split's name
`audios/WAV` and `Image-01-FPS/FRAMES/*.jpg`."""

from __future__ import annotations

from functools import partial

from ibml.data.layouts.clips import Place, add_clip, count_files
from ibml.data.layouts.lists import LABEL_WORDS, ListFormat, Record, read_list
from ibml.data.listing import Listing, SplitName
from ibml.data.sets.kinetics_sounds.config import KineticsSoundsConfig

FORMAT = ListFormat(
    "wav,frames,label",
    {"wav": ("wav", "audio", "sound"), "frames": ("frames", "video", "images", "folder"), "label": LABEL_WORDS},
)


def list_samples(config: KineticsSoundsConfig, listing: Listing) -> None:
    for split in listing.needed:
        rows = listing.table(f"{split}.txt")
        for where, record in read_list(listing, split, rows, FORMAT, partial(_count, listing, split)):
            audio, frames = _places(split, record)
            add_clip(listing, split, where, record["wav"], record["label"], audio=audio, frames=frames)


def _places(split: SplitName, record: Record) -> tuple[Place, Place]:
    return (f"{split}/audios", record["wav"]), (f"{split}/Image-01-FPS", record["frames"])


def _count(listing: Listing, split: SplitName, record: Record) -> int:
    return count_files(listing, *_places(split, record))
