"""Helpers for the layouts of audio-visual data sets."""

from __future__ import annotations

from collections.abc import Sequence

from ibml.data.listing import Sample, SampleListing, SamplePart, SplitName, find_path_problem

FolderEntry = tuple[str, str]
"""A folder of the layout, and the name of something in it as a split file has it."""


def strip_cells(cells: Sequence[str], count: int) -> list[str] | None:
    """Strip the first cells of a row.

    Args:
        cells: Cells of the row.
        count: Number of cells that are needed.

    Returns:
        The first `count` cells without surrounding spaces; None if one is missing or empty.
    """
    first = [cell.strip() for cell in cells[:count]]
    return first if len(first) == count and all(first) else None


def count_files(listing: SampleListing, audio: FolderEntry, frames: FolderEntry) -> int:
    """Count which of a clip's two parts exist.

    Args:
        listing: Listing of the data set.
        audio: Sound file of the clip.
        frames: Folder with the frames of the clip.

    Returns:
        0, 1 or 2.
    """
    count = 0
    for folder, name in (audio, frames):
        if find_path_problem(name) is None and listing.has(f"{folder}/{name}"):
            count += 1
    return count


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
    """Add a clip to a listing, or a fatal issue if one of its names leads out of its folder.

    Args:
        listing: Listing of the data set.
        split: Split of the clip.
        where: Location in the split file.
        name: Name that identifies the clip.
        label: Name of its class.
        audio: Sound file of the clip.
        frames: Folder with the frames of the clip.
    """
    resolved = [listing.resolve_path(entry[1], where) for entry in (audio, frames)]
    if None in resolved:
        return
    video = listing.list_frames(split, "/".join(frames), where, "video")
    sound = SamplePart(("/".join(audio),))
    listing.add(split, Sample(where, name, label, {"audio": sound, "video": video}))
