"""Preparation of AVE: AVE/*.mp4 and the split files trainSet.txt, valSet.txt and testSet.txt.

Tian, Shi, Li, Duan and Xu, "Audio-Visual Event Localization in Unconstrained Videos", ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ibml.common.errors import IbmlError
from ibml.data.decoders.pickles import load_array
from ibml.data.prepare.ffmpeg import require_ffmpeg, write_frames, write_sound
from ibml.data.prepare.preparation import Preparation, PreparationTask
from ibml.data.prepare.raw_files import parse_lines, read_lines, require_path, validate_file_name

SPLITS = ("trainSet.txt", "valSet.txt", "testSet.txt")
RATE = 16_000
_ROW = "Category&VideoID&Quality&StartTime&EndTime"


def prepare(work: Preparation) -> None:
    """Extract sound and frames of the listed clips, and convert the authors' arrays if present."""
    require_ffmpeg()
    require_path(work.raw, "AVE", f"AVE/*.mp4, {', '.join(SPLITS)}")
    missing = [name for name in SPLITS if not (work.raw / name).is_file()]
    if missing:
        names = ", ".join(missing)
        message = f"{work.raw} has no {names}; they are part of the distribution of AVE"
        if (work.raw / "Annotations.txt").is_file():
            message += ", and Annotations.txt does not define splits"
        raise IbmlError(message)
    clips: dict[str, None] = {}
    for name in SPLITS:
        file = work.raw / name
        clips |= dict.fromkeys(parse_lines(file, read_lines(file), _parse_id))
    work.write_files({name: (work.raw / name).read_bytes() for name in SPLITS})
    tasks: list[PreparationTask] = []
    for clip in clips:
        tasks += _build_tasks(work.raw, work.root, clip)
    work.make(tasks)


def _parse_id(line: str) -> str:
    fields = line.split("&")
    if len(fields) != 5:
        raise ValueError(f"expected five fields: {_ROW}")
    if line.strip() == _ROW:
        raise ValueError("a split file must not have a header")
    return validate_file_name(fields[1])


def _build_tasks(raw: Path, root: Path, clip: str) -> Iterator[PreparationTask]:
    video = raw / "AVE" / f"{clip}.mp4"
    sound = root / "Audios" / f"{clip}.wav"
    frames = root / "Image-01-FPS" / clip
    yield PreparationTask(clip, sound, partial(write_sound, video, rate=RATE))
    yield PreparationTask(clip, frames, partial(write_frames, video))
    array = raw / "Audio-1004" / f"{clip}.pkl"
    if array.is_file():
        converted = root / "Audio-1004" / f"{clip}.npy"
        yield PreparationTask(clip, converted, partial(_write_array, array))


def _write_array(source: Path, target: Path) -> None:
    values = load_array(source)
    with target.open("wb") as file:
        np.save(file, values, allow_pickle=False)
