"""What the commands share: options, the two consoles, errors as words and exit codes."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from shutil import which
from typing import TYPE_CHECKING, Annotated, Any, Literal, NoReturn

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

from ibml.cli.report_folder import write_file, write_report
from ibml.common.errors import ConfigError, IbmlError
from ibml.common.paths import join_escaped
from ibml.common.processes.interruption import exit_code
from ibml.common.redaction import redact_url
from ibml.common.sanitize import strip_control_characters

if TYPE_CHECKING:
    from ibml.records import SearchRecord, StudyRecord
    from ibml.study.engine.run_summary import RunSummary
    from ibml.study.results import Ablation

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--override",
        metavar="PATH=VALUE",
        help="Change a value, e.g. -o trainer.epochs=5; repeatable.",
    ),
]


def _warn_of_secret(url: str | None) -> str | None:
    """A command line is seen by everybody on the machine, and Ray keeps it with its jobs."""
    if url and redact_url(url) != url:
        variables = "MLFLOW_TRACKING_URI and OPTUNA_STORAGE"
        err.print(
            f"Note: a secret in an argument is seen by others; in {variables} it is not.",
            soft_wrap=True,
        )
    return url


TrackingUri = Annotated[
    str | None,
    typer.Option(
        callback=_warn_of_secret,
        help="MLflow store; default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db in this folder.",
    ),
]

Address = Annotated[
    str | None,
    typer.Option(help="A running Ray cluster; default: RAY_ADDRESS, else a local one is started."),
]
BackendOption = Annotated[
    Literal["ray", "local"] | None,
    typer.Option(
        "--backend",
        help="Where trials are trained: on Ray, or on this machine without Ray; default: the file's, else Ray.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        help="Processes of the local backend; 1 trains in this process; default: the file's.",
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug", help="Open the debugger (pdb) at a trial's exception; needs --backend local."
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        callback=_warn_of_secret,
        help="Optuna's database; default: OPTUNA_STORAGE, else sqlite:///optuna.db in this folder.",
    ),
]
Checkpoints = Annotated[
    str | None,
    typer.Option(
        help="Folder for checkpoints and what MLflow has not taken yet, or s3://BUCKET/FOLDER, gs://BUCKET/FOLDER for"
        " checkpoints alone; default: IBML_CHECKPOINTS, else `checkpoints` beside the store's database file, else in"
        " this folder."
    ),
]
Rerun = Annotated[
    bool,
    typer.Option(
        "--rerun", help="Train again what has a result; MLflow keeps the old runs as deleted."
    ),
]
NewVersion = Annotated[
    bool,
    typer.Option(
        "--new-version",
        help="Start a new version, NAME v2, if NAME exists with another design or other settings.",
    ),
]
AllowMixed = Annotated[
    bool,
    typer.Option(
        "--allow-mixed",
        help="Use results of different code revisions or machines together, and say so.",
    ),
]
Kind = Annotated[
    Literal["study", "search"] | None,
    typer.Option(
        "--kind", help="Which one is meant, where a study and a search have the same name."
    ),
]
NoShare = Annotated[
    bool,
    typer.Option(
        "--no-share",
        help="Let each trial train alone, also the epochs in which others train alike.",
    ),
]
StageGB = Annotated[
    float,
    typer.Option(
        min=0,
        envvar="IBML_STAGE_GB",
        help="Gigabytes for states that trials share; 0: none is shared.",
    ),
]
ReportFolder = Annotated[
    Path | None, typer.Option(help="Folder for the report; default: reports/NAME.")
]


def _allow(packages: list[str] | None) -> list[str] | None:
    from ibml.config.plugins.allowlist import allow_packages

    try:
        allow_packages(packages or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return packages


AllowPlugin = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-plugin",
        metavar="PACKAGE",
        callback=_allow,
        help="Let configurations run this package; repeatable.",
    ),
]

REPORTS = Path("reports")
# A pipe or a log file has no width; a table in 80 columns would be folded there for nobody.
WIDTH_WITHOUT_TERMINAL = 120
STUDY_STOPPED = "Stopped. Finished trials are kept. Repeat the command to continue with the others."


@dataclass(frozen=True)
class _Sanitized:
    """Something to print, without the characters that would command the terminal."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.content, options):
            yield (
                segment
                if segment.control
                else Segment(strip_control_characters(segment.text), segment.style)
            )


class _SanitizeHook(RenderHook):
    """Names come from files and stores, and a console prints them wherever they stand."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        return [_Sanitized(content) for content in renderables]


def create_plain_console(**options: Any) -> Console:
    """A console that takes nothing in a text for markup and lets no control character through."""
    made = Console(highlight=False, markup=False, emoji=False, **options)
    made.push_render_hook(_SanitizeHook())
    return made


out = create_plain_console(
    width=None if sys.stdout and sys.stdout.isatty() else WIDTH_WITHOUT_TERMINAL
)
err = create_plain_console(stderr=True)


class CommandGroup(TyperGroup):
    """The commands of ibml. What is wrong with an argument is said in plain words."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            from ibml.config.loading.error_messages import strip_pydantic_prefix

            error.message = strip_pydantic_prefix(error.message)
            raise


@contextmanager
def errors(stopped: str = "Stopped.") -> Iterator[None]:
    """End the command with a message and an exit code where something expected goes wrong.

    A wrong configuration ends with 2; a store, cluster or device out of reach with 1; a signal with 128 and its number.

    Args:
        stopped: The message after a signal.
    """
    try:
        yield
    except ConfigError as error:
        fail("\n".join(map(str, error.problems)), 2)
    except KeyboardInterrupt:
        fail(f"\n{stopped}", exit_code())
    except IbmlError as error:
        fail(str(error), 1)


def write(text: str) -> None:
    """Print a text as it is, its lines not folded."""
    sys.stdout.write(strip_control_characters(text))


def fail(message: str, code: int) -> NoReturn:
    """Say what is wrong and end with an exit code."""
    err.print(message, soft_wrap=True)
    raise typer.Exit(code)


def print_notes(notes: Iterable[str]) -> None:
    """Print what is allowed but probably not meant."""
    for note in notes:
        err.print(f"Note: {note}.", soft_wrap=True)


def format_store_uri(tracking_uri: str | None) -> str:
    """The store's URI without a password."""
    from ibml.tracking.store.uri import choose_uri

    return redact_url(choose_uri(tracking_uri))


def format_ui_command(tracking_uri: str | None) -> str:
    """The command that opens the store."""
    # Without an activated environment, `ibml` is only found the way it was called.
    name = "ibml" if which("ibml") or not Path(sys.argv[0]).name.startswith("ibml") else sys.argv[0]
    return shlex.join(
        [name, "ui", "--tracking-uri", format_store_uri(tracking_uri)]
        if tracking_uri
        else [name, "ui"]
    )


def print_ablation(ablation: Ablation, tracking_uri: str | None) -> None:
    """The table, where everything is, and how the run went."""
    from ibml.report.tables.formats.text import build_rich_group

    out.print(build_rich_group(ablation.table))
    note_undrawable_names(ablation.table.study)
    out.print(
        f"\nEverything is in MLflow, run {ablation.run_id} of {format_store_uri(tracking_uri)}",
        soft_wrap=True,
    )
    out.print(f"Look at it with: {format_ui_command(tracking_uri)}", soft_wrap=True)
    end(ablation.outcome)


def end(summary: RunSummary) -> None:
    """What was saved, what went wrong, and the exit code that says so."""
    if summary.shared:
        out.print(f"{summary.shared:,} epochs were trained once for several trials and not again.")
    if summary.interrupted:
        fail(STUDY_STOPPED, exit_code())
    if summary.failed:
        name, reason = summary.failed[0]
        fail(f"{len(summary.failed)} trials failed, for instance {name}: {reason}", 1)


def write_study_report(
    study: StudyRecord, files: Mapping[str, str | bytes], to: Path | None, both: bool
) -> None:
    """Write a study's page where `to` is a .html file, else everything into a folder. `both`: a search has its name."""
    from ibml.report.study.page import PAGE

    page = to if to is not None and to.suffix == ".html" else None
    folder = to or join_escaped(REPORTS, f"{study.name}/study" if both else study.name)
    with _wrap_write_errors(page or folder):
        if page:
            content = files[PAGE]
            write_file(page, content.encode() if isinstance(content, str) else content)
        else:
            write_report(folder, files)
    note_undrawable_names(study)
    out.print(f"Report: {page or folder / PAGE}", soft_wrap=True)


def note_undrawable_names(study: StudyRecord) -> None:
    """Name what the study's figures cannot show."""
    from ibml.report.study.figure_names import describe_undrawable_names

    note = describe_undrawable_names(study)
    if note:
        err.print(f"Note: {note}", soft_wrap=True)


def write_search_report(
    record: SearchRecord, files: Mapping[str, str | bytes], to: Path | None, both: bool
) -> None:
    """Write a search's report into a folder, in place of an earlier one. `both`: a study has its name."""
    from ibml.report.search.page import BEST, FILES, PAGE

    if to is not None and to.suffix == ".html":
        raise IbmlError(
            f"a search's report is a folder of files; {to} would be one named like a page"
        )
    folder = to or join_escaped(REPORTS, f"{record.name}/search" if both else record.name)
    with _wrap_write_errors(folder):
        write_report(folder, {name: files[name] for name in FILES if name in files})
    best = (
        f"; train the best with: ibml train {shlex.quote(str(folder / BEST))}"
        if BEST in files and record.scheduler["type"] != "pbt"
        else ""
    )
    out.print(f"Report: {folder / PAGE}{best}", soft_wrap=True)


@contextmanager
def _wrap_write_errors(place: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise IbmlError(f"the report cannot be written to {place}: {error.strerror}") from None
