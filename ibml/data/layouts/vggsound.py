"""VGGSound: `train.txt` and `test.txt` (CLIP.mp4,label,...), `audios/CLIP.wav`, `Image-01-FPS/CLIP/*.jpg`."""

from __future__ import annotations

from ibml.config.datasets import VGGSoundConfig
from ibml.data.layouts.clips import add_clip, filled
from ibml.data.listing import Listing


def list_samples(config: VGGSoundConfig, listing: Listing) -> None:
    for split in listing.needed:
        for where, cells in listing.table(f"{split}.txt"):
            if not (first := filled(cells, 2)):
                listing.skip(split, where, "expected CLIP.mp4,label")
                continue
            clip, label = first[0].removesuffix(".mp4"), first[1]
            audio, frames = ("audios", f"{clip}.wav"), ("Image-01-FPS", clip)
            add_clip(listing, split, where, clip, label, audio=audio, frames=frames)
