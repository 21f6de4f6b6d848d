"""What the layouts of audio-visual data sets share."""

from __future__ import annotations

from collections.abc import Sequence

from ibml.data.listing import Sample, SampleListing, SamplePart, SplitName, find_path_problem

FolderEntry = tuple[str, str]
"""A folder of the layout, and what a split file calls something in it."""


def strip_cells(cells: Sequence[str], count: int) -> list[str] | None:
    """The first cells of a row without the spaces around them; none where there are fewer, or one is empty."""
    first = [cell.strip() for cell in cells[:count]]
    return first if len(first) == count and all(first) else None


def count_files(listing: SampleListing, audio: FolderEntry, frames: FolderEntry) -> int:
    """Count what is there of a clip: its sound, and its folder of pictures."""
    return sum(
        find_path_problem(name) is None and listing.has(f"{folder}/{name}")
        for folder, name in (audio, frames)
    )


def add_clip(
    listing: SampleListing,
    split: SplitName,
    where: str,
    name: str,
    label: str,
    *,
    audio: FolderEntry,
    frames: FolderEntry,
) -> None:
    """Add a clip; one whose names lead out of their folders makes the data set useless."""
    if None in (listing.resolve_path(audio[1], where), listing.resolve_path(frames[1], where)):
        return
    video = listing.list_frames(split, "/".join(frames), where, "video")
    listing.add(
        split, Sample(where, name, label, {"audio": SamplePart(("/".join(audio),)), "video": video})
    )
