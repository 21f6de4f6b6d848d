"""Layout of CREMA-D.

- `train.csv` and `test.csv`: rows of clip,LABEL.
- `CREMA-D/AudioWAV/CLIP.wav`: sound.
- `CREMA-D/Image-01-FPS/CLIP/*.jpg`: frames.
"""

from __future__ import annotations

from ibml.data.layouts.clips import add_clip, count_files
from ibml.data.layouts.lists import CLIP_WORDS, LABEL_WORDS, ListFormat, Record, read_list
from ibml.data.listing import SampleListing
from ibml.data.sets.cremad.config import CremadConfig

FORMAT = ListFormat("clip,LABEL", {"clip": CLIP_WORDS, "label": LABEL_WORDS})
AUDIO = "CREMA-D/AudioWAV"
FRAMES = "CREMA-D/Image-01-FPS"


def list_samples(config: CremadConfig, listing: SampleListing) -> None:
    """Add every clip of the split files to the listing."""

    def count(record: Record) -> int:
        return count_files(listing, (AUDIO, f"{record['clip']}.wav"), (FRAMES, record["clip"]))

    for split in listing.needed:
        rows = listing.read_csv(f"{split}.csv")
        for where, record in read_list(listing, split, rows, FORMAT, count):
            clip = record["clip"]
            audio = (AUDIO, f"{clip}.wav")
            frames = (FRAMES, clip)
            add_clip(listing, split, where, clip, record["label"], audio=audio, frames=frames)
