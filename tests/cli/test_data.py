"""`ibml data` as a person uses it, and training on the real sets in the papers' layouts."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from ibml.api import train
from ibml.cli import data
from ibml.config.data import PREPARATIONS
from ibml.study.planning.plan import load_plan, load_trial
from tests.conftest import ROOT, CommandLine
from tests.data.miniatures import miniature

SHARED = ROOT.parent / "shared" / "data"
SMALLER = [
    "-o",
    "data.validation=0.34",
    "-o",
    "data.audio.window=64",
    "-o",
    "data.audio.rate=8000",
    "-o",
    "data.audio.seconds=0.1",
]


def test_a_data_set_is_checked_and_its_classes_are_counted(cli: CommandLine) -> None:
    miniature("cremad", cli.folder / "set")
    answer = cli.inside("data", "check", "cremad_small", "--root", "set", *SMALLER)
    assert answer.code == 0, answer.err
    assert "9 samples listed, 9 usable, 2 classes" in answer.out
    assert re.search(r"A batch of audio: \(\d+, 1, 33, \d+\), -\d.* to ", answer.out)
    assert re.search(r"A batch of video: \(\d+, 3, 3, 32, 32\)", answer.out)
    assert answer.out.rstrip().endswith("No problems found.")


def test_all_that_is_wrong_is_named_or_counted(cli: CommandLine) -> None:
    miniature("cremad", cli.folder / "set")
    wavs = sorted((cli.folder / "set" / "CREMA-D" / "AudioWAV").glob("*.wav"))
    wavs[0].unlink()
    wavs[1].write_bytes(wavs[1].read_bytes()[:30])
    answer = cli.inside("data", "check", "cremad_small", "--root", "set", *SMALLER)
    assert answer.code == 1
    assert re.search(rf"\.csv:\d+: CREMA-D/AudioWAV/{wavs[0].name} does not exist", answer.out)
    assert re.search(rf"\.csv:\d+: CREMA-D/AudioWAV/{wavs[1].name} ", answer.out)
    assert "2 problems found" in answer.err
    seen = cli.inside(
        "data", "check", "cremad_small", "--root", "set", *SMALLER, "-o", "data.use=[video]"
    )
    assert seen.code == 0, "what is not used may be damaged"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["cremad"], "data.root"),
        (["cremad", "--root", "nowhere"], "nowhere does not exist"),
        (["crema", "--root", "."], "no preset is called 'crema'; did you mean 'cremad'"),
        (["cremad", "-o", "data.audio.windw=3"], "did you mean 'data.audio.window'?"),
        (["ave", "--root", "."], "trainSet.txt"),
    ],
)
def test_what_cannot_be_checked_is_said(
    cli: CommandLine, monkeypatch: pytest.MonkeyPatch, arguments: list[str], words: str
) -> None:
    monkeypatch.delenv("IBML_DATA", raising=False)
    answer = cli.inside("data", "check", *arguments)
    assert answer.code in (1, 2)
    assert words in answer.out + answer.err


def test_the_list_says_what_is_found_and_the_rest_is_to_be_had_where(cli: CommandLine) -> None:
    miniature("mnist3d", cli.folder / "sets" / "mnist3d")
    miniature("ave", cli.folder / "sets" / "ave")
    (cli.folder / "sets" / "ucf101").mkdir()
    answer = cli.inside("data", "list", "--root", "sets")
    lines = {line.split()[0]: line for line in answer.out.splitlines() if line.strip()}
    assert lines["mnist3d"].rstrip().endswith("6 / - / 3")
    assert lines["ave"].rstrip().endswith("6 / 2 / 3")
    assert "another layout" in lines["ucf101"]
    assert lines["cremad"].rstrip().endswith("-")


def test_the_cache_is_shown_and_cleared(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("IBML_CACHE", str(cli.folder / "cache"))
    miniature("cremad", cli.folder / "set")
    cli.inside("data", "check", "cremad_small", "--root", "set", *SMALLER)
    assert "cremad-train-video-varied-" in cli.inside("data", "cache").out
    assert "removed from" in cli.inside("data", "cache", "--clear").out
    assert re.fullmatch(r" +0\.0 MB in .*/cache/data\n", cli.inside("data", "cache").out)


def test_a_path_in_a_file_is_relative_to_the_file(cli: CommandLine) -> None:
    miniature("cremad", cli.folder / "files" / "set")
    cli.write(
        "files/mine.yaml",
        "data: {type: cremad, root: set, validation: 0.34, audio: "
        "{rate: 8000, window: 64, seconds: 0.1}}\n",
    )
    with (cli.folder / "files" / "mine.yaml").open("a") as file:
        file.write(
            "encoders: {default: {type: small_cnn, channels: [2], features: 4, pooling: average}}\n"
        )
    assert cli.inside("data", "check", "files/mine.yaml").code == 0


REAL = {
    # the least accuracy is well above that of saying the largest class: 10 %, 38 % and 10 %
    "av_digits": (
        "cremad_small",
        0.5,
        ["trainer.epochs=3", "data.video.augment=false", "data.audio.seconds=0.5"],
    ),
    "stamps": ("food101_small", 0.55, ["trainer.epochs=5"]),
    "digits_3d": ("mnist3d_small", 0.5, ["trainer.epochs=2", "data.points.count=32"]),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", REAL)
def test_real_media_are_learned_in_the_papers_layouts(name: str) -> None:
    if not (SHARED / name).is_dir():
        pytest.skip(f"there is no {SHARED / name}")
    preset, least, overrides = REAL[name]
    result = train(load_trial(preset, [f"data.root={SHARED / name}", *overrides]))
    assert result.metrics["test.accuracy"] >= least


FURNITURE = ROOT / "ablations" / "small" / "furniture.yaml"
QUICK = [
    "seeds=[0]",
    f"data.root={SHARED / 'furniture'}",
    "data.columns.points.count=32",
    "data.columns.image.size=24",
]


@pytest.mark.slow
def test_furniture_is_learned_from_a_description_alone() -> None:
    if not (SHARED / "furniture").is_dir():
        pytest.skip(f"there is no {SHARED / 'furniture'}")
    plan = load_plan(FURNITURE, [*QUICK, "trainer.epochs=5"])
    result = train(next(cell.config for cell in plan.cells if cell.dataset == "all three"))
    assert result.metrics["test.accuracy"] > 0.3, (
        "hardly better than saying the largest class, 22 %"
    )


@pytest.mark.slow
def test_a_study_of_data_in_files_runs_on_workers(cli: CommandLine) -> None:
    if not (SHARED / "furniture").is_dir():
        pytest.skip(f"there is no {SHARED / 'furniture'}")
    text = re.sub(
        r"^datasets:\n( .*\n)+",
        "datasets: {two: {data.use: [image, text]}}\n",
        FURNITURE.read_text(),
        flags=re.M,
    )
    cli.write("study.yaml", text)
    overrides = [*QUICK, "trainer.epochs=2"]
    options = [word for override in overrides for word in ("-o", override)]
    answer = cli.study("ablate", "study.yaml", "--workers", "2", *options)
    assert answer.code == 0, answer.err
    name = load_plan(cli.folder / "study.yaml", overrides).name
    table = cli.inside("table", name, "--format", "csv")
    assert len(re.findall(r"^two,(?:Joint|IBML),test\.accuracy,", table.out, re.M)) == 2, table.out


def test_every_data_set_with_a_preparation_can_be_prepared() -> None:
    assert get_args(data.Prepared) == tuple(PREPARATIONS), "the command finds them by their folders"
