"""CREMA-D and AVE: sound and frames of clips, and arrays of AVE's authors."""

from __future__ import annotations

import os
import pickle
import wave
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ibml.data.prepare.stratified import draw_stratified
from tests.data.prepare.conftest import AVE_IDS, EMOTIONS, SECONDS, Raw, contents

CLIPS = [f"1001_DFA_{emotion}_XX" for emotion in EMOTIONS]


def sound(path: Path) -> tuple[int, int, float]:
    """Channels, rate, seconds."""
    with wave.open(str(path)) as file:
        return file.getnchannels(), file.getframerate(), file.getnframes() / file.getframerate()


def colours(folder: Path) -> dict[str, str]:
    """Return the main colour, red, green or blue, of every image of a folder."""
    found = {}
    for path in sorted(folder.iterdir()):
        means = np.asarray(Image.open(path).convert("RGB"), dtype=float).mean(axis=(0, 1))
        found[path.name] = ("red", "green", "blue")[int(means.argmax())]
    return found


def test_cremad_has_sound_and_the_first_frame_of_every_second(cremad: Raw) -> None:
    answer = cremad.prepare()
    assert answer.code == 0, answer.err
    layout = cremad.out / "CREMA-D"
    for clip in CLIPS:
        assert sound(layout / f"AudioWAV/{clip}.wav") == (1, 22_050, SECONDS)
        frames = colours(layout / "Image-01-FPS" / clip)
        assert frames == {"00001.jpg": "red", "00002.jpg": "green", "00003.jpg": "blue"}
    assert not any(
        b"Lav" in content for content in contents(layout).values()
    )  # ffmpeg's version, another next year
    assert {path.name for path in layout.iterdir()} == {"AudioWAV", "Image-01-FPS"}
    rows = {split: (cremad.out / f"{split}.csv").read_text().split() for split in ("train", "test")}
    assert sorted(rows["train"] + rows["test"]) == sorted(f"{clip},{clip[9:12]}" for clip in CLIPS)
    assert len(rows["test"]) == 1
    assert "1 of 6 clips are the test split" in answer.out


def test_a_draw_has_the_size_of_the_paper_and_of_every_label_its_share() -> None:
    sizes = {
        "ANG": 1271,
        "DIS": 1271,
        "FEA": 1271,
        "HAP": 1271,
        "NEU": 1087,
        "SAD": 1271,
    }  # CREMA-D as distributed
    labels = [label for label, size in sizes.items() for _ in range(size)]
    test = draw_stratified(labels, 744, "cremad")
    assert len(test) == 744
    for label, count in Counter(labels[i] for i in test).items():
        assert abs(count - 744 * sizes[label] / 7442) < 1
    assert test == draw_stratified(labels, 744, "cremad")
    assert test != draw_stratified(labels, 744, "mvsa")


def test_split_files_beside_the_clips_are_copied_and_say_which_clips(cremad: Raw) -> None:
    cremad.write("train.csv", b"\xef\xbb\xbf" + f"{CLIPS[0]},NEU\r\n".encode())
    assert cremad.prepare().err.startswith(f"{cremad.folder} has only train.csv")
    cremad.write("test.csv", f"{CLIPS[1]},HAP\r\n")
    answer = cremad.prepare()
    assert answer.code == 0, answer.err
    for name in ("train.csv", "test.csv"):
        assert (cremad.out / name).read_bytes() == (cremad.folder / name).read_bytes()
    made = {path.stem for path in (cremad.out / "CREMA-D/AudioWAV").iterdir()}
    assert made == set(CLIPS[:2])


def test_clips_that_cannot_be_converted_are_listed_after_the_others_are_done(
    cremad: Raw, clip: Path
) -> None:
    cremad.write(f"AudioWAV/{CLIPS[0]}.wav", b"version https://git-lfs.github.com/spec/v1\n")
    (cremad.folder / f"VideoFlash/{CLIPS[1]}.flv").unlink()
    silent = clip.with_suffix(".wav").read_bytes()
    cremad.write(f"AudioWAV/{CLIPS[2]}.wav", silent[: silent.index(b"data") + 4] + bytes(4))
    answer = cremad.prepare()
    assert answer.code == 1
    first, *rest = answer.err.splitlines()
    assert first == "3 could not be prepared:"
    reasons = dict(line.strip().split(": ", 1) for line in rest)
    assert set(reasons) == set(CLIPS[:3])
    assert "Invalid data found" in reasons[CLIPS[0]]
    assert "No such file" in reasons[CLIPS[1]]
    assert {path.stem for path in (cremad.out / "CREMA-D/AudioWAV").iterdir()} == {
        CLIPS[1],
        *CLIPS[3:],
    }
    assert {path.name for path in (cremad.out / "CREMA-D/Image-01-FPS").iterdir()} == {*CLIPS} - {
        CLIPS[1]
    }
    cremad.copy(clip.with_suffix(".wav"), f"AudioWAV/{CLIPS[0]}.wav")
    cremad.copy(clip.with_suffix(".flv"), f"VideoFlash/{CLIPS[1]}.flv")
    cremad.copy(clip.with_suffix(".wav"), f"AudioWAV/{CLIPS[2]}.wav")
    repaired = cremad.prepare()
    assert repaired.code == 0, repaired.err
    assert "3 files and folders created, 9 existed" in repaired.out


def test_a_clip_that_is_a_play_list_opens_no_other_file(ave: Raw) -> None:
    other = f"{AVE_IDS[1]}.mp4"
    live = (
        "#EXTM3U\n#EXT-X-TARGETDURATION:3\n#EXT-X-MEDIA-SEQUENCE:0\n"
        f"#EXTINF:2.5,\n{other}\n#EXT-X-ENDLIST\n"
    )
    ave.write(f"AVE/{AVE_IDS[0]}.mp4", live)
    ave.write(f"AVE/{AVE_IDS[2]}.mp4", f"ffconcat version 1.0\nfile {other}\n")
    answer = ave.prepare()
    assert answer.code == 1
    assert answer.err.startswith("2 could not be prepared:")
    assert [path.stem for path in (ave.out / "Audios").iterdir()] == [AVE_IDS[1]]


def test_names_of_other_clips_are_refused(cremad: Raw) -> None:
    cremad.write("AudioWAV/1001_DFA_JOY_XX.wav", b"")
    answer = cremad.prepare()
    assert answer.code == 2
    assert "AudioWAV: '1001_DFA_JOY_XX' is not named like 1001_DFA_ANG_XX" in answer.err


def test_without_ffmpeg_the_command_says_to_install_it(
    cremad: Raw, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(cremad.folder))
    answer = cremad.prepare()
    assert answer.code == 1
    assert "ffmpeg is needed" in answer.err


def test_ave_has_sound_at_16_khz_frames_and_the_authors_arrays(ave: Raw) -> None:
    answer = ave.prepare()
    assert answer.code == 0, answer.err
    for name in AVE_IDS:
        channels, rate, seconds = sound(ave.out / f"Audios/{name}.wav")
        assert (channels, rate) == (1, 16_000)
        assert seconds == pytest.approx(SECONDS, abs=0.1)  # frames of AAC
        assert list(colours(ave.out / "Image-01-FPS" / name).values()) == ["red", "green", "blue"]
    for name in ("trainSet.txt", "valSet.txt", "testSet.txt"):
        assert (ave.out / name).read_bytes() == (ave.folder / name).read_bytes()
    (array,) = (ave.out / "Audio-1004").iterdir()
    assert array.name == f"{AVE_IDS[0]}.npy"
    loaded = np.load(array, allow_pickle=False)
    assert loaded.dtype == np.float32
    np.testing.assert_array_equal(loaded, [[0, 1, 2], [3, 4, 5]])


def test_an_array_that_is_a_program_is_listed_and_not_run(ave: Raw) -> None:
    witness = ave.cli.folder / "witness"

    class Program:
        def __reduce__(self) -> object:
            return os.system, (f"touch {witness}",)

    ave.write(f"Audio-1004/{AVE_IDS[0]}.pkl", pickle.dumps(Program()))
    answer = ave.prepare()
    assert answer.code == 1
    assert "it uses posix.system" in answer.err
    assert not witness.exists()
    assert len(list((ave.out / "Audios").iterdir())) == 3


def test_annotations_alone_are_no_split(ave: Raw) -> None:
    for name in ("trainSet.txt", "valSet.txt", "testSet.txt"):
        (ave.folder / name).unlink()
    answer = ave.prepare()
    assert answer.code == 1
    assert answer.err.startswith(f"{ave.folder} has no trainSet.txt, valSet.txt, testSet.txt")
    assert "Annotations.txt" in answer.err


@pytest.mark.parametrize(
    "name",
    [
        "../../escaped",
        "/tmp/escaped",
        "..",
        ".",
        "",
        "a/b",
        "a\\b",
        "C:escaped",
        "a\x1b[2Jb",
        "a\x00b",
        "a\x0bb",
    ],
)
def test_a_name_that_leads_elsewhere_is_refused_with_its_line(ave: Raw, name: str) -> None:
    before = contents(ave.cli.folder)
    line = f"Bark&{name}&good&0&10\n"
    listed = ave.write(
        "valSet.txt", f"Bark&{AVE_IDS[1]}&good&0&10\n\n{line}Bark&{AVE_IDS[0]}&good&0\n"
    )
    answer = ave.prepare()
    assert answer.code == 2
    assert answer.err == (
        f"{listed}:3: {name!r} is not a file name\n"
        f"{listed}:4: expected five fields: Category&VideoID&Quality&StartTime&EndTime\n"
    )
    listed.write_bytes(before["raw/valSet.txt"])
    assert contents(ave.cli.folder) == before


def test_a_header_in_a_split_file_is_no_clip(ave: Raw) -> None:
    listed = ave.write("testSet.txt", "Category&VideoID&Quality&StartTime&EndTime\n")
    assert ave.prepare().err.startswith(f"{listed}:1: ")
