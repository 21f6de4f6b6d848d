"""Every loader names damage by file and line and trains nothing, or skips it where allowed."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import soundfile

from ibml.data.base import ignore_progress
from ibml.data.files.file_dataset import FileDataset, open_file_dataset
from ibml.data.listing import DataError
from tests.data.miniatures import RATE, TEST, TRAIN, VAL, miniature, picture
from tests.data.test_layouts import batch, configuration, load, tells

Change = Callable[[Path], object]


def removed(*files: str) -> Change:
    def change(root: Path) -> None:
        for file in files:
            shutil.rmtree(root / file) if (root / file).is_dir() else (root / file).unlink()

    return change


def text(file: str, content: str) -> Change:
    return lambda root: (root / file).write_text(content)


def content(file: str, data: bytes) -> Change:
    return lambda root: (root / file).write_bytes(data)


@dataclass
class Appended:
    """One more row."""

    file: str
    line: str

    def __call__(self, root: Path) -> None:
        with (root / self.file).open("a") as stream:
            stream.write(f"{self.line}\n")


def replaced(file: str, old: str, new: str) -> Change:
    def change(root: Path) -> None:
        before = (root / file).read_text()
        assert old in before
        (root / file).write_text(before.replace(old, new, 1))

    return change


def cut(file: str, kept: float = 0.5) -> Change:
    def change(root: Path) -> None:
        os.truncate(root / file, int((root / file).stat().st_size * kept))

    return change


def moved(old: str, new: str) -> Change:
    def change(root: Path) -> None:
        (root / new).parent.mkdir(parents=True, exist_ok=True)
        (root / old).rename(root / new)

    return change


def both(*changes: Change) -> Change:
    return lambda root: [change(root) for change in changes]


def in_group(change: Callable[[Any], object], file: str = "train_point_clouds.h5") -> Change:
    """Change group 10, the third of train, or a whole HDF5 file."""

    def changed(root: Path) -> None:
        with h5py.File(root / file, "r+") as opened:
            change(opened.get("10", opened))

    return changed


def declared(name: str, shape: tuple[int, ...]) -> Callable[[Any], object]:
    """Declare an array without data, which takes no space."""

    def change(group: Any) -> None:
        del group[name]
        group.create_dataset(name, shape, "f4", chunks=(1,) * (len(shape) - 1) + (3,))

    return change


def given(name: str, values: Any) -> Callable[[Any], object]:
    def change(group: Any) -> None:
        del group[name]
        if values is not None:
            group[name] = values

    return change


class Hostile:
    """Pickled, a program that makes a file."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("hostile",)


WAV, FRAMES = "CREMA-D/AudioWAV/-c00.wav", "CREMA-D/Image-01-FPS/-c00"
SOUND, PICTURES = "s4_data/audio_wav", "s4_data/visual_frames"
SHEETS, VIEWS = "modelnet40_ply_hdf5_2048", "ModelNet40-Images-180"
NAMES = f"{SHEETS}/ply_data_train_2_id2file.json"

SKIPPED = [
    # Data set, damage, message, number of skipped samples.
    ("cremad", removed(WAV), f"train.csv:1: {WAV} does not exist", 1),
    (
        "cremad",
        both(removed(WAV), lambda root: (root / WAV).mkdir()),
        f"train.csv:1: {WAV} does not exist",
        1,
    ),
    ("cremad", content(WAV, b""), f"train.csv:1: {WAV} cannot be read as audio", 1),
    ("cremad", cut(WAV), f"train.csv:1: {WAV} is cut off", 1),
    (
        "cremad",
        lambda root: soundfile.write(root / WAV, np.zeros(0), RATE),
        f"train.csv:1: {WAV} has no samples",
        1,
    ),
    ("cremad", removed(FRAMES), f"train.csv:1: the folder {FRAMES} does not exist", 1),
    (
        "cremad",
        removed(f"{FRAMES}/2.jpg", f"{FRAMES}/10.jpg"),
        f"train.csv:1: the folder {FRAMES} has no images",
        1,
    ),
    ("cremad", cut(f"{FRAMES}/10.jpg", 0.95), f"train.csv:1: {FRAMES} 10.jpg is damaged", 1),
    (
        "cremad",
        content(f"{FRAMES}/2.jpg", b"<html>"),
        f"train.csv:1: {FRAMES} 2.jpg cannot be read as an image",
        1,
    ),
    (
        "cremad",
        replaced("test.csv", "-c09,dog", "-c09,dgo"),
        "has the label 'dgo'; did you mean 'dog'?",
        1,
    ),
    (
        "cremad",
        replaced("test.csv", "-c09,dog", "-c09,d\x1bg"),
        r"test.csv:2: its label 'd\x1bg' has characters",
        1,
    ),
    (
        "cremad",
        replaced("test.csv", "-c09,dog", '-c09,"d\ng"'),
        r"test.csv:2: its label 'd\ng' has characters",
        1,
    ),
    ("cremad", replaced("test.csv", "-c09,dog", "-c09"), "test.csv:2: expected clip,LABEL", 1),
    ("cremad", replaced("test.csv", "-c09,dog", ",dog"), "test.csv:2: expected clip,LABEL", 1),
    (
        "cremad",
        Appended("train.csv", "-c00,cat"),
        "train.csv:7: '-c00' is already listed at train.csv:1",
        1,
    ),
    (
        "cremad",
        Appended("test.csv", "-c00,cat"),
        "train.csv:1: '-c00' is also in test, at test.csv:4",
        1,
    ),
    (
        "cremad",
        replaced("test.csv", "-c09", "x" * 5000),
        "test.csv:2: the folder CREMA-D/Image-01-FPS/xxx",
        1,
    ),
    (
        "cremad",
        both(removed(FRAMES), lambda root: (root / FRAMES).symlink_to("-c00")),
        f"folder {FRAMES} cannot be",
        1,
    ),
    ("ave", removed("Audio-1004/-c00.npy"), "trainSet.txt:1: Audios/-c00.wav does not exist", 1),
    ("ave", content("Audio-1004/-c01.pkl", pickle.dumps(Hostile())), "it uses posix.mkdir", 1),
    (
        "ave",
        cut("Audio-1004/-c01.pkl"),
        "trainSet.txt:2: Audio-1004/-c01.pkl is not an array of numbers",
        1,
    ),
    (
        "ave",
        cut("Audio-1004/-c00.npy"),
        "trainSet.txt:1: Audio-1004/-c00.npy is not an array of numbers",
        1,
    ),
    (
        "ave",
        content("Audio-1004/-c00.npy", pickle.dumps(Hostile())),
        "-c00.npy is not an array of numbers",
        1,
    ),
    (
        "ave",
        replaced("valSet.txt", "&good&0&10", ""),
        "valSet.txt:1: expected label&id&quality&start&end",
        1,
    ),
    (
        "ave",
        Appended("trainSet.txt", "cat&-c06&good&0&10"),
        "trainSet.txt:7: '-c06' is also in val, at valSet.txt:1",
        1,
    ),
    (
        "avsbench",
        removed(f"{SOUND}/train/cat/-c00.wav"),
        f"{SOUND}/train/cat/-c00.wav does not exist",
        1,
    ),
    (
        "avsbench",
        removed(f"{PICTURES}/train/cat/-c00"),
        f"folder {PICTURES}/train/cat/-c00 does not exist",
        1,
    ),
    (
        "avsbench",
        removed(f"{SOUND}/train/cat/-c00.wav", f"{PICTURES}/train/cat/-c00"),
        f"s4_meta_data.csv:2: {SOUND}/train/cat/-c00.wav does not exist",
        1,
    ),
    (
        "avsbench",
        both(*(moved(f"{top}/test/cat", f"{top}/test/zebra") for top in (SOUND, PICTURES))),
        f"{SOUND}/test/zebra/-c08.wav: s4_meta_data.csv has no class 'zebra'",
        2,
    ),
    (
        "avsbench",
        both(
            moved(f"{SOUND}/test/dog/-c09.wav", f"{SOUND}/train/dog/-c09.wav"),
            removed(f"{PICTURES}/test/dog/-c09"),
        ),
        f"{SOUND}/train/dog/-c09.wav: s4_meta_data.csv:11 lists it in test",
        1,
    ),
    ("vggsound", removed("audios/-c00.wav"), "train.txt:1: audios/-c00.wav does not exist", 1),
    (
        "vggsound",
        replaced("train.txt", '-c00.mp4,"cat"', "-c00.mp4,"),
        "train.txt:1: expected CLIP.mp4,label",
        1,
    ),
    (
        "kinetics_sounds",
        removed("test/audios/-c09.wav"),
        "test.txt:2: test/audios/-c09.wav does not exist",
        1,
    ),
    (
        "kinetics_sounds",
        replaced("test.txt", ",-c09", ""),
        "test.txt:2: expected wav,frames,label",
        1,
    ),
    (
        "ucf101",
        removed("audios/-c00.wav"),
        "ucfTrainTestlist/trainlist02.txt:1: audios/-c00.wav does not exist",
        1,
    ),
    (
        "ucf101",
        replaced("ucfTrainTestlist/testlist02.txt", "dog/", ""),
        "testlist02.txt:2: expected CLASS/CLIP.avi",
        1,
    ),
    ("food101", removed("img/-c00.png"), "train.jsonl:1: img/-c00.png does not exist", 1),
    ("food101", cut("img/-c00.png", 0.6), "train.jsonl:1: img/-c00.png is damaged", 1),
    (
        "food101",
        replaced("dev.jsonl", '"img"', '"image"'),
        "dev.jsonl:1: has no 'img'; did you mean 'image'?",
        1,
    ),
    (
        "food101",
        replaced("dev.jsonl", '"A word6."', "null"),
        "dev.jsonl:1: 'text' is not",
        1,
    ),
    (
        "food101",
        replaced("dev.jsonl", '"cat"', "true"),
        "dev.jsonl:1: 'label' is not a text or a number",
        1,
    ),
    ("food101", replaced("dev.jsonl", '"cat"', '" "'), "dev.jsonl:1: 'label' is empty", 1),
    ("food101", replaced("dev.jsonl", "}", ""), "dev.jsonl:1: is not JSON", 1),
    ("food101", replaced("dev.jsonl", "{", "[{"), "dev.jsonl:1: is not JSON", 1),
    ("mvsa", Appended("dev.jsonl", "[]"), "dev.jsonl:3: is not a JSON object", 1),
    (
        "mvsa",
        replaced("test.jsonl", '"id": 8', '"id": "0"'),
        "train.jsonl:1: '0' is also in test, at test.jsonl:1",
        1,
    ),
    (
        "mnist3d",
        in_group(given("points", None)),
        "train_point_clouds.h5: group 10: has no 'points'",
        1,
    ),
    (
        "mnist3d",
        in_group(given("img", np.zeros((30, 30)))),
        "group 10: 'img' has shape (30, 30), not (3, 30, 30)",
        1,
    ),
    (
        "mnist3d",
        in_group(lambda group: group.attrs.pop("label")),
        "group 10: has no attribute 'label'",
        1,
    ),
    (
        "mnist3d",
        in_group(given("points", np.zeros((0, 3)))),
        "train_point_clouds.h5 (10/points) has no points",
        1,
    ),
    (
        "mnist3d",
        in_group(given("points", np.full((9, 3), np.nan))),
        "(10/points) has values that are not finite",
        1,
    ),
    (
        "mnist3d",
        in_group(given("points", np.zeros((9, 2)))),
        "(10/points) has shape (9, 2)",
        1,
    ),
    (
        "mnist3d",
        in_group(lambda group: group.parent.move("10", "ten")),
        "group 'ten': is not named by a number",
        1,
    ),
    (
        "mnist3d",
        in_group(given("points", h5py.ExternalLink("/x.h5", "/points"))),
        "group 10: has no 'points'",
        1,
    ),
    (
        "mnist3d",
        in_group(declared("points", (10**9, 3))),
        "(10/points) has 12,000,000,000 bytes in a sample",
        1,
    ),
    (
        "modelnet40",
        removed(f"{VIEWS}/cat/-c00/-c00.3.png"),
        f"{VIEWS}/cat/-c00/-c00.3.png does not exist",
        1,
    ),
    (
        "modelnet40",
        removed(f"{VIEWS}/cat/-c00"),
        "-c00.0.png does not exist, nor do 11 other",
        1,
    ),
    ("modelnet40", replaced(NAMES, ', "dog/-c03.ply"', ""), "train2.h5: row 3: has no name", 1),
    ("modelnet40", replaced(NAMES, "dog/-c01", "cat/-c01"), "row 1: its label is 'dog'", 1),
    (
        "modelnet40",
        replaced(NAMES, "cat/-c00", "-c00"),
        "train2.h5: row 0: '-c00.ply' is not class/name.ply",
        1,
    ),
    (
        "modelnet40",
        in_group(given("data", np.zeros((2, 20))), f"{SHEETS}/ply_data_train10.h5"),
        "train10.h5: row 0: 'data' has shape (2, 20)",
        2,
    ),
]

FATAL = [
    # Data set, damage, message, independent of the number of samples that may be skipped.
    ("cremad", removed("test.csv"), "test.csv: cannot be read: No such file or directory"),
    (
        "cremad",
        both(removed("test.csv"), lambda root: (root / "test.csv").mkdir()),
        "test.csv: is not a file",
    ),
    (
        "cremad",
        both(removed("test.csv"), lambda root: os.mkfifo(root / "test.csv")),
        "test.csv: is not a file",
    ),
    ("cremad", text("test.csv", "\n \n,\n"), "the split test: has no samples"),
    ("cremad", content("test.csv", "-c09,ö".encode("latin-1")), "test.csv: is not UTF-8 text"),
    ("cremad", replaced("train.csv", "-c01", '"-c01'), "train.csv:2: is not CSV"),
    (
        "cremad",
        replaced("train.csv", "-c01", "../../x"),
        "train.csv:2: '../../x' leads out of the data set's folder",
    ),
    (
        "cremad",
        replaced("train.csv", "-c01", "/etc/passwd"),
        "train.csv:2: '/etc/passwd' leads out of",
    ),
    ("cremad", replaced("train.csv", "-c01", "."), "train.csv:2: '.' is not a path"),
    (
        "cremad",
        replaced("train.csv", "-c01", "a\0b"),
        r"train.csv:2: 'a\x00b' has characters that cannot be shown",
    ),
    (
        "cremad",
        removed(*(f"CREMA-D/AudioWAV/-c{n:02}.wav" for n in TEST)),
        "none of its 3 samples can be used",
    ),
    (
        "cremad",
        text("train.csv", "-c00,cat\n-c02,cat\n"),
        "the split train: has only one class, 'cat'",
    ),
    ("ave", text("valSet.txt", ""), "the split val: has no samples"),
    (
        "ave",
        removed(*(f"Image-01-FPS/-c{n:02}" for n in VAL)),
        "the split val: none of its 2 samples can be used",
    ),
    ("avsbench", removed(f"{SOUND}/val"), f"{SOUND}/val: does not exist"),
    (
        "avsbench",
        replaced("s4_meta_data.csv", "-c01,0,dog,train", "-c01"),
        "s4_meta_data.csv:3: has 1 cells",
    ),
    ("kinetics_sounds", replaced("test.txt", ",-c09", ",a\\b"), r"test.txt:2: 'a\\b' leads out of"),
    (
        "ucf101",
        removed("ucfTrainTestlist/testlist02.txt"),
        "ucfTrainTestlist/testlist02.txt: cannot be read",
    ),
    (
        "ucf101",
        replaced("ucfTrainTestlist/testlist02.txt", "-c09.avi", "../x.avi"),
        "testlist02.txt:2: '../x.wav' leads",
    ),
    (
        "food101",
        replaced("dev.jsonl", "img/-c06.png", "/etc/passwd"),
        "dev.jsonl:1: '/etc/passwd' leads out of",
    ),
    (
        "food101",
        replaced("dev.jsonl", "img/-c06.png", "img/../../x"),
        "dev.jsonl:1: 'img/../../x' leads out of",
    ),
    (
        "mnist3d",
        content("test_point_clouds.h5", b"\x89HDF no"),
        "test_point_clouds.h5: is not an HDF5 file",
    ),
    ("mnist3d", removed("test_point_clouds.h5"), "test_point_clouds.h5: does not exist"),
    ("modelnet40", removed(NAMES), f"{NAMES}: does not exist"),
    (
        "modelnet40",
        in_group(declared("data", (10**9, 20, 3)), f"{SHEETS}/ply_data_train2.h5"),
        f"{SHEETS}/ply_data_train2.h5: 'data' has 1,000,000,000 rows",
    ),
    ("modelnet40", text(NAMES, "{}"), f"{NAMES}: is not a JSON list"),
    (
        "modelnet40",
        replaced(NAMES, "cat/-c00", "../x"),
        "row 0: '../x.ply' leads out of the data set's folder",
    ),
    ("modelnet40", removed(f"{SHEETS}/ply_data_test0.h5"), f"{SHEETS}: has no ply_data_test0.h5"),
]


def ids(cases: list[Any]) -> list[str]:
    return [f"{case[0]}-{re.sub('[^a-z0-9]+', '-', case[2].lower())[:50]}" for case in cases]


def opened(
    kind: str, root: Path, change: Change, on_missing: str, say: Callable[[str], object] = print
) -> FileDataset:
    if not root.exists():
        (root.parent / "settings.json").write_text(json.dumps(miniature(kind, root)))
        change(root)
    settings = json.loads((root.parent / "settings.json").read_text())
    return open_file_dataset(
        configuration({**settings, "on_missing": on_missing}), say, ignore_progress
    )


@pytest.mark.parametrize(("kind", "change", "said", "left_out"), SKIPPED, ids=ids(SKIPPED))
def test_a_damaged_sample_is_named_or_left_out(
    kind: str,
    change: Change,
    said: str,
    left_out: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match=re.escape(said)) as error:
        opened(kind, tmp_path / "data", change, "stop")
    assert f"{left_out} issue" in str(error.value)
    assert "data.on_missing=skip" in str(error.value)
    lines: list[str] = []
    found = opened(kind, tmp_path / "data", change, "skip", lines.append)
    [line] = lines
    assert line.startswith(
        f"{kind}: {left_out} sample{'s' if left_out > 1 else ''} left out; the first: "
    )
    listed = 11 if kind in ("ave", "avsbench", "food101", "mvsa") else 9
    assert sum(map(len, found.rows.values())) == listed + isinstance(change, Appended) - left_out
    assert not (tmp_path / "hostile").exists()


@pytest.mark.parametrize(("kind", "change", "said"), FATAL, ids=ids(FATAL))
@pytest.mark.parametrize("on_missing", ["stop", "skip"])
def test_what_makes_a_data_set_useless_is_never_skipped(
    kind: str, change: Change, said: str, on_missing: str, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=re.escape(said)) as error:
        opened(kind, tmp_path / "data", change, on_missing)
    assert "on_missing" not in str(error.value)


def test_a_folder_that_is_not_there_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(DataError, match=r"cremad: .*/none"):
        load({"type": "cremad", "root": str(tmp_path / "none")})
    monkeypatch.delenv("IBML_DATA", raising=False)
    with pytest.raises(DataError, match=r"data\.root .*IBML_DATA"):
        load({"type": "cremad"})


def test_the_first_damages_are_named_and_the_rest_is_counted(tmp_path: Path) -> None:
    settings = miniature("cremad", tmp_path)
    for n in (0, 1, 2, 3, 8, 9):
        (tmp_path / f"CREMA-D/AudioWAV/-c{n:02}.wav").unlink()
    picture(tmp_path / "CREMA-D/Image-01-FPS/-c00/3.jpg", 0)
    (tmp_path / "CREMA-D/Image-01-FPS/-c00/3.jpg").write_bytes(b"")
    with pytest.raises(DataError) as error:
        load(settings)
    lines = str(error.value).splitlines()
    assert "7 issues" in lines[0]
    assert lines[1] == "  test.csv:1: CREMA-D/AudioWAV/-c08.wav does not exist"
    assert len(lines) == 8
    assert "2 more" in lines[6]
    assert "'ibml data check'" in lines[6]
    assert "data.on_missing=skip" in lines[7]


def test_a_modality_that_is_not_used_may_be_damaged(tmp_path: Path) -> None:
    settings = miniature("cremad", tmp_path)
    shutil.rmtree(tmp_path / "CREMA-D/Image-01-FPS")
    assert tells(load({**settings, "use": ["audio"]}).test, "audio") == list(TEST)


def test_marks_and_line_ends_of_other_systems_and_quotes_and_spaces_change_nothing(
    tmp_path: Path,
) -> None:
    settings = miniature("cremad", tmp_path)
    rows = (
        (tmp_path / "train.csv")
        .read_text()
        .replace("-c02,cat", '" -c02 ","cat"')
        .replace("\n", "\r\n")
    )
    (tmp_path / "train.csv").write_bytes(b"\xef\xbb\xbf" + rows.encode() + b"\r\n\r\n")
    found = load(settings)
    assert (len(found.train) + len(found.val), found.classes) == (len(TRAIN), ("cat", "dog"))


def test_labels_may_have_spaces_and_letters_of_any_alphabet(tmp_path: Path) -> None:
    settings = miniature("food101", tmp_path)
    for path in tmp_path.glob("*.jsonl"):
        path.write_text(path.read_text().replace('"dog"', '"crème brûlée 焦糖"'))
    assert load(settings).classes == ("cat", "crème brûlée 焦糖")


def test_an_empty_text_is_one_unknown_word(tmp_path: Path) -> None:
    settings = miniature("food101", tmp_path)
    replaced("train.jsonl", '"A word0."', '""')(tmp_path)
    texts = batch(load(settings).train, "text")
    assert (texts.lengths[0], texts.values[0].tolist()) == (1, [0, 0])  # type: ignore[union-attr]


def test_a_cloud_of_few_points_is_drawn_from_with_replacement(tmp_path: Path) -> None:
    settings = miniature("mnist3d", tmp_path)
    in_group(given("points", np.array([[1, 2, 3], [4, 5, 6]])), "test_point_clouds.h5")(tmp_path)
    clouds = batch(load(settings).test, "points")
    assert clouds.shape == (3, 16, 3)  # type: ignore[union-attr]
    distinct = set(map(tuple, clouds[2].tolist()))  # type: ignore[index]
    assert sorted(distinct) == [(1, 2, 3), (4, 5, 6)]
