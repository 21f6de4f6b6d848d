"""Consoles of the command line, and error messages with exit codes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Any, NoReturn

import typer
from rich.console import (
    Console,
    ConsoleOptions,
    ConsoleRenderable,
    RenderableType,
    RenderHook,
    RenderResult,
)
from rich.segment import Segment
from typer.core import TyperGroup

from ibml.common.errors import ConfigError, IbmlError
from ibml.common.processes.interruption import exit_code
from ibml.common.redaction import redact_url
from ibml.common.sanitize import strip_control_characters

if TYPE_CHECKING:
    from ibml.records import StudyRecord
    from ibml.study.engine.run_summary import RunSummary
    from ibml.study.results import Ablation

# A pipe or log file has no width. At rich's default of 80 columns, tables would be folded.
WIDTH_WITHOUT_TERMINAL = 120
STUDY_STOPPED = "Stopped. Finished trials are kept. Repeat the command to train the others."


@dataclass(frozen=True)
class _Sanitized:
    """Renderable without the characters that would control the terminal."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.content, options):
            if segment.control:
                yield segment
            else:
                yield Segment(strip_control_characters(segment.text), segment.style)


class _SanitizeHook(RenderHook):
    """Hook that sanitizes all output, because names come from files and stores."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Sanitized(content) for content in renderables]


def create_plain_console(**options: Any) -> Console:
    """Create a console that interprets no markup and prints no control characters.

    Args:
        **options: Options of `rich.console.Console`.

    Returns:
        The console.
    """
    console = Console(highlight=False, markup=False, emoji=False, **options)
    console.push_render_hook(_SanitizeHook())
    return console


out = create_plain_console(
    width=None if sys.stdout and sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
)
err = create_plain_console(stderr=True)


class CommandGroup(TyperGroup):
    """Command group that reports invalid arguments without pydantic's prefixes."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command of the command line.

        Args:
            ctx: Context of the program.

        Returns:
            The result of the command.

        Raises:
            BadParameter: If an argument is invalid.
        """
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            from ibml.config.loading.error_messages import strip_pydantic_prefix

            error.message = strip_pydantic_prefix(error.message)
            raise


@contextmanager
def handle_errors(stopped: str = "Stopped.") -> Iterator[None]:
    """Turn expected errors into a message and an exit code.

    Invalid configurations exit with 2, other expected errors with 1, and signals with 128 plus the
    signal number.

    Args:
        stopped: Message after a signal.

    Yields:
        Nothing.

    Raises:
        Exit: If an expected error occurs.
    """
    try:
        yield
    except ConfigError as error:
        fail("\n".join(map(str, error.problems)), 2)
    except KeyboardInterrupt:
        fail(f"\n{stopped}", exit_code())
    except IbmlError as error:
        fail(str(error), 1)


def print_unwrapped(text: str) -> None:
    """Print a text without folding its lines."""
    sys.stdout.write(strip_control_characters(text))


def fail(message: str, code: int) -> NoReturn:
    """Print an error message and exit.

    Args:
        message: The message.
        code: Exit code.

    Raises:
        Exit: Always.
    """
    err.print(message, soft_wrap=True)
    raise typer.Exit(code)


def print_notes(notes: Iterable[str]) -> None:
    """Print notes about valid but probably unintended settings."""
    for note in notes:
        err.print(f"Note: {note}.", soft_wrap=True)


def note_undrawable_names(study: StudyRecord) -> None:
    """Print a note if fonts lack characters of the names in a study's figures."""
    from ibml.report.study.figure_names import describe_undrawable_names

    note = describe_undrawable_names(study)
    if note:
        err.print(f"Note: {note}", soft_wrap=True)


def format_store_uri(tracking_uri: str | None) -> str:
    """Return the URI of the store, without secrets."""
    from ibml.tracking.store.uri import choose_uri

    return redact_url(choose_uri(tracking_uri))


def format_ui_command(tracking_uri: str | None) -> str:
    """Return the command that opens the store in MLflow's web interface."""
    name = "ibml"
    # Outside an activated environment, `ibml` is found only by the path of this call.
    if not which("ibml") and Path(sys.argv[0]).name.startswith("ibml"):
        name = sys.argv[0]
    command = [name, "ui"]
    if tracking_uri:
        command += ["--tracking-uri", format_store_uri(tracking_uri)]
    return shlex.join(command)


def print_ablation(ablation: Ablation, tracking_uri: str | None) -> None:
    """Print the table of an ablation, its place in MLflow and the run's summary.

    Args:
        ablation: Result of the ablation.
        tracking_uri: URI of the store, if one was given.

    Raises:
        Exit: If the run is incomplete; see `finish_with_summary`.
    """
    from ibml.report.tables.formats.text import build_rich_group

    out.print(build_rich_group(ablation.table))
    note_undrawable_names(ablation.table.study)
    out.print()
    print_run_location(ablation.run_id, tracking_uri)
    finish_with_summary(ablation.outcome)


def print_run_location(run_id: str, tracking_uri: str | None) -> None:
    """Print the MLflow run that has the results, and the command that opens it.

    Args:
        run_id: Id of the MLflow run.
        tracking_uri: URI of the store, if one was given.
    """
    out.print(f"Results: MLflow run {run_id} in {format_store_uri(tracking_uri)}", soft_wrap=True)
    out.print(f"To view them, run: {format_ui_command(tracking_uri)}", soft_wrap=True)


def finish_with_summary(summary: RunSummary) -> None:
    """Print the counters of a run, and exit with an error if it is incomplete.

    Args:
        summary: Counters of the run.

    Raises:
        Exit: If the run was interrupted or trials failed.
    """
    if summary.shared:
        out.print(f"Prefix sharing saved {summary.shared:,} epochs of training.")
    if summary.interrupted:
        fail(STUDY_STOPPED, exit_code())
    if summary.failed:
        name, reason = summary.failed[0]
        fail(f"{len(summary.failed)} trials failed, for instance {name}: {reason}", 1)
