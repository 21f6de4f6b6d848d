"""Layout of Kinetics-Sounds.

- `train.txt` and `test.txt`: rows of wav,frames,label.
- `SPLIT/audios/WAV`: sound.
- `SPLIT/Image-01-FPS/FRAMES/*.jpg`: frames.
"""

from __future__ import annotations

from functools import partial

from ibml.data.layouts.clips import FolderEntry, add_clip, count_files
from ibml.data.layouts.lists import LABEL_WORDS, ListFormat, Record, read_list
from ibml.data.listing import SampleListing, SplitName
from ibml.data.sets.kinetics_sounds.config import KineticsSoundsConfig

FORMAT = ListFormat(
    "wav,frames,label",
    {
        "wav": ("wav", "audio", "sound"),
        "frames": ("frames", "video", "images", "folder"),
        "label": LABEL_WORDS,
    },
)


def list_samples(config: KineticsSoundsConfig, listing: SampleListing) -> None:
    """Add every clip of the split files to the listing."""
    for split in listing.needed:
        rows = listing.read_csv(f"{split}.txt")
        count = partial(_count_files, listing, split)
        for where, record in read_list(listing, split, rows, FORMAT, count):
            audio, frames = _build_entries(split, record)
            name = record["wav"]
            add_clip(listing, split, where, name, record["label"], audio=audio, frames=frames)


def _build_entries(split: SplitName, record: Record) -> tuple[FolderEntry, FolderEntry]:
    return (f"{split}/audios", record["wav"]), (f"{split}/Image-01-FPS", record["frames"])


def _count_files(listing: SampleListing, split: SplitName, record: Record) -> int:
    return count_files(listing, *_build_entries(split, record))
