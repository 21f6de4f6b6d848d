"""CREMA-D: `train.csv` and `test.csv` (clip,LABEL), `CREMA-D/AudioWAV/CLIP.wav`, `CREMA-D/Image-01-FPS/CLIP/*.jpg`."""

from __future__ import annotations

from ibml.config.datasets import CremadConfig
from ibml.data.layouts.clips import add_clip, filled
from ibml.data.listing import Listing


def list_samples(config: CremadConfig, listing: Listing) -> None:
    for split in listing.needed:
        for where, cells in listing.table(f"{split}.csv"):
            if not (first := filled(cells, 2)):
                listing.skip(split, where, "expected clip,LABEL")
                continue
            clip, label = first
            audio, frames = ("CREMA-D/AudioWAV", f"{clip}.wav"), ("CREMA-D/Image-01-FPS", clip)
            add_clip(listing, split, where, clip, label, audio=audio, frames=frames)
