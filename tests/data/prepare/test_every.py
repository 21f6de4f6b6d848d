"""Properties of every prepared data set."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from ibml.common.errors import IbmlError
from ibml.common.optional_deps import import_optional
from ibml.common.processes.ownership import get_machine_id
from tests.conftest import CommandLine
from tests.data.prepare.conftest import Raw, contents


def states(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {
        path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in folder.rglob("*")
    }


def test_a_distribution_is_only_read_and_prepared_once(every: Raw) -> None:
    before = states(every.folder)
    first = every.prepare()
    assert first.code == 0, first.err
    assert states(every.folder) == before
    made = states(every.out)
    again = every.prepare()
    assert again.code == 0, again.err
    assert f"{every.name}: 0 files and folders created" in again.out
    assert states(every.out) == made
    time.sleep(1.1)  # a second that a file may have inside
    elsewhere = every.prepare("elsewhere")
    assert elsewhere.code == 0, elsewhere.err
    assert contents(every.cli.folder / "elsewhere") == contents(every.out)


def test_a_command_killed_half_way_goes_on_to_the_same_bytes(cremad: Raw) -> None:
    for i in range(24):
        for folder, suffix in (("AudioWAV", "wav"), ("VideoFlash", "flv")):
            cremad.copy(
                cremad.folder / f"{folder}/1001_DFA_NEU_XX.{suffix}",
                f"{folder}/20{i:02}_DFA_NEU_XX.{suffix}",
            )
    wavs = cremad.out / "CREMA-D/AudioWAV"
    killed = begun_and_ended(cremad, wavs, 5, signal.SIGKILL)
    assert killed.returncode == -signal.SIGKILL
    (wavs / f"1001_DFA_ANG_XX.wav.{get_machine_id()}-{killed.pid}-1.unfinished").write_bytes(
        b"RIFF"
    )
    interrupted = begun_and_ended(cremad, wavs, 12, signal.SIGINT)
    assert interrupted.returncode == 130
    assert len(list(wavs.glob("*.wav"))) < 25  # waiting files are not begun
    answer = cremad.prepare()
    assert answer.code == 0, answer.err
    assert " 0 existed" not in answer.out
    assert cremad.prepare("elsewhere").code == 0
    assert contents(cremad.out) == contents(cremad.cli.folder / "elsewhere")


def begun_and_ended(
    raw: Raw, wavs: Path, count: int, sent: signal.Signals
) -> subprocess.Popen[str]:
    """A command to which a signal is sent once it has made so many files of sound."""
    process = raw.cli.start("data", "prepare", raw.name, "--from", str(raw.folder), "--root", "out")
    deadline = time.monotonic() + 60
    while len(list(wavs.glob("*.wav"))) < count and time.monotonic() < deadline:
        time.sleep(0.01)
    os.killpg(process.pid, sent)
    _, said = process.communicate(timeout=60)
    if sent == signal.SIGINT:
        assert (
            said == "\nStopped. Finished files are kept. Repeat the command to create the others.\n"
        )
    return process


@pytest.mark.parametrize(
    ("raw", "root"), [("raw", "raw"), ("raw", "raw/out"), ("raw/inner", "raw"), ("raw", "link/out")]
)
def test_neither_folder_may_lie_within_the_other(cli: CommandLine, raw: str, root: str) -> None:
    (cli.folder / "raw/inner").mkdir(parents=True)
    (cli.folder / "link").symlink_to("raw")
    answer = cli.inside("data", "prepare", "mvsa", "--from", raw, "--root", root)
    assert answer.code == 2
    assert answer.err.startswith(f"--root: {root} and {raw} overlap")


def test_a_link_that_leads_back_is_not_written_through(mvsa: Raw) -> None:
    mvsa.out.mkdir()
    (mvsa.out / "data").symlink_to(mvsa.folder / "data")
    before = states(mvsa.folder)
    answer = mvsa.prepare()
    assert (answer.code, answer.err) == (
        1,
        f"out/data leads into {mvsa.folder}, which is only read\n",
    )
    assert states(mvsa.folder) == before


def test_links_to_where_a_distribution_is_kept_are_read(mvsa: Raw) -> None:
    store = mvsa.folder.rename(mvsa.cli.folder / "store")
    mvsa.folder.mkdir()
    for path in store.iterdir():
        (mvsa.folder / path.name).symlink_to(path)
    answer = mvsa.prepare()
    assert answer.code == 0, answer.err
    copied = mvsa.out / "data/1.jpg"
    assert not copied.is_symlink()
    assert copied.read_bytes() == (store / "data/1.jpg").read_bytes()


def test_a_folder_that_is_none_of_the_distribution_is_told_what_one_has(every: Raw) -> None:
    for path in every.folder.iterdir():
        path.rename(every.cli.folder / path.name)
    answer = every.prepare()
    assert answer.code == 1
    assert answer.err.startswith(f"{every.folder} has no ")
    assert "it must be a folder with " in answer.err
    assert not every.out.exists()


def test_no_folder_and_no_place_to_write_are_words(mvsa: Raw) -> None:
    answer = mvsa.cli.inside("data", "prepare", "mvsa", "--from", "nowhere", "--root", "out")
    assert answer.code == 1
    assert answer.err.startswith("nowhere ")
    mvsa.out.write_text("a file")
    answer = mvsa.prepare()
    assert answer.code == 1
    assert answer.err.startswith("out")
    assert "Not a directory" in answer.err or "File exists" in answer.err


def test_a_split_that_is_there_is_not_replaced_by_another(mvsa: Raw) -> None:
    mvsa.out.mkdir()
    (mvsa.out / "dev.jsonl").write_text("mine\n")
    answer = mvsa.prepare()
    assert answer.code == 1
    assert answer.err.startswith("out/dev.jsonl exists")
    assert str(mvsa.folder) in answer.err
    assert [path.name for path in mvsa.out.iterdir()] == ["dev.jsonl"]


def test_a_missing_library_is_named_with_the_extra_that_has_it() -> None:
    with pytest.raises(
        IbmlError, match=r"^needs no_such_module; install it with: pip install 'ibml\[points\]'$"
    ):
        import_optional("no_such_module", "points")


def test_help_has_an_example(cli: CommandLine) -> None:
    assert (
        "\n    ibml data prepare cremad --from CREMA-D --root data/cremad\n"
        in cli.inside("data", "prepare", "--help").out
    )
