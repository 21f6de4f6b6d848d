"""AVE: `trainSet.txt`, `valSet.txt` and `testSet.txt` (label&id&quality&start&end), `Image-01-FPS/ID/*.jpg`, and the
sound as `Audio-1004/ID.npy`, else `Audio-1004/ID.pkl`, else `Audios/ID.wav`."""

from __future__ import annotations

from ibml.config.datasets import AVEConfig
from ibml.data.layouts.clips import Place, add_clip, filled
from ibml.data.listing import Listing, SplitName, path_problem


def list_samples(config: AVEConfig, listing: Listing) -> None:
    labels: dict[tuple[SplitName, str], str] = {}
    for split in listing.needed:
        for where, line in listing.lines(f"{split}Set.txt"):
            cells = filled(line.split("&"), 5)
            if not cells:
                listing.skip(split, where, "expected label&id&quality&start&end")
                continue
            label, clip = cells[:2]
            # a few clips have two events, and are a sample of each
            name = clip if labels.setdefault((split, clip), label) == label else f"{clip} ({label})"
            audio, frames = _audio(listing, clip), ("Image-01-FPS", clip)
            add_clip(listing, split, where, name, label, audio=audio, frames=frames)


def _audio(listing: Listing, clip: str) -> Place:
    places = (("Audio-1004", f"{clip}.npy"), ("Audio-1004", f"{clip}.pkl"), ("Audios", f"{clip}.wav"))
    if path_problem(clip):
        return places[-1]
    return next((place for place in places if listing.has("/".join(place))), places[-1])
