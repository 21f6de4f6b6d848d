"""Randomly damaged configuration files: a message in limited time, never a traceback."""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ibml.common.errors import ConfigError
from ibml.config.loading.presets import find_presets
from ibml.search.plan import load_search
from ibml.study.planning.dry_run.search_preview import preview_search
from ibml.study.planning.dry_run.study_preview import preview_study
from ibml.study.planning.plan import load_plan
from tests.conftest import ROOT, CommandLine

CASES = 2400
CASES_OF_COMMANDS = 150
"""Cases that run the whole command line, which only adds the printing of plans and errors."""
SECONDS = 20.0
"""CPU seconds, far more than any file needs, so that only exponential cost fails."""
PRESETS = [*find_presets().values()]
SEEDS = [
    path for folder in ("ablations", "search_spaces") for path in (ROOT / folder).glob("*.yaml")
] + PRESETS
ODD = (
    *(
        "",
        "~",
        "null",
        "-1",
        "0",
        "-0",
        "1e999",
        ".nan",
        "-.inf",
        "0x" + "f" * 5000,
        "9" * 5000,
        "9" * 40,
        "1_000",
    ),
    *(
        "true",
        "no",
        "''",
        "[]",
        "{}",
        "[[]]",
        "{a: {}}",
        "- - -",
        "? x",
        "|",
        ">-",
        "%YAML 9",
        "---",
        "...",
        "@",
        "`",
    ),
    *(
        "&a [*a]",
        "&b {b: *b}",
        "*a",
        "<<: *a",
        "&a x",
        "!!python/object/apply:os.system [id]",
        "!!binary aa",
        "!x y",
    ),
    *(
        "[" * 1200,
        "{a: " * 400,
        "x" * 3000,
        "a." * 50 + "b",
        "a: " * 30,
        "# ",
        "\t",
        '"',
        "'",
        "\\",
        "\x00",
        "\x1b[2J",
    ),
    *(
        '"\\e]0;x\\a"',
        '"\\0"',
        '"\\ud800"',
        "\u202e",
        "\ufeff",
        "\u0085",
        "\u2028",
        "１２",
        "é",
        "😀",
        "[red]x[/red]",
    ),
    *(
        "../../../etc/passwd",
        "/dev/zero.yaml",
        "missing.yaml",
        "type: sum",
        "mfeat",
        "test.accuracy",
        "{low: 1, high: 0}",
    ),
)


def _flipped(text: str, at: int, odd: str) -> str:
    """A character becomes another one, whatever that means in UTF-8."""
    return text[:at] + chr(ord(text[at]) ^ (1 << (len(odd) % 8))) + text[at + 1 :] if text else odd


def _spliced(text: str, at: int, odd: str) -> str:
    return text[:at] + odd + text[at:]


def _replaced(text: str, at: int, odd: str) -> str:
    """The rest of a token, up to what ends one, becomes something else."""
    end = min((found for end in " ,:]}\n" if (found := text.find(end, at)) >= 0), default=len(text))
    return text[:at] + odd + text[end:]


def _of_lines(change: Callable[[list[str], int, int, str], None]) -> Callable[[str, int, str], str]:
    def mutated(text: str, at: int, odd: str) -> str:
        lines = text.split("\n")
        change(lines, text.count("\n", 0, at), at % len(lines), odd)
        return "\n".join(lines)

    return mutated


def _deleted(lines: list[str], here: int, there: int, odd: str) -> None:
    del lines[here]


def _doubled(lines: list[str], here: int, there: int, odd: str) -> None:
    lines.insert(there, lines[here])


def _moved(lines: list[str], here: int, there: int, odd: str) -> None:
    lines.insert(there, lines.pop(here))


def _indented(lines: list[str], here: int, there: int, odd: str) -> None:
    lines[here] = lines[here].lstrip() if here % 2 else " " * (1 + len(odd) % 5) + lines[here]


def _revalued(lines: list[str], here: int, there: int, odd: str) -> None:
    lines[here] = f"{lines[here].partition(':')[0]}: {odd}"


def _anchored(lines: list[str], here: int, there: int, odd: str) -> None:
    """A value that many others repeat, each ten times."""
    key, _, value = lines[here].partition(":")
    lines[here] = f"{key}: &a{value}"
    lines[there:there] = [
        f"{odd[:3]}{i}: &{'ab'[i % 2]} [{', '.join(['*' + 'ba'[i % 2]] * 10)}]" for i in range(9)
    ]


MUTATIONS = (
    *(_flipped, _spliced, _replaced),
    *map(_of_lines, (_deleted, _doubled, _moved, _indented, _revalued, _anchored)),
)


@pytest.fixture
def shipped(cli: CommandLine) -> CommandLine:
    """A folder with what ibml ships, so that files find those that they name."""
    for folder in ("ablations", "search_spaces"):
        shutil.copytree(
            ROOT / folder, cli.folder / folder, ignore=shutil.ignore_patterns("*.png", "*.md")
        )
    return cli


def arguments(original: Path, mutated: str) -> list[str]:
    match original.parent.name:
        case "ablations":
            return ["ablate", mutated]
        case "search_spaces":
            return ["tune", mutated]
        case _:
            return ["tune", "search_spaces/optimizer.yaml", "--base", mutated]


mutation = st.tuples(
    st.sampled_from(MUTATIONS), st.floats(0, 1, exclude_max=True), st.sampled_from(ODD)
)


def settings_for(cases: int) -> settings:
    """The same cases in every run."""
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(
        max_examples=cases,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=checks,
    )


MUTATED = given(
    original=st.sampled_from(SEEDS), mutations=st.lists(mutation, min_size=1, max_size=2)
)


def write_mutated(
    folder: Path, original: Path, mutations: list[tuple[Callable[[str, int, str], str], float, str]]
) -> str:
    """Write a mutated file into a folder; return its name."""
    text = original.read_text()
    for change, where, odd in mutations:
        text = change(text, int(where * len(text)), odd)
    name = f"{'search_spaces' if original in PRESETS else original.parent.name}/mutated.yaml"
    (folder / name).write_bytes(text.encode("utf-8", "surrogatepass"))
    return name


def load(original: Path, name: str) -> object:
    """Load the file as its command does, and return the preview of a dry run."""
    match original.parent.name:
        case "ablations":
            return preview_study(load_plan(Path(name)))
        case "search_spaces":
            return preview_search(load_search(Path(name)))
        case _:
            return preview_search(load_search(Path("search_spaces/optimizer.yaml"), name))


@pytest.mark.slow
@settings_for(CASES)
@MUTATED
def test_a_mutated_file_is_loaded_or_refused_in_words(
    shipped: CommandLine,
    original: Path,
    mutations: list[tuple[Callable[[str, int, str], str], float, str]],
) -> None:
    name = write_mutated(shipped.folder, original, mutations)
    began = time.thread_time()
    with contextlib.chdir(shipped.folder):
        try:
            loaded, problems = load(original, name), []
        except ConfigError as error:
            loaded, problems = None, [*map(str, error.problems)]
    assert loaded or problems
    assert all(problem and "Traceback" not in problem for problem in problems)
    assert time.thread_time() - began < SECONDS


@pytest.mark.slow
@settings_for(CASES_OF_COMMANDS)
@MUTATED
def test_a_command_runs_a_mutated_file_or_refuses_it_in_words(
    shipped: CommandLine,
    original: Path,
    mutations: list[tuple[Callable[[str, int, str], str], float, str]],
) -> None:
    name = write_mutated(shipped.folder, original, mutations)
    began = time.thread_time()
    answer = shipped.inside(*arguments(original, name), "--dry-run")
    took = time.thread_time() - began
    assert answer.code in (0, 2)
    assert answer.out if answer.code == 0 else answer.err
    assert "Traceback" not in answer.out + answer.err
    assert "\x1b" not in answer.out + answer.err
    assert took < SECONDS
