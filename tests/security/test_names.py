"""Names that want to be more than names, from files and from a store that others wrote."""

from __future__ import annotations

import io
import itertools
import re
from pathlib import Path

import pytest
from rich.progress import Progress
from rich.table import Table

from ibml.cli.console import create_plain_console
from ibml.cli.report_folder import REPORTS
from ibml.common.paths import join_escaped
from ibml.records import StudyRecord
from ibml.tracking.journal.events import TrialDescription, TrialEnded
from ibml.tracking.store.mlflow_store import MlflowStore
from tests.conftest import CommandLine
from tests.support.records import study

COMMANDS = "\x1b]0;title\x07\x1b[2J\x9b31m\x00\r\x08\x7f\u202e\u2066"
NAME = rf"../../{COMMANDS}[red]x[/red][link=http://e]:smile:$x$\input{{/etc/passwd}}<script>&amp;|`_*'\"=1"
SHOWN = re.sub("[\x00-\x1f\x7f-\x9f\u202e\u2066]", "", NAME)
ARMS = {"ref": [0.80, 0.81, 0.82], NAME: [0.83, 0.86, 0.84]}
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


@pytest.fixture(scope="module")
def hostile(shared_cli: CommandLine) -> CommandLine:
    """A folder whose store has a study with such names, and a trial for each of its results."""
    store = MlflowStore(f"sqlite:///{shared_cli.folder}/mlflow.db")
    record = study(
        ARMS,
        name=NAME,
        description=NAME,
        configs={"d": {"x": NAME}},
        changes={"d": {NAME: {NAME: NAME}}},
    )
    with store.open_run("study", StudyRecord.model_validate(record.model_dump()), NAME) as opened:
        for trial in record.trials:
            tags = {
                "ibml.key": trial.key,
                "ibml.arm": trial.arm,
                "ibml.dataset": NAME,
                "ibml.seed": str(trial.seed),
            }
            described = TrialDescription(
                trial.key, trial.arm, {}, tags, {"name": NAME}, opened.run_id
            )
            run = store.create_trial(described, "driver")
            store.describe_trial(run, described)
            value = ARMS[trial.arm][trial.seed]
            ended = {"ibml.reason": NAME, "ibml.platform": NAME, "ibml.revision": NAME}
            store.end_trial(
                run,
                TrialEnded("finished", {"test.accuracy": value, "test.gap": 1 - value}, ended),
                0,
            )
    return shared_cli


@pytest.mark.parametrize("form", ["text", "markdown", "latex", "csv", "json", "html"])
def test_a_table_commands_nothing(hostile: CommandLine, form: str) -> None:
    answer = hostile.inside("table", NAME, "--format", form)
    assert answer.code == 0, answer.err
    assert not FORBIDDEN.search(answer.out)
    assert "<script>" not in answer.out or form in ("text", "csv", "json")
    assert r"\input{" not in answer.out or form in ("text", "csv", "json", "html")


@pytest.mark.parametrize("command", [["list"], ["show", "{run}"]])
def test_what_is_printed_is_what_is_written(hostile: CommandLine, command: list[str]) -> None:
    run = next(iter(MlflowStore(f"sqlite:///{hostile.folder}/mlflow.db").results().values())).run_id
    answer = hostile.inside(
        *(word.format(run=run) if word == "{run}" else word for word in command)
    )
    assert answer.code == 0, answer.err
    assert not FORBIDDEN.search(answer.out)
    assert ":smile:" in answer.out


@pytest.mark.slow
def test_a_report_stays_in_the_folder_of_reports(hostile: CommandLine) -> None:
    before = set(hostile.folder.parent.rglob("*"))
    answer = hostile.inside("report", NAME)
    assert answer.code == 0, answer.err
    written = [path for path in set(hostile.folder.parent.rglob("*")) - before if path.is_file()]
    assert {path.relative_to(hostile.folder).parts[0] for path in written} <= {
        "reports",
        "mlruns",
        "tmp",
    }
    page = next(
        path for path in written if path.name == "report.html" and "reports" in path.parts
    ).read_text()
    assert "<script>&amp" not in page
    assert not FORBIDDEN.search(page)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("study/data/+ BIO", "study/data/+ BIO"),
        ("study/w/o BIO", "study/w/o BIO"),
        ("study/..", "study/%2E%2E"),
        ("study/../../../x", "study/%2E%2E/%2E%2E/%2E%2E/x"),
        ("/etc/passwd", "%/etc/passwd"),
        ("a//b", "a/%/b"),
        ("a/./b", "a/%2E/b"),
        ("90 %", "90 %25"),
        ("..\\x", "..%5Cx"),
        ("C:x", "C%3Ax"),
        ("a\0b", "a%00b"),
        ("", "%"),
    ],
)
def test_a_name_is_a_folder_below(name: str, expected: str) -> None:
    assert join_escaped(REPORTS, name) == Path("reports") / expected


def test_different_names_have_different_folders() -> None:
    names = [
        "".join(parts)
        for length in range(1, 5)
        for parts in itertools.product("/.%a", repeat=length)
    ]
    assert len({join_escaped(REPORTS, name) for name in names}) == len(names)
    assert all(
        join_escaped(Path("/reports"), name).resolve().is_relative_to("/reports/") for name in names
    )


def test_a_terminal_gets_its_own_commands_and_none_of_a_name() -> None:
    def printed(name: str) -> str:
        stream = io.StringIO()
        console = create_plain_console(
            file=stream, force_terminal=True, width=200, color_system="truecolor", _environ={}
        )
        grid = Table(name, title=name)
        grid.add_row(name, style="bold")
        console.print(name, soft_wrap=True)
        console.print(grid)
        with Progress(console=console, auto_refresh=False) as bar:
            bar.add_task("trials")
            console.print(name)
        return stream.getvalue()

    assert "\x1b[1m" in printed("x"), "a table has its styles"
    assert "\x1b[?25l" in printed("x"), "a bar hides the cursor"
    assert SHOWN in printed(NAME)
    own = re.compile(r"\x1b\[\??[0-9;]*[mlhAK]|\r")
    assert not FORBIDDEN.search(own.sub("", printed(f"a{COMMANDS}b".replace("\x1b[2J", "\x1bZ"))))
