"""AVE: AVE/*.mp4 and the split files trainSet.txt, valSet.txt, testSet.txt.

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
    """Sound, frames and, where the authors' arrays are, those of the clips that the split files list."""
    require_ffmpeg()
    require_path(work.raw, "AVE", f"AVE/*.mp4, {', '.join(SPLITS)}")
    missing = [name for name in SPLITS if not (work.raw / name).is_file()]
    if missing:
        alone = (
            ", and Annotations.txt says nothing of splits"
            if (work.raw / "Annotations.txt").is_file()
            else ""
        )
        raise IbmlError(
            f"{work.raw} has no {', '.join(missing)}{alone}; the distribution of AVE has them"
        )
    ids = dict[str, None]()
    for name in SPLITS:
        ids |= dict.fromkeys(parse_lines(work.raw / name, read_lines(work.raw / name), _parse_id))
    work.write_files({name: (work.raw / name).read_bytes() for name in SPLITS})
    work.make([piece for clip in ids for piece in _build_tasks(work.raw, work.root, clip)])


def _parse_id(line: str) -> str:
    fields = line.split("&")
    if len(fields) != 5:
        raise ValueError(f"a row has five fields: {_ROW}")
    if line.strip() == _ROW:
        raise ValueError("a split file has no header")
    return validate_file_name(fields[1])


def _build_tasks(raw: Path, root: Path, clip: str) -> Iterator[PreparationTask]:
    video, array = raw / "AVE" / f"{clip}.mp4", raw / "Audio-1004" / f"{clip}.pkl"
    yield PreparationTask(
        clip, root / "Audios" / f"{clip}.wav", partial(write_sound, video, rate=RATE)
    )
    yield PreparationTask(clip, root / "Image-01-FPS" / clip, partial(write_frames, video))
    if array.is_file():
        yield PreparationTask(
            clip, root / "Audio-1004" / f"{clip}.npy", partial(_write_array, array)
        )


def _write_array(source: Path, target: Path) -> None:
    values = load_array(source)
    with target.open("wb") as file:
        np.save(file, values, allow_pickle=False)
