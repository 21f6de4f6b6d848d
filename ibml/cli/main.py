"""Entry point of the command line, and the commands that train."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from ibml.cli import cluster, data, maintenance, results, standard_streams
from ibml.cli.cluster import submit_command
from ibml.cli.console import (
    STUDY_STOPPED,
    CommandGroup,
    err,
    fail,
    finish_with_summary,
    handle_errors,
    out,
    print_ablation,
    print_notes,
    print_run_location,
)
from ibml.cli.options import (
    Address,
    AllowMixed,
    AllowPlugin,
    BackendOption,
    Checkpoints,
    Debug,
    JobServer,
    NewVersion,
    NoShare,
    Overrides,
    ReportFolder,
    Rerun,
    StageGB,
    Storage,
    Submit,
    TrackingUri,
    Workers,
)
from ibml.cli.report_folder import write_search_report
from ibml.cli.standard_streams import ignore_output_errors
from ibml.common.processes.interruption import (
    exit_code,
    is_stop_requested,
    list_other_threads,
    watch_signals,
)
from ibml.common.version import __version__
from ibml.study.options import STAGE_GB, RunOptions

if TYPE_CHECKING:
    from ibml.study.planning.plan import Plan

app = typer.Typer(
    cls=CommandGroup,
    help="Run ablation studies and hyperparameter searches for balanced multimodal learning.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def train(
    config: Annotated[
        str, typer.Argument(metavar="CONFIG", help="Preset, e.g. mfeat, or .yaml file of a trial.")
    ],
    override: Overrides = None,
    tracking_uri: TrackingUri = None,
    checkpoints: Checkpoints = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Train one trial in this process and log it to MLflow.

    An interrupted trial continues from its last checkpoint when the command is repeated.
    """
    with handle_errors(STUDY_STOPPED):
        from ibml.study.planning.plan import load_trial

        trial = load_trial(config, override or ())
        ignore_output_errors()
        print_notes(trial.notes)
        from ibml.queries import open_store
        from ibml.study.engine.data_preparation import prepare_data
        from ibml.study.sessions import open_session
        from ibml.study.single_trial import run_single_trial

        prepare_data([trial.data], out)
        with open_session(open_store(tracking_uri), checkpoints, out) as session:
            result, run_id = run_single_trial(Path(config).stem, trial, session)
            session.flush_or_raise()
    for name, value in result.metrics.items():
        out.print(f"{name:28} {value:.6g}")
    print_run_location(run_id, tracking_uri)
    if result.status == "diverged":
        fail(f"diverged: {result.reason}", 1)


@app.command()
def ablate(
    context: typer.Context,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Ablation file, e.g. ablations/components.yaml."),
    ],
    override: Overrides = None,
    seeds: Annotated[
        int | None,
        typer.Option(metavar="N", help="Number of seeds. Default: the number in the file."),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print the arms, trials and epochs without training."),
    ] = False,
    new_version: NewVersion = False,
    allow_mixed: AllowMixed = False,
    rerun: Rerun = False,
    no_share: NoShare = False,
    stage_gb: StageGB = STAGE_GB,
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    checkpoints: Checkpoints = None,
    address: Address = None,
    backend: BackendOption = None,
    workers: Workers = None,
    debug: Debug = False,
    submit: Submit = False,
    jobs: JobServer = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Run an ablation study and print its table.

    Repeat the command to resume an interrupted study. Trials with a result are not trained again,
    and the others continue from their last checkpoint.

    With overrides that change results or the table, the study is recorded as NAME+PATH=VALUE. If
    NAME exists with a different design, --new-version records this one as "NAME v2".
    """
    with handle_errors(STUDY_STOPPED):
        from ibml.study.planning.plan import load_plan

        plan = load_plan(file, override or (), seeds)
        if dry_run:
            from ibml.common.version_names import select_versions
            from ibml.search.database_url import choose_url
            from ibml.study.planning.dry_run.search_peek import SearchPeek, peek_searches
            from ibml.study.planning.dry_run.study_preview import (
                list_preview_metrics,
                preview_study,
            )
            from ibml.tracking.store.peek import peek_trials

            past = peek_trials(tracking_uri, list_preview_metrics(plan))
            if select_versions(plan.name, past.studies):
                plan = _resolve_version(plan, tracking_uri, new_version)
            searches = peek_searches(choose_url(storage)) if plan.tuning else SearchPeek()
            share = not no_share and stage_gb > 0
            out.print(preview_study(plan, past, searches, share=share, rerun=rerun))
            return
        ignore_output_errors()
        print_notes(plan.warnings)
        options = RunOptions(
            tracking_uri=tracking_uri,
            storage=storage,
            address=address,
            checkpoints=checkpoints,
            stage_gb=0 if no_share else stage_gb,
            backend=backend,
            workers=workers,
            debug=debug,
            new_version=new_version,
            allow_mixed=allow_mixed,
            rerun=rerun,
        )
        from ibml.study.ablation import find_job_name, run_ablation

        if submit:
            submit_command(context, find_job_name(plan, options), file, jobs, options)
            return
        ablation = run_ablation(plan, options, out)
    print_ablation(ablation, tracking_uri)


def _resolve_version(plan: Plan, tracking_uri: str | None, new_version: bool) -> Plan:
    """Return the plan with the name of its version, and print the messages that a run would print.

    Args:
        plan: Plan of a study whose name exists.
        tracking_uri: URI of the store.
        new_version: True if a new version may be started.

    Returns:
        The plan, unchanged if a run would be refused or the store cannot be read.
    """
    from ibml.queries import open_store
    from ibml.study.planning.versions import DesignChangedError, choose_version
    from ibml.tracking.store.uri import TrackingError

    def print_message(text: str) -> None:
        err.print(text, soft_wrap=True)

    try:
        store = open_store(tracking_uri, read_only=True)
        return choose_version(plan, store, new_version, print_message)
    except DesignChangedError as error:
        print_message(f"Note: this run would be refused: {error}")
    except TrackingError as error:
        print_message(f"Note: {error}")
    return plan


@app.command()
def tune(
    context: typer.Context,
    space: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Search-space file, e.g. search_spaces/ibml.yaml."),
    ],
    base: Annotated[
        str | None,
        typer.Option(
            metavar="CONFIG",
            help="Preset or .yaml file of the base configuration. Default: the base of the file.",
        ),
    ] = None,
    override: Overrides = None,
    new_version: NewVersion = False,
    compare: Annotated[
        Literal["random"] | None,
        typer.Option(help="Also run a random search without pruning, and compare the two."),
    ] = None,
    repeats: Annotated[
        int,
        typer.Option(
            min=1, max=100, metavar="N", help="Number of searches, each with another sampler seed."
        ),
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the search space and budget without training.")
    ] = False,
    no_share: NoShare = False,
    stage_gb: StageGB = STAGE_GB,
    storage: Storage = None,
    tracking_uri: TrackingUri = None,
    checkpoints: Checkpoints = None,
    address: Address = None,
    backend: BackendOption = None,
    workers: Workers = None,
    debug: Debug = False,
    submit: Submit = False,
    jobs: JobServer = None,
    to: ReportFolder = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Search for the best configuration and write a report.

    Repeat the command to resume an interrupted search. It ends at the same total number of trials.
    """
    with handle_errors(STUDY_STOPPED):
        from ibml.search.plan import load_search

        plan = load_search(space, base, override or ())
        if dry_run:
            from ibml.search.database_url import choose_url
            from ibml.study.planning.dry_run.search_peek import peek_searches
            from ibml.study.planning.dry_run.search_preview import preview_search

            out.print(preview_search(plan, peek_searches(choose_url(storage))))
            return
        ignore_output_errors()
        print_notes(plan.warnings)
        options = RunOptions(
            tracking_uri=tracking_uri,
            storage=storage,
            address=address,
            checkpoints=checkpoints,
            stage_gb=0 if no_share else stage_gb,
            backend=backend,
            workers=workers,
            debug=debug,
            new_version=new_version,
        )
        if submit:
            submit_command(context, plan.space.name, space, jobs, options)
            return
        from ibml.study.tuning import run_search

        tuned = run_search(plan, options, out, against=compare, repeats=repeats)
        from ibml.queries import find_kind
        from ibml.report.search.page import build_search_summary

        out.print(build_search_summary(tuned.record, tuned.others))
        both = find_kind(tuned.record.name, "search", tracking_uri)[1]
        write_search_report(tuned.record, tuned.files, to, both)
    print_run_location(tuned.run_id, tracking_uri)
    finish_with_summary(tuned.outcome)
    if tuned.record.best is None:
        fail("No trial is complete and satisfies the constraints.", 1)


app.command("list")(results.list_runs)
app.command()(results.table)
app.command()(results.report)
app.command()(results.compare)
app.command()(results.show)
app.command()(results.plan)
app.command()(results.reproduce)
app.command()(results.ui)
app.command()(cluster.logs)
app.command()(cluster.stop)
app.command()(maintenance.sync)
app.command()(maintenance.gc)
app.add_typer(data.app, name="data")
app.add_typer(cluster.app, name="cluster")


@app.command()
def schema(
    kind: Annotated[
        str, typer.Argument(metavar="KIND", help="Kind of file: ablation, trial or search.")
    ],
) -> None:
    """Print the JSON schema of a kind of YAML file, for editors."""
    from ibml.config.loading.json_schema import build_schema, find_schema_kind

    with handle_errors():
        text = json.dumps(build_schema(find_schema_kind(kind)), indent=1)
    sys.stdout.write(f"{text}\n")


def _print_version(requested: bool) -> None:
    if requested:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """Run the command line and exit with its code."""
    standard_streams.run(_run)


def _run() -> NoReturn:
    code: object = 0
    with watch_signals(end_at_second=True):
        try:
            app()
        except SystemExit as ended:
            code = ended.code or 0
        except Exception:
            if not is_stop_requested():
                raise
            traceback.print_exc()  # an error of the stop itself
            code = 1
        if is_stop_requested() and code:
            code = exit_code()
        # A thread that still waits for a store must not delay the exit, nor run while the
        # interpreter shuts down.
        names = [thread.name for thread in list_other_threads()]
        if is_stop_requested() or any(name.startswith("ibml-") for name in names):
            standard_streams.end_process(code if isinstance(code, int) else 1)
    sys.exit(code)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
