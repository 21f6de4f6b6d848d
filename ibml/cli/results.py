"""Commands that show the results of studies, searches and trials."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ibml.cli.cluster import print_jobs
from ibml.cli.console import err, handle_errors, out, print_unwrapped
from ibml.cli.options import AllowMixed, AllowPlugin, Kind, StudyName, TrackingUri, TrialId
from ibml.cli.report_folder import write_search_report, write_study_report
from ibml.cli.standard_streams import ignore_output_errors
from ibml.common.errors import IbmlError
from ibml.common.processes.interruption import exit_code
from ibml.common.redaction import redact_url
from ibml.report.tables.formats.registry import FormatName

LOOPBACK = ("127.0.0.1", "localhost", "::1")
"""Addresses that other machines cannot reach."""


def list_runs(
    tracking_uri: TrackingUri = None,
    jobs: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="URL of a cluster's dashboard. Lists the jobs of this cluster instead.",
        ),
    ] = None,
) -> None:
    """List studies and searches with their progress."""
    with handle_errors():
        if jobs:
            print_jobs(jobs)
            return
        from ibml.report.tables.formats.text import build_rich_table
        from ibml.views import load_overview

        found = load_overview(tracking_uri)
        out.print(
            build_rich_table(found) if found.rows else "The store has no studies or searches."
        )


def table(
    study: StudyName,
    form: Annotated[FormatName, typer.Option("--format", help="Output format.")] = "text",
    tuning: Annotated[
        bool, typer.Option("--tuning", help="Print the tuned values of the arms instead.")
    ] = False,
    allow_mixed: AllowMixed = False,
    tracking_uri: TrackingUri = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Print the table of a study from the results in MLflow."""
    with handle_errors():
        if tuning:
            _print_tuning(study, form, tracking_uri)
            return
        from ibml.queries import load_study_table
        from ibml.report.tables.formats.text import build_rich_group
        from ibml.report.tables.render import render

        made = load_study_table(study, tracking_uri, allow_mixed)
        if form == "text" and out.is_terminal:
            out.print(build_rich_group(made))
        else:
            print_unwrapped(render(made, form))


def _print_tuning(study: str, form: FormatName, tracking_uri: str | None) -> None:
    from ibml.queries import load_study_record
    from ibml.report.study.tuning import build_tuning_table, render_tuning
    from ibml.report.tables.formats.text import build_rich_table

    record = load_study_record(study, tracking_uri)
    if not record.tuning:
        raise IbmlError(f"the arms of {record.name} are not tuned: its file has no key 'tune'")
    if form == "text" and out.is_terminal:
        out.print(build_rich_table(build_tuning_table(record)))
    else:
        print_unwrapped(render_tuning(record, form))


def report(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Name or .yaml file of a study, or name of a search."),
    ],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            "-o",
            metavar="PATH",
            help="Folder, or a .html file for only the page of a study. Default: reports/NAME.",
        ),
    ] = None,
    kind: Kind = None,
    allow_mixed: AllowMixed = False,
    tracking_uri: TrackingUri = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Write the report of a study or a search.

    The report has the conclusions, tables and figures. A study's report is also added to its run in
    MLflow.
    """
    with handle_errors():
        from ibml.queries import create_study_report, find_kind, load_search_record

        ignore_output_errors()
        found, both = find_kind(name, kind, tracking_uri)
        if found == "search":
            from ibml.report.search.page import build_search_summary, render_search_report

            record, others = load_search_record(name, tracking_uri)
            out.print(build_search_summary(record, others))
            write_search_report(record, render_search_report(record, others), to, both)
        else:
            study, files = create_study_report(
                name, tracking_uri, allow_mixed, lambda text: err.print(text, soft_wrap=True)
            )
            write_study_report(study, files, to, both)


def compare(
    first: Annotated[
        str, typer.Argument(metavar="FIRST", help="Study, or an arm of a study: STUDY/ARM.")
    ],
    second: Annotated[
        str, typer.Argument(metavar="SECOND", help="Study or arm to compare with the first.")
    ],
    tracking_uri: TrackingUri = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Show the differences between two studies or arms.

    Compares their configurations and results.
    """
    with handle_errors():
        from ibml.report.tables.formats.text import build_rich_table
        from ibml.views import compare_studies

        found = compare_studies(first, second, tracking_uri)
        for grid in found:
            out.print(build_rich_table(grid))
        if not found:
            out.print("No differences.")


def show(
    trial: TrialId,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show the configuration, curves, log and artifacts of a trial."""
    with handle_errors():
        from ibml.report.views.trial import build_trial_group
        from ibml.views import load_trial_view

        out.print(build_trial_group(load_trial_view(trial, tracking_uri)))


def reproduce(
    trial: TrialId,
    tracking_uri: TrackingUri = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Run a recorded trial again and compare its metrics.

    Exits with 1 if a metric of an epoch is not identical. Nothing is recorded.
    """
    with handle_errors():
        from ibml.api import reproduce as reproduce_trial

        ignore_output_errors()
        found = reproduce_trial(trial, tracking_uri=tracking_uri, console=out)
    for line in found.lines:
        out.print(line, soft_wrap=True)
    if not found.identical:
        raise typer.Exit(1)


def plan(
    study: StudyName,
    detect: Annotated[
        float,
        typer.Option(
            metavar="DIFFERENCE", help="Smallest difference to detect, in the unit of the table."
        ),
    ],
    metric: Annotated[
        str | None,
        typer.Option(metavar="METRIC", help="Metric of the table. Default: its first metric."),
    ] = None,
    power: Annotated[
        float,
        typer.Option(
            min=0.01, max=0.999, metavar="POWER", help="Probability of detecting the difference."
        ),
    ] = 0.8,
    tracking_uri: TrackingUri = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Estimate the seeds needed to detect a difference.

    The estimate uses the variance of the study's finished trials.
    """
    with handle_errors():
        from ibml.report.tables.formats.text import build_rich_table
        from ibml.report.views.sample_size import build_power_table, describe_power
        from ibml.views import estimate_seeds

        found = estimate_seeds(study, detect, tracking_uri, metric, power)
        out.print(build_rich_table(build_power_table(found)))
        for line in describe_power(found):
            out.print(line, soft_wrap=True)


def ui(
    tracking_uri: TrackingUri = None,
    host: Annotated[
        str,
        typer.Option(
            metavar="ADDRESS",
            help="Address to listen on. Any address other than this machine's own exposes MLflow on"
            " the network without authentication.",
        ),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=1, max=65535, metavar="PORT", help="Port to listen on.")
    ] = 5000,
) -> None:
    """Serve the MLflow web interface for the store."""
    with handle_errors():
        from ibml.cli.mlflow_ui import serve
        from ibml.queries import open_store
        from ibml.tracking.store.uri import choose_uri

        uri = choose_uri(tracking_uri)
        if uri.startswith(("http://", "https://")):
            out.print(f"The store is already a server: open {redact_url(uri)}", soft_wrap=True)
            return
        ignore_output_errors()
        # The store is opened here first, because MLflow's own errors are tracebacks with the URL.
        store_address = open_store(uri).address
        url = f"http://{host}:{port}"
        warning = "" if host in LOOPBACK else ", reachable by others without a password,"

        def print_address() -> None:
            out.print(f"MLflow on {url}{warning} (press Ctrl-C to stop)", soft_wrap=True)

        try:
            serve(store_address, host, port, print_address)
        except KeyboardInterrupt:
            raise typer.Exit(exit_code()) from None
