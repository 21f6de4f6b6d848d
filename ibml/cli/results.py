"""The commands that read what was run. Like all commands, they hold no logic of their own."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ibml.cli.cluster import print_jobs
from ibml.cli.console import (
    AllowMixed,
    AllowPlugin,
    Kind,
    TrackingUri,
    err,
    errors,
    out,
    write,
    write_search_report,
    write_study_report,
)
from ibml.cli.standard_streams import ignore_output_errors
from ibml.common.errors import IbmlError
from ibml.report.tables.formats.registry import FormatName

Study = Annotated[str, typer.Argument(help="A study's name, or its .yaml file.")]
Trial = Annotated[
    str, typer.Argument(help="A trial's MLflow run id or key, or the beginning of either.")
]


def list_runs(
    tracking_uri: TrackingUri = None,
    jobs: Annotated[
        str | None, typer.Option(help="Show the jobs of a cluster instead: its dashboard's URL.")
    ] = None,
) -> None:
    """List studies and searches: state, progress, age."""
    with errors():
        if jobs:
            print_jobs(jobs)
            return
        from ibml.queries import overview
        from ibml.report.tables.formats.text import build_rich_table

        found = overview(tracking_uri)
        out.print(build_rich_table(found) if found.rows else "Nothing was run here yet.")


def table(
    study: Study,
    form: Annotated[FormatName, typer.Option("--format", help="How to print it.")] = "text",
    tuning: Annotated[
        bool, typer.Option("--tuning", help="Show what the arms were tuned to instead.")
    ] = False,
    allow_mixed: AllowMixed = False,
    tracking_uri: TrackingUri = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Print a study's table from what MLflow has."""
    with errors():
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
            write(render(made, form))


def _print_tuning(study: str, form: FormatName, tracking_uri: str | None) -> None:
    from ibml.queries import study_record
    from ibml.report.study.tuning import build_tuning_table, render_tuning
    from ibml.report.tables.formats.text import build_rich_table

    record = study_record(study, tracking_uri)
    if not record.tuning:
        raise IbmlError(f"the arms of {record.name} are not tuned: its file has no 'tune'")
    if form == "text" and out.is_terminal:
        out.print(build_rich_table(build_tuning_table(record)))
    else:
        write(render_tuning(record, form))


def report(
    name: Annotated[str, typer.Argument(help="A study's name or .yaml file, or a search's name.")],
    to: Annotated[
        Path | None,
        typer.Option(
            "--to",
            "-o",
            help="Folder, or a .html file for a study's page alone; default: reports/NAME.",
        ),
    ] = None,
    kind: Kind = None,
    allow_mixed: AllowMixed = False,
    tracking_uri: TrackingUri = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Write the report of a study or a search. It has the answers, tables and figures, and goes into MLflow too."""
    with errors():
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
    first: Annotated[str, typer.Argument(help="A study, or an arm of one: STUDY/ARM.")],
    second: Annotated[str, typer.Argument(help="What to compare with it.")],
    tracking_uri: TrackingUri = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Show what differs between two studies or arms. That is what was configured, and what came of it."""
    with errors():
        from ibml.queries import comparison
        from ibml.report.tables.formats.text import build_rich_table

        found = comparison(first, second, tracking_uri)
        for grid in found:
            out.print(build_rich_table(grid))
        if not found:
            out.print("Nothing differs.")


def show(
    trial: Trial,
    tracking_uri: TrackingUri = None,
) -> None:
    """Show one trial: configuration, curves, log, artifacts."""
    with errors():
        from ibml.queries import load_trial_view
        from ibml.report.views.trial import build_trial_group

        out.print(build_trial_group(load_trial_view(trial, tracking_uri)))


def reproduce(
    trial: Trial,
    tracking_uri: TrackingUri = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Run a recorded trial again and compare its numbers. Every metric of every epoch must be identical."""
    with errors():
        from ibml.api import reproduce as run_again

        ignore_output_errors()
        found = run_again(trial, tracking_uri=tracking_uri, console=out)
    for line in found.lines:
        out.print(line, soft_wrap=True)
    if not found.identical:
        raise typer.Exit(1)


def plan(
    study: Study,
    detect: Annotated[
        float,
        typer.Option(
            help="The smallest difference that should be found, in the unit of the table."
        ),
    ],
    metric: Annotated[
        str | None, typer.Option(help="A metric of the table; default: its first.")
    ] = None,
    power: Annotated[float, typer.Option(help="The chance to find it.", min=0.01, max=0.999)] = 0.8,
    tracking_uri: TrackingUri = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Say how many seeds a study needs. It goes by the variance that its trials have shown so far."""
    with errors():
        from ibml.queries import estimate_seeds
        from ibml.report.tables.formats.text import build_rich_table
        from ibml.report.views.sample_size import build_power_table, describe_power

        found = estimate_seeds(study, detect, tracking_uri, metric, power)
        out.print(build_rich_table(build_power_table(found)))
        for line in describe_power(found):
            out.print(line, soft_wrap=True)
