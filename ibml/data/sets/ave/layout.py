"""AVE: `trainSet.txt`, `valSet.txt` and `testSet.txt` (label&id&quality&start&end), `Image-01-FPS/ID/*.jpg`, and the
sound as `Audio-1004/ID.npy`, else `Audio-1004/ID.pkl`, else `Audios/ID.wav`."""

from __future__ import annotations

from ibml.data.layouts.clips import FolderEntry, add_clip, count_files
from ibml.data.layouts.lists import CLIP_WORDS, LABEL_WORDS, ListFormat, Record, read_list
from ibml.data.listing import SampleListing, SplitName, find_path_problem
from ibml.data.sets.ave.config import AVEConfig

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
    def count(record: Record) -> int:
        return count_files(
            listing, _find_audio(listing, record["id"]), ("Image-01-FPS", record["id"])
        )

    labels: dict[tuple[SplitName, str], str] = {}
    for split in listing.needed:
        rows = ((where, line.split("&")) for where, line in listing.read_lines(f"{split}Set.txt"))
        for where, record in read_list(listing, split, rows, FORMAT, count):
            label, clip = record["label"], record["id"]
            # a few clips have two events, and are a sample of each
            name = clip if labels.setdefault((split, clip), label) == label else f"{clip} ({label})"
            audio, frames = _find_audio(listing, clip), ("Image-01-FPS", clip)
            add_clip(listing, split, where, name, label, audio=audio, frames=frames)


def _find_audio(listing: SampleListing, clip: str) -> FolderEntry:
    places = (
        ("Audio-1004", f"{clip}.npy"),
        ("Audio-1004", f"{clip}.pkl"),
        ("Audios", f"{clip}.wav"),
    )
    if find_path_problem(clip):
        return places[-1]
    return next((place for place in places if listing.has("/".join(place))), places[-1])
