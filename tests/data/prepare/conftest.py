"""Small distributions as they are downloaded: sound, video, images, meshes and HDF5 files."""

from __future__ import annotations

import json
import pickle
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
import pytest
from PIL import Image

from ibml.config.data import PREPARATIONS
from tests.conftest import Answer, CommandLine

SECONDS = 2.5
EMOTIONS = ("NEU", "HAP", "SAD", "FEA", "DIS", "ANG")
CUBE = [[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)]
SQUARES = [[0, 1, 3, 2], [4, 5, 7, 6], [0, 1, 5, 4], [2, 3, 7, 6], [0, 2, 6, 4], [1, 3, 7, 5]]


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Path of a clip without its suffix: 1 s red, 1 s green, 0.5 s blue, and a stereo tone."""
    if shutil.which("ffmpeg") is None:
        pytest.skip("ffmpeg is not installed")
    made = tmp_path_factory.mktemp("clip") / "clip"
    colours = [
        f"color={name}:s=32x24:r=25:d={length}"
        for name, length in (("red", 1), ("lime", 1), ("blue", 0.5))
    ]
    video = (
        f"{';'.join(f'{colour}[c{i}]' for i, colour in enumerate(colours))};[c0][c1][c2]concat=n=3"
    )
    inputs = [
        "-f",
        "lavfi",
        "-i",
        video,
        "-f",
        "lavfi",
        "-i",
        f"sine=f=440:r=22050:d={SECONDS},aformat=cl=stereo",
    ]
    for suffix in ("mp4", "flv", "wav"):
        only = ["-map", "1:a"] if suffix == "wav" else []
        command = [
            "ffmpeg",
            "-nostdin",
            "-v",
            "error",
            *inputs,
            *only,
            str(made.with_suffix(f".{suffix}")),
        ]
        subprocess.run(command, check=True)
    return made


@dataclass(frozen=True)
class Raw:
    """A distribution in a folder, and the command that prepares it."""

    name: str
    folder: Path
    cli: CommandLine

    def prepare(self, root: str = "out") -> Answer:
        return self.cli.inside(
            "data", "prepare", self.name, "--from", str(self.folder), "--root", root
        )

    @property
    def out(self) -> Path:
        return self.cli.folder / "out"

    def write(self, name: str, content: str | bytes) -> Path:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def copy(self, source: Path, name: str) -> None:
        self.write(name, source.read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }


def jsonl(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def off(squares: bool = True, header: str = "OFF\n") -> str:
    """A cube, its faces as squares or each as two triangles."""
    corners = "".join(" ".join(map(str, corner)) + "\n" for corner in CUBE)
    faces = (
        SQUARES if squares else [half for a, b, c, d in SQUARES for half in ([a, b, c], [a, c, d])]
    )
    rows = "".join(" ".join(map(str, (len(face), *face))) + "\n" for face in faces)
    return f"{header}{len(CUBE)} {len(faces)} 0\n{corners}{rows}"


@pytest.fixture
def new(cli: CommandLine) -> Callable[[str], Raw]:
    """An empty folder for a data set's distribution."""

    def make(name: str) -> Raw:
        folder = cli.folder / "raw"
        folder.mkdir()
        return Raw(name, folder, cli)

    return make


@pytest.fixture
def cremad(new: Callable[[str], Raw], clip: Path) -> Raw:
    raw = new("cremad")
    for emotion in EMOTIONS:
        raw.copy(clip.with_suffix(".wav"), f"AudioWAV/1001_DFA_{emotion}_XX.wav")
        raw.copy(clip.with_suffix(".flv"), f"VideoFlash/1001_DFA_{emotion}_XX.flv")
    return raw


AVE_IDS = ("-0123456789", "abcdefghijk", "A_b-C_d-E_f")


@pytest.fixture
def ave(new: Callable[[str], Raw], clip: Path) -> Raw:
    raw = new("ave")
    raw.write("Annotations.txt", "Category&VideoID&Quality&StartTime&EndTime\n")
    for name, number in zip(("trainSet.txt", "valSet.txt", "testSet.txt"), AVE_IDS, strict=True):
        raw.write(name, f"Male speech, man speaking&{number}&good&0&10\n")
        raw.copy(clip.with_suffix(".mp4"), f"AVE/{number}.mp4")
    raw.write(
        f"Audio-1004/{AVE_IDS[0]}.pkl", pickle.dumps(np.arange(6.0, dtype=np.float32).reshape(2, 3))
    )
    return raw


@pytest.fixture
def food101(new: Callable[[str], Raw]) -> Raw:
    raw = new("food101")
    rows: dict[str, list[str]] = {"train": [], "test": []}
    for label in ("apple_pie", "baklava"):
        for i in range(25):
            split = "train" if i < 20 else "test"
            place = raw.write(f"images/{split}/{label}/{label}_{i}.jpg", b"")
            Image.new("RGB", (8, 8), (i, 0, 0)).save(place)
            rows[split].append(f'{label}_{i}.jpg,"Pie, ""best"" of {i} | É",{label}\n')
    for split, lines in rows.items():
        raw.write(f"texts/{split}_titles.csv", "".join(lines))
    return raw


PAIRS = {
    ("positive", "positive"): "positive",
    ("negative", "negative"): "negative",
    ("neutral", "neutral"): "neutral",
    ("positive", "neutral"): "positive",
    ("neutral", "positive"): "positive",
    ("negative", "neutral"): "negative",
    ("neutral", "negative"): "negative",
    ("positive", "negative"): None,
    ("negative", "positive"): None,
}


@pytest.fixture
def mvsa(new: Callable[[str], Raw]) -> Raw:
    raw = new("mvsa")
    rows = [f"{i + 1}\t{','.join(pair)}\r\n" for i, pair in enumerate(5 * list(PAIRS))]
    raw.write("labelResultAll.txt", "ID\ttext,image\r\n" + "".join(rows))
    for i in range(len(rows)):
        Image.new("RGB", (8, 8), (i, 0, 0)).save(raw.write(f"data/{i + 1}.jpg", b""))
        raw.write(
            f"data/{i + 1}.txt",
            f"RT @user: caf\xe9 {i + 1}\n".encode("latin-1" if i % 2 else "utf-8"),
        )
    return raw


@pytest.fixture
def modelnet40(new: Callable[[str], Raw]) -> Raw:
    raw = new("modelnet40")
    for label in ("night_stand", "bed"):
        for i in range(3):
            split = "train" if i < 2 else "test"
            raw.write(
                f"ModelNet40/{label}/{split}/{label}_000{i}.off",
                off(squares=i == 0, header="OFF" * (i > 0) or "OFF\n"),
            )
            for view in (0, 1):
                place = raw.write(
                    f"ModelNet40-Images-180/{label}/{label}_000{i}/{label}_000{i}.{view}.png", b""
                )
                Image.new("L", (4, 4), view).save(place)
    return raw


@pytest.fixture
def mnist3d(new: Callable[[str], Raw]) -> Raw:
    raw = new("mnist3d")
    generator = np.random.default_rng(0)
    for split, count in (("train", 11), ("test", 2)):
        with h5py.File(raw.folder / f"{split}_point_clouds.h5", "w") as file:
            for i in range(count):
                group = file.create_group(str(i))
                group.attrs["label"] = i % 10
                group["img"] = generator.random((30, 30))
                group["points"] = generator.random((20 + i, 3))
                group["normals"] = generator.random((20 + i, 3))
    return raw


@pytest.fixture(params=PREPARATIONS)
def every(request: pytest.FixtureRequest) -> Raw:
    """Every data set's distribution in turn."""
    raw: Raw = request.getfixturevalue(request.param)
    return raw
