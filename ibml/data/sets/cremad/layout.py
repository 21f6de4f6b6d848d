"""CREMA-D: `train.csv` and `test.csv` (clip,LABEL), `CREMA-D/AudioWAV/CLIP.wav`, `CREMA-D/Image-01-FPS/CLIP/*.jpg`."""

from __future__ import annotations

from ibml.data.layouts.clips import add_clip, count_files
from ibml.data.layouts.lists import CLIP_WORDS, LABEL_WORDS, ListFormat, Record, read_list
from ibml.data.listing import SampleListing
from ibml.data.sets.cremad.config import CremadConfig

FORMAT = ListFormat("clip,LABEL", {"clip": CLIP_WORDS, "label": LABEL_WORDS})
AUDIO, FRAMES = "CREMA-D/AudioWAV", "CREMA-D/Image-01-FPS"


def list_samples(config: CremadConfig, listing: SampleListing) -> None:
    def count(record: Record) -> int:
        return count_files(listing, (AUDIO, f"{record['clip']}.wav"), (FRAMES, record["clip"]))

    for split in listing.needed:
        rows = listing.read_csv(f"{split}.csv")
        for where, record in read_list(listing, split, rows, FORMAT, count):
            clip, label = record["clip"], record["label"]
            audio, frames = (AUDIO, f"{clip}.wav"), (FRAMES, clip)
            add_clip(listing, split, where, clip, label, audio=audio, frames=frames)
