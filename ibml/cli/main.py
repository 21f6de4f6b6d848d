"""The command line: arguments in, words out. Everything else is in the packages below."""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, NoReturn

import typer

from ibml.cli import cluster, data, maintenance, results, standard_streams
from ibml.cli.cluster import Jobs, Submit, submit_command
from ibml.cli.console import (
    STUDY_STOPPED,
    Address,
    AllowMixed,
    AllowPlugin,
    BackendOption,
    Checkpoints,
    CommandGroup,
    Debug,
    NewVersion,
    NoShare,
    Overrides,
    ReportFolder,
    Rerun,
    StageGB,
    Storage,
    TrackingUri,
    Workers,
    end,
    err,
    errors,
    fail,
    format_store_uri,
    format_ui_command,
    out,
    print_ablation,
    print_notes,
    write_search_report,
)
from ibml.cli.standard_streams import ignore_output_errors
from ibml.common.processes.interruption import (
    exit_code,
    is_stop_requested,
    list_other_threads,
    watch_signals,
)
from ibml.common.redaction import redact_url
from ibml.common.version import __version__
from ibml.study.options import STAGE_GB, RunOptions

if TYPE_CHECKING:
    from ibml.study.planning.plan import Plan

LOOPBACK = ("127.0.0.1", "localhost", "::1")

app = typer.Typer(
    cls=CommandGroup,
    help="Hyperparameter search and ablations for balanced multimodal learning, on Ray.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command()
def train(
    config: Annotated[str, typer.Argument(help="A preset (mfeat) or a .yaml file.")],
    override: Overrides = None,
    tracking_uri: TrackingUri = None,
    checkpoints: Checkpoints = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Train one trial in this process and record it in MLflow."""
    with errors(STUDY_STOPPED):
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
    out.print(
        f"MLflow run {run_id}; look at it with: {format_ui_command(tracking_uri)}", soft_wrap=True
    )
    if result.status == "diverged":
        fail(f"diverged: {result.reason}", 1)


@app.command()
def ablate(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(help="An ablation file, e.g. ablations/components.yaml.")],
    override: Overrides = None,
    seeds: Annotated[
        int | None, typer.Option(help="Number of seeds, instead of the file's.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show arms, trials and epochs; run nothing.")
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
    jobs: Jobs = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Run an ablation study and print its table. The same command again goes on where it stopped.

    With overrides that change results or the table, the study is recorded as NAME+PATH=VALUE. If NAME exists with
    another design, --new-version records this one as "NAME v2".
    """
    with errors(STUDY_STOPPED):
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
            out.print(
                preview_study(
                    plan, past, searches, share=not no_share and stage_gb > 0, rerun=rerun
                )
            )
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
    """Return the plan under the name that it would be recorded as, and say what its run would say of that."""
    from ibml.queries import open_store
    from ibml.study.planning.versions import DesignChangedError, choose_version
    from ibml.tracking.store.uri import TrackingError

    def say(text: str) -> None:
        err.print(text, soft_wrap=True)

    try:
        return choose_version(plan, open_store(tracking_uri, read_only=True), new_version, say)
    except DesignChangedError as error:
        say(f"Note: this would be refused: {error}")
    except TrackingError as error:
        say(f"Note: {error}")
    return plan


@app.command()
def tune(
    context: typer.Context,
    space: Annotated[
        Path, typer.Argument(help="A search-space file, e.g. search_spaces/ibml.yaml.")
    ],
    base: Annotated[
        str | None,
        typer.Option(help="A preset or .yaml file to search around, instead of the file's."),
    ] = None,
    override: Overrides = None,
    new_version: NewVersion = False,
    compare: Annotated[
        Literal["random"] | None, typer.Option(help="Run random search at full length beside it.")
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=1, max=100, help="Seeds of the sampler, each a search.")
    ] = 1,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would be searched; run nothing.")
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
    jobs: Jobs = None,
    to: ReportFolder = None,
    allow_plugin: AllowPlugin = None,
) -> None:
    """Search for the best configuration. The same command again goes on to the same total number of trials."""
    with errors(STUDY_STOPPED):
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
    out.print(
        f"Everything is in MLflow, run {tuned.run_id} of {format_store_uri(tracking_uri)}",
        soft_wrap=True,
    )
    out.print(f"Look at it with: {format_ui_command(tracking_uri)}", soft_wrap=True)
    end(tuned.outcome)
    if tuned.record.best is None:
        fail("No trial is complete and within the constraints.", 1)


@app.command()
def ui(
    tracking_uri: TrackingUri = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; others than this machine see it if changed.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
) -> None:
    """Open MLflow's pages on the store."""
    with errors():
        from ibml.cli.mlflow_ui import serve
        from ibml.queries import open_store
        from ibml.tracking.store.uri import choose_uri

        uri = choose_uri(tracking_uri)
        if uri.startswith(("http://", "https://")):
            out.print(f"The store is a server already: open {redact_url(uri)}", soft_wrap=True)
            return
        ignore_output_errors()
        address = open_store(
            uri
        ).address  # MLflow's own errors would be tracebacks with the URL in them
        where = f"http://{host}:{port}" + (
            "" if host in LOOPBACK else ", open to others without a password,"
        )
        try:
            serve(
                address,
                host,
                port,
                lambda: out.print(f"MLflow on {where} (Ctrl-C ends it)", soft_wrap=True),
            )
        except KeyboardInterrupt:
            raise typer.Exit(exit_code()) from None


@app.command()
def schema(
    kind: Annotated[str, typer.Argument(help="Which kind of file: ablation, trial or search.")],
) -> None:
    """Print the JSON schema of a kind of YAML file, for editors."""
    from ibml.config.loading.json_schema import build_schema as make_schema
    from ibml.config.loading.json_schema import find_schema_kind

    with errors():
        text = json.dumps(make_schema(find_schema_kind(kind)), indent=1)
    sys.stdout.write(f"{text}\n")


app.add_typer(data.app, name="data")
app.add_typer(cluster.app, name="cluster")
app.command()(cluster.logs)
app.command()(cluster.stop)
app.command()(maintenance.sync)
app.command()(maintenance.gc)
app.command("list")(results.list_runs)
app.command()(results.table)
app.command()(results.report)
app.command()(results.compare)
app.command()(results.show)
app.command()(results.reproduce)
app.command()(results.plan)


def _print_version(asked: bool) -> None:
    if asked:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def _main(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    pass


def main() -> None:
    """The entry point of the command `ibml`."""
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
            traceback.print_exc()  # of what broke while the command stopped
            code = 1
        if is_stop_requested() and code:
            code = exit_code()
        # A thread that still waits for a store may neither hold up the end nor run while Python is taken down.
        if is_stop_requested() or any(
            thread.name.startswith("ibml-") for thread in list_other_threads()
        ):
            standard_streams.end_process(code if isinstance(code, int) else 1)
    sys.exit(code)  # type: ignore[arg-type]


if __name__ == "__main__":
    main()
