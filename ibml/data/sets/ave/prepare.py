"""AVE: AVE/*.mp4 and the split files trainSet.txt, valSet.txt, testSet.txt.

Tian, Shi, Li, Duan and Xu, "Audio-Visual Event Localization in Unconstrained Videos", ECCV 2018.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from ibml.common.errors import IbmlError
from ibml.data.media.pickles import load_array
from ibml.data.prepare.media import need_ffmpeg, write_frames, write_sound
from ibml.data.prepare.raw import lines_of, name_of_file, parsed, part_of
from ibml.data.prepare.work import Piece, Work

SPLITS = ("trainSet.txt", "valSet.txt", "testSet.txt")
RATE = 16_000
_ROW = "Category&VideoID&Quality&StartTime&EndTime"


def prepare(work: Work) -> None:
    """Sound, frames and, where the authors' arrays are, those of the clips that the split files list."""
    need_ffmpeg()
    part_of(work.raw, "AVE", f"AVE/*.mp4, {', '.join(SPLITS)}")
    missing = [name for name in SPLITS if not (work.raw / name).is_file()]
    if missing:
        alone = ", and Annotations.txt says nothing of splits" if (work.raw / "Annotations.txt").is_file() else ""
        raise IbmlError(f"{work.raw} has no {', '.join(missing)}{alone}; the distribution of AVE has them")
    ids = dict[str, None]()
    for name in SPLITS:
        ids |= dict.fromkeys(parsed(work.raw / name, lines_of(work.raw / name), _id))
    work.write_files({name: (work.raw / name).read_bytes() for name in SPLITS})
    work.make([piece for clip in ids for piece in _pieces(work.raw, work.root, clip)])


def _id(line: str) -> str:
    fields = line.split("&")
    if len(fields) != 5:
        raise ValueError(f"a row has five fields: {_ROW}")
    if line.strip() == _ROW:
        raise ValueError("a split file has no header")
    return name_of_file(fields[1])


def _pieces(raw: Path, root: Path, clip: str) -> Iterator[Piece]:
    video, array = raw / "AVE" / f"{clip}.mp4", raw / "Audio-1004" / f"{clip}.pkl"
    yield Piece(clip, root / "Audios" / f"{clip}.wav", partial(write_sound, video, rate=RATE))
    yield Piece(clip, root / "Image-01-FPS" / clip, partial(write_frames, video))
    if array.is_file():
        yield Piece(clip, root / "Audio-1004" / f"{clip}.npy", partial(_write_array, array))


def _write_array(source: Path, target: Path) -> None:
    values = load_array(source)
    with target.open("wb") as file:
        np.save(file, values, allow_pickle=False)
