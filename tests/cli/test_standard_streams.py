"""Standard streams of any encoding, closed, full, or without a reader.

No study is interrupted by its streams, and no error is a traceback.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Answer, CommandLine

STUDY = """\
name: streams
description: Größe – does it work?
base: mfeat
overrides: {trainer.epochs: 2}
design:
  type: arms
  reference: 基线
  arms:
    基线: {method.bio.weight: 0, method.tcm.rate: 0}
    "🚀 rocket": {}
seeds: 1
table: {metrics: [test.accuracy, test.gap]}
"""
ASCII = {"PYTHONIOENCODING": "ascii:strict"}
POSIX = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "POSIX"}


def run(cli: CommandLine, words: str, redirected: str = "", **environment: str) -> Answer:
    """A command of a shell, its streams redirected."""
    program = f'"$0" -m ibml {words} {redirected}'
    given = {**cli.environment, **environment}
    command = ["/bin/sh", "-c", program, sys.executable]
    done = subprocess.run(command, cwd=cli.folder, env=given, check=False, capture_output=True)
    return Answer(
        done.returncode,
        *(part.decode("utf-8", "backslashreplace") for part in (done.stdout, done.stderr)),
    )


def run_without_reader(cli: CommandLine, *words: str, **environment: str) -> Answer:
    """A command whose standard output is a pipe that nobody reads any more."""
    reading, writing = os.pipe()
    os.close(reading)
    given = {**cli.environment, **environment}
    command = [sys.executable, "-m", "ibml", *words]
    done = subprocess.run(
        command, cwd=cli.folder, env=given, check=False, stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    return Answer(done.returncode, "", done.stderr.decode())


@pytest.fixture(scope="module")
def cli(shared_cli: CommandLine) -> CommandLine:
    """A folder with the study's file."""
    shared_cli.folder.joinpath("流.yaml").write_text(STUDY, encoding="utf-8")
    return shared_cli


@pytest.fixture(scope="module")
def ran(cli: CommandLine) -> CommandLine:
    """Run a study with ASCII streams and locale and unread output, and return its folder."""
    done = run_without_reader(cli, "ablate", "流.yaml", **ASCII, **POSIX)
    assert done.code == 0, done.err
    assert "standard output" not in done.err
    return cli


@pytest.mark.slow
@pytest.mark.ray
def test_a_study_without_a_reader_stores_its_results_in_utf_8(ran: CommandLine) -> None:
    made = ran.inside("table", "streams", "--format", "csv").out
    assert made.count("🚀 rocket") == 2
    artifacts = {path.name: path for path in (ran.folder / "mlruns").rglob("*") if path.is_file()}
    assert artifacts["table.csv"].read_bytes() == made.encode()
    assert "Größe – does it work?".encode() in artifacts["report.html"].read_bytes()
    assert "基线".encode() in artifacts["study.yaml"].read_bytes()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("redirected", [">/dev/full", ">&- 2>&- <&-"])
def test_a_study_that_cannot_print_ends_well(ran: CommandLine, redirected: str) -> None:
    done = run(ran, "ablate 流.yaml", redirected)
    assert (done.code, done.out) == (0, "")
    if "2>" not in redirected:
        assert "standard output cannot be written: No space left on device; " in done.err


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("form", ["text", "json"])
def test_a_table_has_replacements_where_the_encoding_lacks_characters(
    ran: CommandLine, form: str
) -> None:
    done = run(ran, f"table 流.yaml --format {form}", **ASCII)
    assert done.code == 0
    assert done.out.isascii()
    assert "? rocket" in done.out
    assert done.err.startswith("Note: characters that ascii lacks were replaced by '?'")
    assert "PYTHONIOENCODING=utf-8" in done.err
    if form == "json":
        assert {row["arm"] for row in json.loads(done.out)["rows"]} == {"??", "? rocket"}


@pytest.mark.parametrize("encoding", ["", "ascii", "latin-1", "cp1252", "utf-8"])
def test_names_of_arguments_and_files_are_utf_8_in_any_locale(
    tmp_path: Path, encoding: str
) -> None:
    script = (
        "import sys\nfrom ibml.cli import standard_streams\n"
        "def command():\n"
        "    name = sys.argv[1]\n    open(name, 'w').write(name)\n"
        "    print(name, chr(177))\n    print(name, file=sys.stderr)\n"
        "standard_streams.run(command)"
    )
    environment = {**os.environ, **POSIX, "PYTHONIOENCODING": f"{encoding}:strict"}
    command = [sys.executable, "-c", script, "é流"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["é流"]
    assert (tmp_path / "é流").read_bytes() == "é流".encode()
    shown = {"": b"?? +-", "ascii": b"?? +-", "utf-8": "é流 ±".encode()}
    assert done.stdout == shown.get(encoding, b"\xe9? \xb1") + b"\n"
    assert done.stderr.startswith("é流".encode(encoding or "ascii", "backslashreplace") + b"\n")


def test_characters_that_have_a_similar_one_are_no_loss(cli: CommandLine) -> None:
    cli.write(
        "plain.yaml", STUDY.replace("Größe", "Size").replace("基线", "base").replace("🚀 ", "")
    )
    done = run(cli, "ablate plain.yaml --dry-run -o trainer.epochs=3", **ASCII)
    assert (done.code, done.err) == (0, "")
    assert "2 trials (2 arms x 1 seeds)" in done.out


@pytest.mark.parametrize(
    "words", ["schema trial", "--help", "--version", "ablate 流.yaml --dry-run"]
)
@pytest.mark.parametrize(
    ("redirected", "reason"), [(">&-", "it is closed"), (">/dev/full", "No space left on device")]
)
def test_a_command_that_only_prints_fails_in_a_line(
    cli: CommandLine, words: str, redirected: str, reason: str
) -> None:
    done = run(cli, words, redirected)
    assert (done.code, done.err) == (1, f"standard output cannot be written: {reason}\n")


@pytest.mark.parametrize("words", ["schema trial", "--help"])
def test_a_reader_that_goes_away_ends_a_command_quietly(cli: CommandLine, words: str) -> None:
    done = run_without_reader(cli, *words.split())
    assert (done.code, done.err) == (141, "")


@pytest.mark.parametrize("redirected", ["2>&-", "2>/dev/full"])
def test_errors_that_cannot_be_printed_keep_their_exit_code(
    cli: CommandLine, redirected: str
) -> None:
    assert run(cli, "ablate nothing.yaml", redirected).code == 2
    assert run(cli, "--no-such-option", redirected).code == 2


def test_a_closed_stream_is_not_the_number_of_a_database(tmp_path: Path) -> None:
    script = (
        "import os, sys\nfrom ibml.cli import standard_streams\n"
        "def command():\n"
        "    file = open('file', 'wb')\n"
        "    assert file.fileno() > 2, file.fileno()\n"
        "    standard_streams.ignore_output_errors()\n"
        "    os.write(1, b'printed')\n    os.write(2, b'printed')\n"
        "    print('printed', flush=True)\n"
        "standard_streams.run(command)"
    )
    command = ["/bin/sh", "-c", '"$0" -c "$1" <&- >&- 2>&-', sys.executable, script]
    assert subprocess.run(command, cwd=tmp_path, check=False).returncode == 0
    assert (tmp_path / "file").read_bytes() == b""


def test_a_pipe_that_does_not_block_gets_everything(tmp_path: Path) -> None:
    script = (
        "import os\nfrom ibml.cli import standard_streams\nos.set_blocking(1, False)\n"
        "standard_streams.run(lambda: print('x' * 1_000_000))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, check=False
    )
    assert (done.returncode, len(done.stdout), done.stderr) == (0, 1_000_001, b"")


def test_streams_of_a_program_around_it_stay(tmp_path: Path) -> None:
    script = (
        "import contextlib, io\nfrom ibml.cli.main import main\n"
        "made = io.StringIO()\n"
        "with contextlib.redirect_stdout(made), contextlib.suppress(SystemExit):\n    main()\n"
        "print(len(made.getvalue().split()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "--version"], capture_output=True, text=True, check=False
    )
    assert (done.stdout, done.stderr) == ("1\n", "")
