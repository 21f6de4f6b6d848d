"""Layout of AVE.

- `trainSet.txt`, `valSet.txt` and `testSet.txt`: rows of label&id&quality&start&end.
- `Image-01-FPS/ID/*.jpg`: frames.
- `Audio-1004/ID.npy`, else `Audio-1004/ID.pkl`, else `Audios/ID.wav`: sound.
"""

from __future__ import annotations

from ibml.data.layouts.clips import FolderEntry, add_clip, count_files
from ibml.data.layouts.lists import CLIP_WORDS, LABEL_WORDS, ListFormat, Record, read_list
from ibml.data.listing import SampleListing, SplitName, find_path_problem
from ibml.data.sets.ave.config import AVEConfig

FRAMES = "Image-01-FPS"
FORMAT = ListFormat(
    "label&id&quality&start&end",
    {
        "label": LABEL_WORDS,
        "id": CLIP_WORDS,
        "quality": ("quality",),
        "start": ("start", "starttime", "start time"),
        "end": ("end", "endtime", "end time"),
    },
    numbers=frozenset({"start", "end"}),
)


def list_samples(config: AVEConfig, listing: SampleListing) -> None:
    """Add every clip of the split files to the listing."""

    def count(record: Record) -> int:
        clip = record["id"]
        return count_files(listing, _find_audio(listing, clip), (FRAMES, clip))

    labels: dict[tuple[SplitName, str], str] = {}
    for split in listing.needed:
        rows = ((where, line.split("&")) for where, line in listing.read_lines(f"{split}Set.txt"))
        for where, record in read_list(listing, split, rows, FORMAT, count):
            clip = record["id"]
            label = record["label"]
            # A few clips have two events and are one sample of each.
            is_first = labels.setdefault((split, clip), label) == label
            name = clip if is_first else f"{clip} ({label})"
            audio = _find_audio(listing, clip)
            add_clip(listing, split, where, name, label, audio=audio, frames=(FRAMES, clip))


def _find_audio(listing: SampleListing, clip: str) -> FolderEntry:
    places = (
        ("Audio-1004", f"{clip}.npy"),
        ("Audio-1004", f"{clip}.pkl"),
        ("Audios", f"{clip}.wav"),
    )
    if not find_path_problem(clip):
        for place in places:
            if listing.has("/".join(place)):
                return place
    return places[-1]
