"""UCF-101: one of the official splits, `ucfTrainTestlist/trainlist0F.txt` (CLASS/CLIP.avi N) and `testlist0F.txt`
(CLASS/CLIP.avi), which may lie in the root too, `audios/CLIP.wav`, `Image-01-FPS/CLIP/*.jpg`."""

from __future__ import annotations

from ibml.config.datasets import UCF101Config
from ibml.data.layouts.clips import add_clip, filled
from ibml.data.listing import Listing


def list_samples(config: UCF101Config, listing: Listing) -> None:
    for split in listing.needed:
        name = f"{split}list0{config.fold}.txt"
        for where, line in listing.lines(name if listing.has(name) else f"ucfTrainTestlist/{name}"):
            if not (first := filled(line.split()[0].split("/", 1), 2)):
                listing.skip(split, where, "expected CLASS/CLIP.avi")
                continue
            label, clip = first[0], first[1].removesuffix(".avi")
            audio, frames = ("audios", f"{clip}.wav"), ("Image-01-FPS", clip)
            add_clip(listing, split, where, clip, label, audio=audio, frames=frames)
