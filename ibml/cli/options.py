"""Options and arguments that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ibml.cli.console import err
from ibml.common.redaction import redact_url


def _warn_of_secret(url: str | None) -> str | None:
    """Warn if a URL of the command line contains a secret, which every user of the machine sees."""
    if url and redact_url(url) != url:
        err.print(
            "Warning: command-line arguments are visible to other users. Pass credentials through"
            " MLFLOW_TRACKING_URI or OPTUNA_STORAGE.",
            soft_wrap=True,
        )
    return url


def _allow_plugins(packages: list[str] | None) -> list[str] | None:
    """Add packages to the plug-in allow list of this process."""
    from ibml.config.plugins.allowlist import allow_packages

    try:
        allow_packages(packages or ())
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None
    return packages


StudyName = Annotated[
    str, typer.Argument(metavar="STUDY", help="Name of a study, or its .yaml file.")
]
TrialId = Annotated[
    str,
    typer.Argument(
        metavar="TRIAL", help="MLflow run id or key of a trial, or the beginning of either."
    ),
]
JobName = Annotated[
    str, typer.Argument(metavar="NAME", help="Name of a study or search, or id of a job.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "-o",
        "--override",
        metavar="PATH=VALUE",
        help="Override a value, e.g. -o trainer.epochs=5. Repeatable.",
    ),
]
TrackingUri = Annotated[
    str | None,
    typer.Option(
        metavar="URI",
        callback=_warn_of_secret,
        help="MLflow tracking URI. Default: MLFLOW_TRACKING_URI, or sqlite:///mlflow.db in the"
        " working directory.",
    ),
]
Storage = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        callback=_warn_of_secret,
        help="Optuna storage URL. Default: OPTUNA_STORAGE, or sqlite:///optuna.db in the working"
        " directory.",
    ),
]
Checkpoints = Annotated[
    str | None,
    typer.Option(
        metavar="PATH",
        help="Folder for checkpoints and buffered results, or s3://BUCKET/FOLDER or"
        " gs://BUCKET/FOLDER for checkpoints only. Default: IBML_CHECKPOINTS, or `checkpoints` next"
        " to the database file of the store, or in the working directory.",
    ),
]
Address = Annotated[
    str | None,
    typer.Option(
        metavar="ADDRESS",
        help="Address of a running Ray cluster. Default: RAY_ADDRESS, or a new local cluster.",
    ),
]
BackendOption = Annotated[
    Literal["ray", "local"] | None,
    typer.Option(
        "--backend",
        help="Backend that trains the trials: Ray, or processes of this machine without Ray."
        " Default: the backend of the file, or ray.",
    ),
]
Workers = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=256,
        metavar="N",
        help="Number of processes of the local backend; 1 trains in this process. Default: the"
        " number in the file.",
    ),
]
Debug = Annotated[
    bool,
    typer.Option(
        "--debug",
        help="Open the debugger (pdb) when a trial raises an exception. Requires --backend local.",
    ),
]
Rerun = Annotated[
    bool,
    typer.Option(
        "--rerun",
        help="Train trials again that have a result. MLflow keeps their old runs as deleted.",
    ),
]
NewVersion = Annotated[
    bool,
    typer.Option(
        "--new-version",
        help='Start a new version, "NAME v2", if NAME exists with a different design or settings.',
    ),
]
AllowMixed = Annotated[
    bool,
    typer.Option(
        "--allow-mixed",
        help="Allow results of different code revisions or machines, and mark the table as mixed.",
    ),
]
Kind = Annotated[
    Literal["study", "search"] | None,
    typer.Option("--kind", help="Kind of result, if a study and a search have the same name."),
]
NoShare = Annotated[bool, typer.Option("--no-share", help="Disable prefix sharing between trials.")]
StageGB = Annotated[
    float,
    typer.Option(
        min=0,
        metavar="GB",
        envvar="IBML_STAGE_GB",
        help="Space for checkpoints of shared prefixes, in gigabytes; 0 disables prefix sharing.",
    ),
]
ReportFolder = Annotated[
    Path | None,
    typer.Option(metavar="PATH", help="Folder for the report. Default: reports/NAME."),
]
AllowPlugin = Annotated[
    list[str] | None,
    typer.Option(
        "--allow-plugin",
        metavar="PACKAGE",
        callback=_allow_plugins,
        help="Allow configurations to run code of this package. Repeatable.",
    ),
]
Submit = Annotated[
    bool,
    typer.Option(
        "--submit",
        help="Run the command as a job on the cluster. See `ibml logs`, `ibml stop` and"
        " `ibml list --jobs`.",
    ),
]
JobServer = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        help="URL of the cluster's dashboard. Default: RAY_API_SERVER_ADDRESS, or"
        " http://127.0.0.1:8265.",
    ),
]
