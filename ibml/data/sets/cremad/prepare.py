"""Preparation of CREMA-D: AudioWAV/*.wav and VideoFlash/*.flv.

The third part of a name like 1001_DFA_ANG_XX is the label.

Cao, Cooper, Keutmann, Gur, Nenkova and Verma, "CREMA-D: Crowd-sourced Emotional Multimodal Actors
Dataset", IEEE Transactions on Affective Computing 5(4), 2014.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

from ibml.common.errors import ConfigError, IbmlError, Problem, SourceLocation
from ibml.data.prepare.ffmpeg import require_ffmpeg, write_frames, write_sound
from ibml.data.prepare.preparation import Preparation, PreparationTask
from ibml.data.prepare.raw_files import (
    list_matching,
    parse_lines,
    read_lines,
    require_path,
    validate_file_name,
)
from ibml.data.prepare.stratified import draw_stratified

LABELS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
SPLITS = ("train.csv", "test.csv")
LAYOUT = "AudioWAV/*.wav and VideoFlash/*.flv"


def prepare(work: Preparation) -> None:
    """Extract sound and frames of the clips in the split files, or of all clips without them."""
    require_ffmpeg()
    sounds = require_path(work.raw, "AudioWAV", LAYOUT)
    videos = require_path(work.raw, "VideoFlash", LAYOUT)
    given = [name for name in SPLITS if (work.raw / name).is_file()]
    if len(given) == 1:
        both = " and ".join(SPLITS)
        raise IbmlError(f"{work.raw} has only {given[0]}; add the other of {both}, or remove it")
    clips = _read_split_files(work) if given else _draw_splits(work, sounds, videos)
    layout = work.root / "CREMA-D"
    tasks: list[PreparationTask] = []
    for clip in clips:
        sound = sounds / f"{clip}.wav"
        video = videos / f"{clip}.flv"
        tasks += [
            PreparationTask(clip, layout / "AudioWAV" / sound.name, partial(write_sound, sound)),
            PreparationTask(clip, layout / "Image-01-FPS" / clip, partial(write_frames, video)),
        ]
    work.make(tasks)


def _read_split_files(work: Preparation) -> list[str]:
    clips: dict[str, None] = {}
    for name in SPLITS:
        file = work.raw / name
        clips |= dict.fromkeys(parse_lines(file, read_lines(file), _parse_clip))
    work.write_files({name: (work.raw / name).read_bytes() for name in SPLITS})
    return list(clips)


def _parse_clip(line: str) -> str:
    clip, comma, label = line.partition(",")
    if not comma or not label.strip():
        raise ValueError("expected a clip and a label: 1001_DFA_ANG_XX,ANG")
    return validate_file_name(clip)


def _draw_splits(work: Preparation, sounds: Path, videos: Path) -> list[str]:
    paths = [*list_matching(sounds, "*.wav"), *list_matching(videos, "*.flv")]
    clips = sorted({path.stem for path in paths})
    labels = [_parse_label(clip, sounds) for clip in clips]
    if not clips:
        raise IbmlError(f"{work.raw} has no clips; it must be a folder with {LAYOUT}")
    test = draw_stratified(labels, round(len(clips) / 10), "cremad")
    train_csv = ""
    test_csv = ""
    for position, (clip, label) in enumerate(zip(clips, labels, strict=True)):
        row = f"{clip},{label}\n"
        if position in test:
            test_csv += row
        else:
            train_csv += row
    work.write_files({"train.csv": train_csv.encode(), "test.csv": test_csv.encode()})
    work.report(
        f"The split is defined by ibml: {len(test):,} of {len(clips):,} clips are the test split,"
        " drawn with a fixed seed and stratified by label. To use another split, put train.csv and"
        " test.csv (rows of clip,LABEL) next to AudioWAV."
    )
    return clips


def _parse_label(clip: str, folder: Path) -> str:
    parts = clip.split("_")
    if len(parts) != 4 or parts[2] not in LABELS:
        message = f"{clip!r} is not named like 1001_DFA_ANG_XX, with a label of {', '.join(LABELS)}"
        raise ConfigError([Problem(SourceLocation(str(folder)), message)])
    return parts[2]
