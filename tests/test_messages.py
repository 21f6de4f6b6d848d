"""Snapshot of texts that users read: help, configuration errors, and notes of tables.

The other tests check types and locations of errors. After an intended change of a text, regenerate
the snapshot and review its difference:

    IBML_UPDATE_GOLDEN=1 python -m pytest tests/test_messages.py
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import typer
import typer.core
from typer.testing import CliRunner

from ibml.cli.main import app
from ibml.report.tables.table import build_table
from tests.conftest import CommandLine
from tests.support.records import results, study

GOLDEN = Path(__file__).parent / "golden" / "messages.txt"
UPDATE = "IBML_UPDATE_GOLDEN"
STUDY = """\
name: study
base: mfeat
design:
  type: arms
  reference: Joint
  arms:
    Joint: {method.type: joint}
    IBML: {}
seeds: 3
"""
SEARCH = """\
name: search
base: mfeat
parameters:
  optimizer.lr: {low: 0.001, high: 0.1, log: true}
"""
FILES = {
    "study.yaml": STUDY,
    "key.yaml": STUDY.replace("IBML: {}", "IBML: {method.window.stop: 3}"),
    "value.yaml": STUDY.replace("IBML: {}", "IBML: {trainer.epochs: 0, fusion.type: summ}"),
    "reference.yaml": STUDY.replace("reference: Joint", "reference: Joined"),
    "twice.yaml": STUDY + "seeds: 4\n",
    "syntax.yaml": STUDY.replace("IBML: {}", "IBML: {"),
    "bounds.yaml": SEARCH.replace("high: 0.1", "high: 0.0001"),
    "parameter.yaml": SEARCH.replace("optimizer.lr", "optimizer.rate"),
}
INVALID_COMMANDS = (
    "train mfaet",
    "train mfeat -o trainer.epoch=3",
    "train mfeat -o trainer.epochs=many",
    "ablate nothing.yaml --dry-run",
    "ablate key.yaml --dry-run",
    "ablate value.yaml --dry-run",
    "ablate reference.yaml --dry-run",
    "ablate twice.yaml --dry-run",
    "ablate syntax.yaml --dry-run",
    "ablate study.yaml --dry-run -o design.arms.IBML.optimizer.lr=fast",
    "ablate study.yaml --dry-run --seeds 0",
    "tune study.yaml --dry-run",
    "tune bounds.yaml --dry-run",
    "tune parameter.yaml --dry-run",
)
ACCURACIES = {
    "IBML": [0.90, 0.92, 0.91, 0.93, 0.92],
    "w/o BIO": [0.85, 0.86, 0.86, 0.87, 0.86],
    "w/o TCM": [0.90, 0.91, 0.91, 0.92, 0.93],
}


def list_commands(command: typer.core.TyperCommand, path: tuple[str, ...] = ()) -> Iterator[str]:
    """Yield the arguments of a command and of all its sub-commands."""
    yield " ".join(path)
    for name, child in getattr(command, "commands", {}).items():
        yield from list_commands(child, (*path, name))


def collect_help() -> Iterator[tuple[str, str]]:
    """Yield a title and the help text of each command."""
    for command in list_commands(typer.main.get_command(app)):
        arguments = [*command.split(), "--help"]
        answer = CliRunner().invoke(app, arguments, prog_name="ibml", catch_exceptions=False)
        assert answer.exit_code == 0
        yield " ".join(["ibml", *arguments]), answer.output


def collect_errors(cli: CommandLine) -> Iterator[tuple[str, str]]:
    """Yield a title and the message of each invalid command."""
    for name, text in FILES.items():
        cli.write(name, text)
    for command in INVALID_COMMANDS:
        answer = cli.inside(*command.split())
        assert answer.code == 2, f"{command}: {answer}"
        yield f"ibml {command}", answer.out + answer.err


def collect_notes() -> Iterator[tuple[str, str]]:
    """Yield a title and the notes of tables that are complete, incomplete, and with failures."""
    record = study(ACCURACIES)
    finished = results(record, ACCURACIES)
    yield "Notes of a complete table", "\n".join(build_table(record, finished).notes)

    yield "Notes of a table without results", "\n".join(build_table(record, {}).notes)

    failed, missing, diverged = list(finished)[-3:]
    partial = {key: result for key, result in finished.items() if key != missing}
    partial[failed] = replace(
        finished[failed], status="failed", metrics={}, reason="RuntimeError('out of memory')"
    )
    partial[diverged] = replace(
        finished[diverged], status="diverged", metrics={}, reason="the loss of epoch 3 is nan"
    )
    yield "Notes of an incomplete table", "\n".join(build_table(record, partial).notes)

    two = study(ACCURACIES, datasets=("d", "e"), table={"test": "wilcoxon"})
    found = results(two, ACCURACIES, shift={"e": -0.2})
    yield "Notes of a table of two data sets", "\n".join(build_table(two, found).notes)


def format_section(title: str, text: str) -> str:
    """Format one text of the snapshot, without spaces at the ends of lines."""
    lines = [line.rstrip() for line in text.strip().splitlines()]
    return "\n".join([f"===== {title}", *lines, ""])


def test_texts_equal_the_snapshot(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    sections = [*collect_help(), *collect_errors(cli), *collect_notes()]
    current = "\n".join(format_section(title, text) for title, text in sections)
    assert str(cli.folder) not in current
    if os.environ.get(UPDATE) == "1":
        GOLDEN.write_text(current, encoding="utf-8")
    stored = GOLDEN.read_text(encoding="utf-8") if GOLDEN.exists() else ""
    difference = "\n".join(
        difflib.unified_diff(
            stored.splitlines(), current.splitlines(), "stored", "current", lineterm=""
        )
    )
    if difference:
        pytest.fail(
            f"texts differ from {GOLDEN.name}; if this is intended, run "
            f"`{UPDATE}=1 python -m pytest tests/test_messages.py` and review the difference:\n"
            f"{difference}",
            pytrace=False,
        )
