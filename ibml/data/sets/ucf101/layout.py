"""Layout of UCF-101.

- `ucfTrainTestlist/trainlist0F.txt` (rows of CLASS/CLIP.avi N) and `testlist0F.txt` (rows of
  CLASS/CLIP.avi): official split F. The lists may also be in the root.
- `audios/CLIP.wav`: sound.
- `Image-01-FPS/CLIP/*.jpg`: frames.
"""

from __future__ import annotations

from ibml.data.layouts.clips import add_clip, strip_cells
from ibml.data.listing import SampleListing
from ibml.data.sets.ucf101.config import UCF101Config


def list_samples(config: UCF101Config, listing: SampleListing) -> None:
    """Add every clip of the split files to the listing."""
    for split in listing.needed:
        name = f"{split}list0{config.fold}.txt"
        file = name if listing.has(name) else f"ucfTrainTestlist/{name}"
        for where, line in listing.read_lines(file):
            path, *numbers = line.split()
            first = strip_cells(path.split("/", 1), 2)
            if not first or len(numbers) > 1 or not all(number.isdecimal() for number in numbers):
                message = "expected CLASS/CLIP.avi, followed by a space and a number in train"
                listing.add_issue(split, where, message)
                continue
            clip = first[1].removesuffix(".avi")
            audio = ("audios", f"{clip}.wav")
            frames = ("Image-01-FPS", clip)
            add_clip(listing, split, where, clip, first[0], audio=audio, frames=frames)
