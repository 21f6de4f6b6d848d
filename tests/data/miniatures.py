"""Miniatures of the data sets: eleven samples in the exact layout of each, identified by content.

Sample n sounds at 250 (n + 1) Hz, its images have red value 20 (n + 1), its texts contain `word<n>`
and its points have x = n. The green value of frames and views encodes their order by `GREEN`.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import numpy.typing as npt
import soundfile
from PIL import Image

from ibml.config.data import DATASET_CONFIGS
from ibml.config.datasets import FilesConfig

TRAIN, VAL, TEST = range(6), range(6, 8), range(8, 11)
CLASSES = ("cat", "dog")
SIDE = 8
RATE, SECONDS, WINDOW = 8000, 0.1, 64
GREEN = (40, 120)
VIEWS = 12
AUDIO = {"rate": RATE, "seconds": SECONDS, "window": WINDOW, "hop": 32}
PICTURES = {"size": SIDE, "stored_side": SIDE, "mean": [0, 0, 0], "std": [1, 1, 1]}
CLIPS = {"audio": AUDIO, "video": {**PICTURES, "count": 2}}
CARVED = {"validation": 0.34}
WRITTEN = {"image": PICTURES, "text": {"length": 5}}


def clip(n: int) -> str:
    """The name of a sample."""
    return f"-c{n:02}"


def label(n: int) -> str:
    return CLASSES[n % 2]


def tone(n: int) -> npt.NDArray[np.float32]:
    times = np.arange(int(RATE * SECONDS)) / RATE
    return (0.5 * np.sin(2 * np.pi * 250 * (n + 1) * times)).astype(np.float32)


def red(n: int) -> int:
    return 20 * (n + 1)


def _text(path: Path, lines: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines))


def _wav(path: Path, n: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, tone(n), RATE)


def picture(path: Path, n: int, green: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (SIDE, SIDE), (red(n), green, 0)).save(path, quality=95)


def _frames(folder: Path, n: int, suffix: str = "jpg") -> None:
    for number, green in zip((2, 10), GREEN, strict=True):
        picture(folder / f"{number}.{suffix}", n, green)


def _points(n: int, count: int) -> npt.NDArray[np.float32]:
    return np.stack([np.full(count, n), np.arange(count), np.zeros(count)], axis=1).astype(
        np.float32
    )


def cremad(root: Path) -> dict[str, Any]:
    for split, chosen in (("train", TRAIN), ("test", TEST)):
        _text(root / f"{split}.csv", [f"{clip(n)},{label(n)}" for n in chosen])
        for n in chosen:
            _wav(root / "CREMA-D/AudioWAV" / f"{clip(n)}.wav", n)
            _frames(root / "CREMA-D/Image-01-FPS" / clip(n), n)
    return CLIPS | CARVED


def ave(root: Path) -> dict[str, Any]:
    """A third of the clips each have an array, a pickled array and a sound file."""
    for split, chosen in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        _text(root / f"{split}Set.txt", [f"{label(n)}&{clip(n)}&good&0&10" for n in chosen])
        for n in chosen:
            _frames(root / "Image-01-FPS" / clip(n), n)
            (root / "Audio-1004").mkdir(exist_ok=True)
            if n % 3 == 0:
                np.save(root / "Audio-1004" / f"{clip(n)}.npy", tone(n))
            elif n % 3 == 1:
                (root / "Audio-1004" / f"{clip(n)}.pkl").write_bytes(pickle.dumps(tone(n)))
            else:
                _wav(root / "Audios" / f"{clip(n)}.wav", n)
    return CLIPS


def avsbench(root: Path) -> dict[str, Any]:
    rows = ["name,start,category,split"]
    for split, chosen in (("train", TRAIN), ("val", VAL), ("test", TEST)):
        rows += [f"{clip(n)},0,{label(n)},{split}" for n in chosen]
        for n in chosen:
            _wav(root / "s4_data/audio_wav" / split / label(n) / f"{clip(n)}.wav", n)
            _frames(root / "s4_data/visual_frames" / split / label(n) / clip(n), n, "png")
    _text(root / "s4_meta_data.csv", rows)
    return CLIPS


def vggsound(root: Path) -> dict[str, Any]:
    for split, chosen in (("train", TRAIN), ("test", TEST)):
        _text(root / f"{split}.txt", [f'{clip(n)}.mp4,"{label(n)}",{split}' for n in chosen])
        for n in chosen:
            _wav(root / "audios" / f"{clip(n)}.wav", n)
            _frames(root / "Image-01-FPS" / clip(n), n)
    return CLIPS | CARVED


def kinetics_sounds(root: Path) -> dict[str, Any]:
    for split, chosen in (("train", TRAIN), ("test", TEST)):
        _text(root / f"{split}.txt", [f"{clip(n)}.wav,{clip(n)},{label(n)}" for n in chosen])
        for n in chosen:
            _wav(root / split / "audios" / f"{clip(n)}.wav", n)
            _frames(root / split / "Image-01-FPS" / clip(n), n)
    return CLIPS | CARVED


def ucf101(root: Path) -> dict[str, Any]:
    """Create UCF101, where the first split contains only a missing file."""
    _text(root / "ucfTrainTestlist/trainlist01.txt", ["cat/v_none.avi 1"])
    for split, chosen in (("train", TRAIN), ("test", TEST)):
        number = " {}" if split == "train" else ""
        rows = [f"{label(n)}/{clip(n)}.avi{number.format(n % 2 + 1)}" for n in chosen]
        _text(root / f"ucfTrainTestlist/{split}list02.txt", rows)
        for n in chosen:
            _wav(root / "audios" / f"{clip(n)}.wav", n)
            _frames(root / "Image-01-FPS" / clip(n), n)
    return {**CLIPS, **CARVED, "fold": 2}


def jsonl(root: Path) -> dict[str, Any]:
    for split, chosen in (("train", TRAIN), ("dev", VAL), ("test", TEST)):
        rows = [
            {"id": n, "label": label(n), "text": f"A word{n}.", "img": f"img/{clip(n)}.png"}
            for n in chosen
        ]
        _text(root / f"{split}.jsonl", [json.dumps(row) for row in rows])
        for n in chosen:
            picture(root / "img" / f"{clip(n)}.png", n)
    return WRITTEN


def mnist3d(root: Path) -> dict[str, Any]:
    """Groups are written in the order of their names, in which 10 comes before 2."""
    for split, chosen in (("train", TRAIN), ("test", TEST)):
        with h5py.File(root / f"{split}_point_clouds.h5", "w") as file:
            for place, n in enumerate(chosen):
                group = file.create_group(str(place * 5))
                group["img"] = np.full((3, 30, 30), red(n), np.float32)
                group["points"] = _points(n, 20)
                group.attrs["label"] = n % 2
    return {**CARVED, "points": {"count": 16}}


def modelnet40(root: Path) -> dict[str, Any]:
    """Create two files of train, one with the name that newer copies of the data set have."""
    folder = root / "modelnet40_ply_hdf5_2048"
    _text(folder / "shape_names.txt", list(CLASSES))
    files = {
        "train2": (TRAIN[:4], "train_2"),
        "train10": (TRAIN[4:], "train10"),
        "test0": (TEST, "test_0"),
    }
    for file, (chosen, names) in files.items():
        with h5py.File(folder / f"ply_data_{file}.h5", "w") as written:
            written["data"] = np.stack([_points(n, 20) for n in chosen])
            written["label"] = np.array([[n % 2] for n in chosen], np.uint8)
        (folder / f"ply_data_{names}_id2file.json").write_text(
            json.dumps([f"{label(n)}/{clip(n)}.ply" for n in chosen])
        )
        for n in chosen:
            for view in range(VIEWS):
                green = GREEN[0] if view < VIEWS // 2 else GREEN[1]
                picture(
                    root / "ModelNet40-Images-180" / label(n) / clip(n) / f"{clip(n)}.{view}.png",
                    n,
                    green,
                )
    views = {
        "of": VIEWS,
        "count": 2,
        "crop": SIDE,
        "size": SIDE,
        "mean": [0, 0, 0],
        "std": [1, 1, 1],
    }
    return {**CARVED, "points": {"count": 16}, "image": views}


_SHARED = {"food101": jsonl, "mvsa": jsonl}
"""Writers of layouts that several data sets have."""
WRITERS: dict[str, Callable[[Path], dict[str, Any]]] = {
    name: found
    for name, kind in DATASET_CONFIGS.items()
    if issubclass(kind, FilesConfig) and (found := _SHARED.get(name) or globals().get(name))
}
"""By the names in the registry: the function that is called like the data set, or a shared one."""

FRAMES = (3, len(GREEN), SIDE, SIDE)
_CLIPS_SHAPES = {"audio": (1, 33, 26), "video": FRAMES}
_WRITTEN_SHAPES = {"image": (3, SIDE, SIDE), "text": (5,)}
SHAPES: dict[str, dict[str, tuple[int, ...]]] = {
    **dict.fromkeys(
        ("cremad", "ave", "avsbench", "vggsound", "kinetics_sounds", "ucf101"), _CLIPS_SHAPES
    ),
    **dict.fromkeys(_SHARED, _WRITTEN_SHAPES),
    "mnist3d": {"image": (3, 30, 30), "points": (16, 3)},
    "modelnet40": {"image": FRAMES, "points": (16, 3)},
}
"""Shape of a sample of each modality."""


def miniature(kind: str, root: Path) -> dict[str, Any]:
    """Write a data set and return the data of a configuration that reads it.

    Validation is a third of train if the data set has no validation split.
    """
    root.mkdir(parents=True, exist_ok=True)
    settings = WRITERS[kind](root)
    return {"type": kind, "root": str(root), **settings}
