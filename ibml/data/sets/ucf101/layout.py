"""UCF-101: one of the official splits, `ucfTrainTestlist/trainlist0F.txt` (CLASS/CLIP.avi N) and `testlist0F.txt`
(CLASS/CLIP.avi), which may lie in the root too, `audios/CLIP.wav`, `Image-01-FPS/CLIP/*.jpg`."""

from __future__ import annotations

from ibml.data.layouts.clips import add_clip, strip_cells
from ibml.data.listing import SampleListing
from ibml.data.sets.ucf101.config import UCF101Config


def list_samples(config: UCF101Config, listing: SampleListing) -> None:
    for split in listing.needed:
        name = f"{split}list0{config.fold}.txt"
        for where, line in listing.read_lines(
            name if listing.has(name) else f"ucfTrainTestlist/{name}"
        ):
            path, *numbers = line.split()
            first = strip_cells(path.split("/", 1), 2)
            if not first or len(numbers) > 1 or not all(number.isdecimal() for number in numbers):
                listing.add_issue(
                    split,
                    where,
                    "expected CLASS/CLIP.avi, and in a list of train a number after a space",
                )
                continue
            label, clip = first[0], first[1].removesuffix(".avi")
            audio, frames = ("audios", f"{clip}.wav"), ("Image-01-FPS", clip)
            add_clip(listing, split, where, clip, label, audio=audio, frames=frames)
