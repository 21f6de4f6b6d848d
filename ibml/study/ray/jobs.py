"""Commands as Ray jobs, which run on a cluster independently of the submitting machine."""

from __future__ import annotations

import logging
import os
import secrets
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ibml.common.errors import IbmlError
from ibml.common.redaction import redact_url
from ibml.config.names import normalize_name
from ibml.study.ray.cluster import ClusterError, set_environment, set_ray_environment
from ibml.study.ray.job_bundle import copy_job_files

if TYPE_CHECKING:
    from ray.job_submission import JobDetails, JobSubmissionClient

SERVER = "http://127.0.0.1:8265"
"""Default address of the head's dashboard, which accepts jobs; often the end of a tunnel."""
_SERVER_VARIABLE = "RAY_API_SERVER_ADDRESS"
_SENT = ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "IBML_CHECKPOINTS", "IBML_STAGE_GB")
"""Variables that are copied to a job. Variables for data folders are set on the nodes."""
_STOP_SECONDS = "60"
"""Time for a stopped job to save checkpoints and to record its trials as interrupted."""
_STUDY, _COMMAND = "ibml.study", "ibml.command"
"""Keys of a job's metadata."""
_FIRST = (
    ': "${MLFLOW_TRACKING_URI:?A job needs a store that stays:'
    ' send --tracking-uri, or set it where Ray starts}"',
    'export IBML_CHECKPOINTS="${IBML_CHECKPOINTS:-$HOME/ibml-checkpoints}"',
)
"""First shell commands of a job. Variables of the head are used if none were sent."""
_POLL_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """A Ray job of ibml.

    Attributes:
        id: Submission id.
        study: Name of its study or search.
        status: `PENDING`, `RUNNING`, `STOPPED`, `SUCCEEDED` or `FAILED`.
        began: Start time in seconds since 1970.
        command: Command line.
    """

    id: str
    study: str
    status: str
    began: float
    command: str

    @property
    def kind(self) -> str:
        """Kind of the command: "study" or "search"."""
        return "search" if self.command.startswith("ibml tune") else "study"


def submit(
    study: str,
    arguments: Sequence[str],
    folder: Path,
    server: str | None,
    environment: Mapping[str, str],
) -> str:
    """Submit an `ibml` command as a job, together with the files of a folder.

    Args:
        study: Name of the study or search.
        arguments: Arguments of `ibml`.
        folder: The job's working folder, see `copy_job_files`.
        server: Address of the dashboard; None for the default.
        environment: Storage variables, which take precedence over this process's environment.

    Returns:
        The job's id.

    Raises:
        IbmlError: If the files are too large, or a storage variable is not usable by a job.
        ClusterError: If the dashboard is not available.
    """
    variables = _build_environment(environment)
    label = "".join(letter if letter.isalnum() else "-" for letter in study[:40])
    name = f"ibml-{label}-{secrets.token_hex(4)}"
    command = shlex.join(["ibml", *arguments])
    with copy_job_files(folder) as files, _open_client(server) as client:
        sent: str = client.submit_job(
            entrypoint="; ".join([*_FIRST, f"exec {command}"]),
            submission_id=name,
            runtime_env={
                "working_dir": str(files),
                "env_vars": {**variables, "RAY_JOB_STOP_WAIT_TIME_S": _STOP_SECONDS},
            },
            metadata={_STUDY: study, _COMMAND: command},
        )
    return sent


def _build_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of a job.

    The job's folder is deleted with the job, so store, database and checkpoints must be elsewhere.

    Args:
        environment: Variables that take precedence over this process's environment.

    Returns:
        Variables by name.

    Raises:
        IbmlError: If a variable contains a secret or a path in the job's folder.
    """
    found = {}
    for name in _SENT:
        if value := environment.get(name) or os.environ.get(name):
            found[name] = value
    for name in ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE"):
        value = found.get(name, "")
        if redact_url(value) != value:
            raise IbmlError(
                f"{name} has a secret, which Ray would show with the job:"
                " set it in the environment of the head's ray start instead"
            )
        if value.startswith("sqlite:///") and not value.startswith("sqlite:////"):
            raise IbmlError(
                f"{name} is {value}, in the job's folder, which is deleted with the job:"
                " use a server or an absolute path"
            )
    folder = found.get("IBML_CHECKPOINTS", "")
    if folder and "://" not in folder and not folder.startswith(("/", "~")):
        raise IbmlError(
            f"checkpoints in {folder} would be in the job's folder, which is deleted with the job:"
            " use an absolute path"
        )
    return found


def jobs(server: str | None) -> list[Job]:
    """Return all jobs of ibml on a cluster, the newest first."""
    with _open_client(server) as client:
        every = client.list_jobs()
        found = [_build_job(job) for job in every if job.metadata and _STUDY in job.metadata]
    return sorted(found, key=lambda job: job.began, reverse=True)


def find_job(name: str, server: str | None, kind: str | None = None) -> Job:
    """Find a job by its id, or the newest job of a study or a search.

    Args:
        name: Id of the job, or name of a study or search.
        server: Address of the dashboard; None for the default.
        kind: "study" or "search", if a study and a search have the name.

    Returns:
        The job.

    Raises:
        ClusterError: If there is no such job, or if the name is ambiguous.
    """
    return select_job(jobs(server), normalize_name(name), kind)


def select_job(known: Sequence[Job], name: str, kind: str | None) -> Job:
    """Select a job by its id, or the first job of a study or a search.

    Args:
        known: Jobs of the cluster, the newest first.
        name: Id of the job, or name of a study or search.
        kind: "study" or "search"; None for both.

    Returns:
        The job.

    Raises:
        ClusterError: If there is no such job, or if a study and a search have the name and `kind`
            is None.
    """
    found = [job for job in known if name in (job.id, job.study) and kind in (None, job.kind)]
    if not found:
        ids = ", ".join(job.id for job in known) or "none"
        raise ClusterError(f"no job {name!r} there; there are: {ids}")
    if found[0].id != name and len({job.kind for job in found}) > 1:
        raise ClusterError(
            f"{name!r} is a study and a search there;"
            " say --kind study or --kind search, or a job's id"
        )
    return found[0]


def stream_logs(job: Job, server: str | None, follow: bool) -> Iterator[str]:
    """Yield the output of a job in pieces.

    Args:
        job: The job.
        server: Address of the dashboard; None for the default.
        follow: True to wait for new output until the job ends.

    Yields:
        New output since the last piece.
    """
    with _open_client(server) as client:
        shown = 0
        while True:
            ended = client.get_job_status(job.id).is_terminal()
            text = client.get_job_logs(job.id)
            yield text[shown:]
            shown = len(text)
            if ended or not follow:
                return
            time.sleep(_POLL_SECONDS)


def stop(job: Job, server: str | None) -> str:
    """Stop a job like Ctrl-C, and wait until it has ended.

    Args:
        job: The job.
        server: Address of the dashboard; None for the default.

    Returns:
        The status of the job.
    """
    with _open_client(server) as client:
        client.stop_job(job.id)
        deadline = time.monotonic() + float(_STOP_SECONDS) + 30
        status = client.get_job_status(job.id)
        while not status.is_terminal() and time.monotonic() < deadline:
            time.sleep(_POLL_SECONDS)
            status = client.get_job_status(job.id)
    return str(status.value)


def _build_job(details: JobDetails) -> Job:
    began = (details.start_time or 0) / 1000
    assert details.metadata is not None
    study, command = details.metadata[_STUDY], details.metadata[_COMMAND]
    return Job(str(details.submission_id), study, details.status.value, began, command)


@contextmanager
def _open_client(server: str | None) -> Iterator[JobSubmissionClient]:
    """Connect to the head's dashboard, and convert its errors to `ClusterError`."""
    address = server or os.environ.get(_SERVER_VARIABLE) or SERVER
    if not address.startswith(("http://", "https://")):
        raise ClusterError(f"{address} is not the address of a dashboard; an example is {SERVER}")
    # Ray prefers RAY_ADDRESS to the address argument, and this variable to both.
    with set_ray_environment(address), set_environment({_SERVER_VARIABLE: address}):
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient

        # Otherwise Ray logs every package that it uploads.
        logging.getLogger("ray").setLevel(logging.WARNING)
        try:
            yield JobSubmissionClient(address)
        except AuthenticationError as error:
            raise ClusterError(
                f"{address} requires the cluster's token in ~/.ray/auth_token: {error}"
            ) from None
        except (ConnectionError, RuntimeError, ValueError) as error:
            tunnel = "is there a tunnel to it (cluster/README.md)?"
            raise ClusterError(f"the dashboard at {address} failed: {error}; {tunnel}") from None
