"""Commands for a Ray cluster: check it, submit jobs, and follow or stop them."""

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

from ibml.cli.console import fail, handle_errors, out, print_unwrapped
from ibml.cli.options import (
    Address,
    AllowPlugin,
    Checkpoints,
    JobName,
    JobServer,
    Kind,
    Overrides,
    Storage,
    TrackingUri,
)
from ibml.cli.standard_streams import ignore_output_errors
from ibml.study.options import RunOptions

if TYPE_CHECKING:
    from ibml.study.ray.health_check import CheckResult

_NOT_SENT = ("submit", "jobs", "tracking_uri", "storage", "checkpoints", "address")
"""Parameters that are not part of a job's command: the job gets their values otherwise."""

app = typer.Typer(help="Manage a Ray cluster.", no_args_is_help=True)


@app.callback()
def _cluster() -> None:
    """Keep `check` a subcommand: Typer would run the only command of a group without its name."""


@app.command()
def check(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", help="Ablation file whose data sets are checked too."),
    ] = None,
    override: Overrides = None,
    address: Address = None,
    tracking_uri: TrackingUri = None,
    storage: Storage = None,
    checkpoints: Checkpoints = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Check that the nodes and servers of a cluster are ready for a study.

    Checks the software versions, GPUs, access to checkpoints, clock and data of every node, and
    that MLflow and Optuna's database respond. Exits with 1 if a check fails, and prints a fix for
    each failure.
    """
    with handle_errors():
        from ibml.study.cluster_check import check_cluster
        from ibml.study.planning.plan import load_plan

        data = []
        if file:
            data = [cell.config.data for cell in load_plan(file, override or ()).cells]
        results = check_cluster(RunOptions(tracking_uri, storage, address, checkpoints), data)
    out.print(_build_check_table(results))
    for result in results:
        if result.state != "ok" and result.fix:
            out.print(f"{result.node}: {result.about}: {result.fix}.", soft_wrap=True)
    failures = sum(result.state == "wrong" for result in results)
    if failures:
        fail("1 check failed" if failures == 1 else f"{failures} checks failed", 1)


def submit_command(
    context: typer.Context, study: str, file: Path, server: str | None, options: RunOptions
) -> None:
    """Submit the command of a context as a job, together with the working directory.

    Args:
        context: Context of the command.
        study: Name of the study or search.
        file: Its file, which must be in the working directory or below.
        server: URL of the cluster's dashboard, if one was given.
        options: Options of the run.

    Raises:
        Exit: If the options cannot be combined with `--submit`.
        ClusterError: If the cluster does not accept the job.
    """
    from ibml.study.ray.jobs import submit

    folder = Path.cwd()
    if not file.resolve().is_relative_to(folder):
        fail(
            f"{file} is not below this folder, and --submit sends this folder to the cluster:"
            " change to a folder that contains the file",
            2,
        )
    if options.backend == "local":
        fail("--submit requires Ray, but --backend is local: remove one of the two options", 2)
    if options.address:
        fail("--submit uses the dashboard of --jobs instead of --address: remove --address", 2)
    name = submit(study, _build_job_command(context), folder, server, options.get_environment())
    shown = shlex.quote(study)
    out.print(
        f"Job {name} was submitted. Follow it with: ibml logs {shown} --follow. Stop it with: ibml"
        f" stop {shown}",
        soft_wrap=True,
    )


def _build_job_command(context: typer.Context) -> list[str]:
    """Return the command line of a context, without the options that a job must not get."""
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
            values = value if isinstance(value, list | tuple) else [value]
            for one in values:
                words += [parameter.opts[0], str(one)]
    return words


def logs(
    name: JobName,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Print new output until the job ends.")
    ] = False,
    jobs: JobServer = None,
    kind: Kind = None,
) -> None:
    """Print the output of a job."""
    with handle_errors():
        from ibml.study.ray.jobs import find_job, stream_logs

        for text in stream_logs(find_job(name, jobs, kind), jobs, follow):
            print_unwrapped(text)
            sys.stdout.flush()


def stop(name: JobName, jobs: JobServer = None, kind: Kind = None) -> None:
    """Stop a job.

    Finished trials are kept. Submit the same command again to train the other trials.
    """
    with handle_errors():
        from ibml.study.ray.jobs import find_job
        from ibml.study.ray.jobs import stop as stop_job

        ignore_output_errors()
        job = find_job(name, jobs, kind)
        out.print(f"Job {job.id}: {stop_job(job, jobs)}", soft_wrap=True)


def print_jobs(server: str) -> None:
    """Print the jobs of a cluster, given the URL of its dashboard."""
    from ibml.study.ray.jobs import jobs

    table = _build_table("job", "study", "state", "started", "command")
    for job in jobs(server):
        started = datetime.fromtimestamp(job.began).isoformat(" ", "seconds")
        table.add_row(*map(Text, (job.id, job.study, job.status, started, job.command)))
    out.print(table if table.rows else "The cluster has no jobs of ibml.")


def _build_check_table(results: list[CheckResult]) -> Table:
    table = _build_table("node", "check", "", "result")
    for result in results:
        table.add_row(*map(Text, (result.node, result.about, result.state, result.text)))
    return table


def _build_table(*headings: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table
