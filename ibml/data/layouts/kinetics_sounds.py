"""Kinetics-Sounds: `train.txt` and `test.txt` (wav,frames,label), and below a folder of the split's name
`audios/WAV` and `Image-01-FPS/FRAMES/*.jpg`."""

from __future__ import annotations

from ibml.config.datasets import KineticsSoundsConfig
from ibml.data.layouts.clips import add_clip, filled
from ibml.data.listing import Listing


def list_samples(config: KineticsSoundsConfig, listing: Listing) -> None:
    for split in listing.needed:
        for where, cells in listing.table(f"{split}.txt"):
            if not (first := filled(cells, 3)):
                listing.skip(split, where, "expected wav,frames,label")
                continue
            wav, folder, label = first
            audio, frames = (f"{split}/audios", wav), (f"{split}/Image-01-FPS", folder)
            add_clip(listing, split, where, wav, label, audio=audio, frames=frames)
