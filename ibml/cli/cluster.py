"""The commands for a running Ray cluster."""

from __future__ import annotations

import shlex
import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from ibml.cli.console import (
    Address,
    AllowPlugin,
    Checkpoints,
    Kind,
    Overrides,
    Storage,
    TrackingUri,
    errors,
    fail,
    out,
    write,
)
from ibml.cli.standard_streams import ignore_output_errors
from ibml.study.options import RunOptions

if TYPE_CHECKING:
    from ibml.study.ray.health_check import CheckResult

Submit = Annotated[
    bool,
    typer.Option(
        "--submit",
        help="Run as a job on the cluster instead; see: ibml logs, ibml stop, ibml list.",
    ),
]
Jobs = Annotated[
    str | None,
    typer.Option(
        help="The head's dashboard; default: RAY_API_SERVER_ADDRESS, else http://127.0.0.1:8265, a tunnel."
    ),
]
JobName = Annotated[
    str, typer.Argument(metavar="NAME", help="A study's or search's name, or a job's id.")
]
_NOT_SENT = ("submit", "jobs", "tracking_uri", "storage", "checkpoints", "address")

app = typer.Typer(help="A running Ray cluster: whether it can run a study.", no_args_is_help=True)


@app.callback()
def _cluster() -> None:
    """Keeps `check` a command of its own."""


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(help="An ablation file, whose data sets are looked at too.")
    ] = None,
    override: Overrides = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    storage: Storage = None,
    checkpoints: Checkpoints = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Ask every node: same software, GPUs, checkpoints, clock, data; and whether the servers answer here.

    What is wrong is named with what to do about it, and ends the command with 1.
    """
    with errors():
        from ibml.study.cluster_check import check_cluster
        from ibml.study.planning.plan import load_plan

        data = [cell.config.data for cell in load_plan(file, override or ()).cells] if file else []
        found = check_cluster(RunOptions(tracking_uri, storage, address, checkpoints), data)
    out.print(_build_check_table(found))
    for finding in found:
        if finding.state != "ok" and finding.fix:
            out.print(f"{finding.node}: {finding.about}: {finding.fix}.", soft_wrap=True)
    wrong = sum(finding.state == "wrong" for finding in found)
    if wrong:
        fail(f"{wrong} {'is' if wrong == 1 else 'are'} wrong", 1)


def submit_command(
    context: typer.Context, study: str, file: Path, server: str | None, options: RunOptions
) -> None:
    """Send the command of a context as a job, with the working folder, below which its file must be."""
    from ibml.study.ray.jobs import submit

    folder = Path.cwd()
    if not file.resolve().is_relative_to(folder):
        fail(f"{file} is not below this folder, which is what is sent", 2)
    if options.backend == "local":
        fail(
            "--submit sends the command to a Ray cluster, and --backend local uses none: remove one of them",
            2,
        )
    if options.address:
        fail(
            "--submit goes to the dashboard of --jobs; the job itself finds the cluster, without --address",
            2,
        )
    name = submit(study, _build_job_command(context), folder, server, options.get_environment())
    shown = shlex.quote(study)
    out.print(
        f"Job {name}; see it with: ibml logs {shown} --follow, end it with: ibml stop {shown}",
        soft_wrap=True,
    )


def _build_job_command(context: typer.Context) -> list[str]:
    """The command line of a context, without what a job does not get."""
    words = [str(context.info_name)]
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name in _NOT_SENT or source is None or source.name != "COMMANDLINE":
            continue
        value = context.params[name]
        if parameter.param_type_name == "argument":
            words.append(str(Path(value).resolve().relative_to(Path.cwd())))
        elif value is True:
            words.append(parameter.opts[0])
        else:
            for one in value if isinstance(value, list | tuple) else [value]:
                words += [parameter.opts[0], str(one)]
    return words


def logs(
    name: JobName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job ends.")
    ] = False,
    jobs: Jobs = None,
    kind: Kind = None,
) -> None:
    """Print what a job has printed."""
    with errors():
        from ibml.study.ray.jobs import find_job, stream_logs

        for text in stream_logs(find_job(name, jobs, kind), jobs, follow):
            write(text)
            sys.stdout.flush()


def stop(name: JobName, jobs: Jobs = None, kind: Kind = None) -> None:
    """End a job as Ctrl-C would: finished trials are kept, and the same command goes on with the others."""
    with errors():
        from ibml.study.ray.jobs import find_job
        from ibml.study.ray.jobs import stop as stop_job

        ignore_output_errors()
        job = find_job(name, jobs, kind)
        out.print(f"Job {job.id}: {stop_job(job, jobs)}", soft_wrap=True)


def print_jobs(server: str) -> None:
    """The jobs of a cluster."""
    from ibml.study.ray.jobs import jobs

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("job", "study", "state", "begun", "command"):
        table.add_column(heading, overflow="fold")
    for job in jobs(server):
        begun = datetime.fromtimestamp(job.began).isoformat(" ", "seconds")
        table.add_row(*map(Text, (job.id, job.study, job.status, begun, job.command)))
    out.print(table if table.rows else "No job of ibml is there.")


def _build_check_table(found: list[CheckResult]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("node", "what", "", "found"):
        table.add_column(heading, overflow="fold")
    for finding in found:
        table.add_row(*map(Text, (finding.node, finding.about, finding.state, finding.text)))
    return table
