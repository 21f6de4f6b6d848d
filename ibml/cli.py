"""The command line: arguments in, words out. Everything else is in the packages below."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from ibml.config.base import ConfigError, IbmlError
from ibml.version import __version__

if TYPE_CHECKING:
    from ibml.api import Ablation

app = typer.Typer(
    help="Hyperparameter search and ablations for balanced multimodal learning, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "-o", "--override", metavar="PATH=VALUE", help="Change a value, e.g. -o trainer.epochs=5; repeatable."
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(help="MLflow store; default: MLFLOW_TRACKING_URI, else sqlite:///mlflow.db in this folder."),
]

# A pipe or a log file has no width; a table in 80 columns would be folded there for nobody.
WIDTH_ELSEWHERE = 120
INTERRUPTED = "Interrupted. Finished trials are kept; the same command goes on with the others."

out = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH_ELSEWHERE)
err = Console(stderr=True, highlight=False)


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="A preset (mfeat) or a .yaml file.")],
    override: Overrides = None,
    tracking_uri: TrackingUri = None,
) -> None:
    """Train one trial in this process and record it in MLflow."""
    with _errors():
        from ibml.study.plan import load_trial

        trial = load_trial(config, override or ())
        from ibml.api import open_store
        from ibml.study.single import run_single

        result, run_id = run_single(Path(config).stem, trial, open_store(tracking_uri), out)
    for name, value in result.metrics.items():
        out.print(f"{name:28} {value:.6g}")
    out.print(f"MLflow run {run_id}; look at it with: {_ui_command(tracking_uri)}", soft_wrap=True)
    if result.status == "diverged":
        _fail(f"diverged: {result.reason}", 1)


@app.command()
def ablate(
    file: Annotated[Path, typer.Argument(help="An ablation file, e.g. ablations/components.yaml.")],
    override: Overrides = None,
    seeds: Annotated[int | None, typer.Option(help="Number of seeds, instead of the file's.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show arms, trials and epochs; run nothing.")] = False,
    tracking_uri: TrackingUri = None,
    address: Annotated[
        str | None, typer.Option(help="A running Ray cluster; default: RAY_ADDRESS, else a local one is started.")
    ] = None,
) -> None:
    """Run an ablation study and print its table. The same command again goes on where it stopped."""
    with _errors():
        from ibml.study.plan import load_plan

        signal.signal(signal.SIGTERM, _interrupt)
        plan = load_plan(file, override or (), seeds)
        if dry_run:
            from ibml.study.preview import preview

            out.print(preview(plan))
            return
        from ibml.api import run_plan

        ablation = run_plan(plan, tracking_uri, address, out)
    _report(ablation, tracking_uri)


def _interrupt(number: int, frame: FrameType | None) -> None:
    """A scheduler's SIGTERM ends a study as Ctrl-C does."""
    raise KeyboardInterrupt


def _report(ablation: Ablation, tracking_uri: str | None) -> None:
    from ibml.report.render import rich_table

    out.print(rich_table(ablation.table))
    out.print(f"\nEverything is in MLflow, run {ablation.run_id} of {_shown_store(tracking_uri)}", soft_wrap=True)
    out.print(f"Look at it with: {_ui_command(tracking_uri)}", soft_wrap=True)
    outcome = ablation.outcome
    for error in outcome.tracking_failures[:1]:
        err.print(
            f"{len(outcome.tracking_failures)} records could not be stored: {error}", soft_wrap=True, markup=False
        )
    if outcome.interrupted:
        _fail(INTERRUPTED, 130)
    if outcome.failed:
        name, reason = outcome.failed[0]
        _fail(f"{len(outcome.failed)} trials failed, for instance {name}: {reason}", 1)
    if outcome.tracking_failures:
        _fail("The same command runs again what could not be stored.", 1)


@app.command()
def table(
    study: Annotated[str, typer.Argument(help="A study's name, or its .yaml file.")],
    form: Annotated[
        Literal["text", "markdown", "latex", "csv", "json"], typer.Option("--format", help="How to print it.")
    ] = "text",
    tracking_uri: TrackingUri = None,
) -> None:
    """Print a study's table from what MLflow has."""
    with _errors():
        from ibml.api import study_table
        from ibml.report.render import render, rich_table

        made = study_table(study, tracking_uri)
        if form == "text" and out.is_terminal:
            out.print(rich_table(made))
        else:
            sys.stdout.write(render(made, form))


@app.command()
def ui(
    tracking_uri: TrackingUri = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine see it if changed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Open MLflow's pages on the store."""
    with _errors():
        import subprocess

        from ibml.tracking.uri import choose_uri, shown_uri

        uri = choose_uri(tracking_uri)
        if uri.startswith(("http://", "https://")):
            out.print(f"The store is a server already: open {shown_uri(uri)}", soft_wrap=True)
            return
        out.print(f"MLflow on http://{host}:{port} (Ctrl-C ends it)", soft_wrap=True)
        command = [sys.executable, "-m", "mlflow", "ui", "--backend-store-uri", uri, "--workers", "1"]
        command += ["--host", host, "--port", str(port)]
        raise typer.Exit(subprocess.run(command, check=False).returncode)


@app.command()
def schema(
    kind: Annotated[Literal["ablation", "trial", "search"], typer.Argument(help="Which kind of file.")],
) -> None:
    """Print the JSON schema of a kind of YAML file, for editors."""
    from ibml.config.schema import schema as make_schema

    sys.stdout.write(json.dumps(make_schema(kind), indent=1) + "\n")


def _version(asked: bool) -> None:
    if asked:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


@contextmanager
def _errors() -> Iterator[None]:
    """Expected errors as words: a wrong configuration ends with 2, a store, cluster or device out of reach with 1."""
    try:
        yield
    except ConfigError as error:
        _fail("\n".join(map(str, error.problems)), 2)
    except KeyboardInterrupt:
        _fail(f"\n{INTERRUPTED}", 130)
    except IbmlError as error:
        _fail(str(error), 1)


def _fail(message: str, code: int) -> None:
    err.print(message, soft_wrap=True, markup=False)
    raise typer.Exit(code)


def _shown_store(tracking_uri: str | None) -> str:
    from ibml.tracking.uri import choose_uri, shown_uri

    return shown_uri(choose_uri(tracking_uri))


def _ui_command(tracking_uri: str | None) -> str:
    # Without an activated environment, `ibml` is only found the way it was called.
    name = "ibml" if which("ibml") or not Path(sys.argv[0]).name.startswith("ibml") else sys.argv[0]
    return f"{name} ui --tracking-uri {_shown_store(tracking_uri)}" if tracking_uri else f"{name} ui"


def main() -> None:
    """The entry point of the command `ibml`."""
    app()


if __name__ == "__main__":
    main()
