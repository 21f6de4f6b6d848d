"""CREMA-D: `train.csv` and `test.csv` (clip,LABEL), `CREMA-D/AudioWAV/CLIP.wav`, `CREMA-D/Image-01-FPS/CLIP/*.jpg`."""

from __future__ import annotations

from ibml.config.datasets import CremadConfig
from ibml.data.listing import Listing, Part, Row, SplitName

SPLITS: tuple[SplitName, ...] = ("train", "test")


def list_samples(config: CremadConfig, listing: Listing) -> None:
    for split in SPLITS:
        for where, cells in listing.table(f"{split}.csv"):
            if len(cells) < 2 or not cells[1].strip():
                listing.skip(split, where, "expected clip,LABEL")
                continue
            clip, label = cells[0].strip(), cells[1].strip()
            if listing.file(clip, where) is None:
                continue
            audio = Part((f"CREMA-D/AudioWAV/{clip}.wav",))
            video = listing.frames(split, f"CREMA-D/Image-01-FPS/{clip}", where, "video")
            listing.add(split, Row(where, clip, label, {"audio": audio, "video": video}))
