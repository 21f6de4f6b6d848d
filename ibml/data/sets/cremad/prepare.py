"""CREMA-D: AudioWAV/*.wav and VideoFlash/*.flv; a name like 1001_DFA_ANG_XX has the label third.

Cao, Cooper, Keutmann, Gur, Nenkova and Verma, "CREMA-D: Crowd-sourced Emotional Multimodal Actors Dataset", IEEE
Transactions on Affective Computing 5(4), 2014.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ibml.common.errors import ConfigError, IbmlError, Problem, SourceLocation
from ibml.data.prepare.draws import drawn
from ibml.data.prepare.media import need_ffmpeg, write_frames, write_sound
from ibml.data.prepare.raw import lines_of, name_of_file, named, parsed, part_of
from ibml.data.prepare.work import Piece, Work

LABELS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
SPLITS = ("train.csv", "test.csv")
LAYOUT = "AudioWAV/*.wav and VideoFlash/*.flv"


def prepare(work: Work) -> None:
    """Sound and frames of the clips that the split files list, or of all."""
    need_ffmpeg()
    sounds, videos = (part_of(work.raw, name, LAYOUT) for name in ("AudioWAV", "VideoFlash"))
    given = [name for name in SPLITS if (work.raw / name).is_file()]
    if len(given) == 1:
        raise IbmlError(f"{work.raw} has {given[0]} alone; it needs {' and '.join(SPLITS)}, or neither")
    clips = _listed(work) if given else _drawn(work, sounds, videos)
    pieces = list[Piece]()
    for clip in clips:
        sound, video = sounds / f"{clip}.wav", videos / f"{clip}.flv"
        layout = work.root / "CREMA-D"
        pieces += [
            Piece(clip, layout / "AudioWAV" / sound.name, partial(write_sound, sound)),
            Piece(clip, layout / "Image-01-FPS" / clip, partial(write_frames, video)),
        ]
    work.make(pieces)


def _listed(work: Work) -> list[str]:
    clips = dict[str, None]()
    for name in SPLITS:
        clips |= dict.fromkeys(parsed(work.raw / name, lines_of(work.raw / name), _clip))
    work.write_files({name: (work.raw / name).read_bytes() for name in SPLITS})
    return list(clips)


def _clip(line: str) -> str:
    clip, comma, label = line.partition(",")
    if not comma or not label.strip():
        raise ValueError("a row has a clip and a label: 1001_DFA_ANG_XX,ANG")
    return name_of_file(clip)


def _drawn(work: Work, sounds: Path, videos: Path) -> list[str]:
    clips = sorted({path.stem for path in (*named(sounds, "*.wav"), *named(videos, "*.flv"))})
    labels = [_label(clip, sounds) for clip in clips]
    if not clips:
        raise IbmlError(f"{work.raw} has no clips; it must be a folder with {LAYOUT}")
    test = drawn(labels, round(len(clips) / 10), "cremad")
    rows = [f"{clip},{label}\n" for clip, label in zip(clips, labels, strict=True)]
    work.write_files(
        {
            "train.csv": "".join(row for i, row in enumerate(rows) if i not in test).encode(),
            "test.csv": "".join(row for i, row in enumerate(rows) if i in test).encode(),
        }
    )
    work.say(
        f"The split is ibml's: {len(test):,} of {len(clips):,} clips are for the test, drawn with a fixed seed and"
        " stratified by label. For another one, put train.csv and test.csv (rows of clip,LABEL) beside AudioWAV."
    )
    return clips


def _label(clip: str, folder: Path) -> str:
    parts = clip.split("_")
    if len(parts) != 4 or parts[2] not in LABELS:
        message = f"{clip!r} is not named like 1001_DFA_ANG_XX, with a label of {', '.join(LABELS)}"
        raise ConfigError([Problem(SourceLocation(str(folder)), message)])
    return parts[2]
