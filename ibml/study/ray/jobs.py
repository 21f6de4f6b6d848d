"""Commands that run on a cluster as Ray jobs, so that the machine that sent them may be switched off."""

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
"""Where the head's dashboard is, which takes jobs: there, or at the near end of a tunnel."""
_SERVER_VARIABLE = "RAY_API_SERVER_ADDRESS"
_SENT = ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "IBML_CHECKPOINTS", "IBML_STAGE_GB")
"""Variables that a job gets as they are here; those that name folders of data belong to the nodes."""
_STOP_SECONDS = "60"
"""How long a stopped job has to mark its trials and to write what it has."""
_STUDY, _COMMAND = "ibml.study", "ibml.command"
"""What a job's metadata has."""
_FIRST = (
    ': "${MLFLOW_TRACKING_URI:?A job needs a store that stays: send --tracking-uri, or set it where Ray starts}"',
    'export IBML_CHECKPOINTS="${IBML_CHECKPOINTS:-$HOME/ibml-checkpoints}"',
)
"""A job's shell: what the head's environment has counts where nothing was sent."""
_LOOK_SECONDS = 1.0


@dataclass(frozen=True)
class Job:
    """A job: its id, the study that it runs, how it is (`PENDING`, `RUNNING`, `STOPPED`, `SUCCEEDED`, `FAILED`), when
    it began (seconds since 1970), and the command."""

    id: str
    study: str
    status: str
    began: float
    command: str

    @property
    def kind(self) -> str:
        """What it runs: a study or a search."""
        return "search" if self.command.startswith("ibml tune") else "study"


def submit(
    study: str,
    arguments: Sequence[str],
    folder: Path,
    server: str | None,
    places: Mapping[str, str],
) -> str:
    """Send `ibml` with these arguments as a job, together with files of the folder (`copy_job_files`), and give its id.

    `places` takes precedence over this process's environment; see `_build_environment`. Raises `IbmlError`, `ClusterError`.
    """
    environment = _build_environment(places)
    name = f"ibml-{''.join(letter if letter.isalnum() else '-' for letter in study)[:40]}-{secrets.token_hex(4)}"
    command = shlex.join(["ibml", *arguments])
    with copy_job_files(folder) as files, _open_client(server) as client:
        sent: str = client.submit_job(
            entrypoint="; ".join([*_FIRST, f"exec {command}"]),
            submission_id=name,
            runtime_env={
                "working_dir": str(files),
                "env_vars": {**environment, "RAY_JOB_STOP_WAIT_TIME_S": _STOP_SECONDS},
            },
            metadata={_STUDY: study, _COMMAND: command},
        )
    return sent


def _build_environment(places: Mapping[str, str]) -> dict[str, str]:
    """The variables that a job gets. Its folder goes with it, so store, database and checkpoints lie elsewhere."""
    found = {name: value for name in _SENT if (value := places.get(name) or os.environ.get(name))}
    for name in ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE"):
        value = found.get(name, "")
        if redact_url(value) != value:
            raise IbmlError(
                f"{name} has a secret, which Ray shows with jobs: set it for the head's ray start instead"
            )
        if value.startswith("sqlite:///") and not value.startswith("sqlite:////"):
            raise IbmlError(
                f"{name} is {value}, in a job's folder, which goes with it: name a server, or a full path"
            )
    folder = found.get("IBML_CHECKPOINTS", "")
    if folder and "://" not in folder and not folder.startswith(("/", "~")):
        raise IbmlError(
            f"checkpoints in {folder} would be in a job's folder, which goes with it: give a full path"
        )
    return found


def jobs(server: str | None) -> list[Job]:
    """All jobs of ibml on a cluster, the newest first."""
    with _open_client(server) as client:
        found = [
            _build_job(details)
            for details in client.list_jobs()
            if details.metadata and _STUDY in details.metadata
        ]
    return sorted(found, key=lambda job: job.began, reverse=True)


def find_job(name: str, server: str | None, kind: str | None = None) -> Job:
    """The job of an id, or the newest of a study or a search."""
    return select_job(jobs(server), normalize_name(name), kind)


def select_job(known: Sequence[Job], name: str, kind: str | None) -> Job:
    """Return the job of an id, or the first of a study or a search.

    Raises `ClusterError` where there is none, or where a study and a search have that name and no `kind` is given.
    """
    found = [job for job in known if name in (job.id, job.study) and kind in (None, job.kind)]
    if not found:
        raise ClusterError(
            f"no job {name!r} there; there are: {', '.join(job.id for job in known) or 'none'}"
        )
    if found[0].id != name and len({job.kind for job in found}) > 1:
        raise ClusterError(
            f"{name!r} is a study and a search there; say --kind study or --kind search, or a job's id"
        )
    return found[0]


def stream_logs(job: Job, server: str | None, follow: bool) -> Iterator[str]:
    """What a job has printed; with `follow` until it ends."""
    with _open_client(server) as client:
        shown = 0
        while True:
            ended = client.get_job_status(job.id).is_terminal()
            text = client.get_job_logs(job.id)
            yield text[shown:]
            shown = len(text)
            if ended or not follow:
                return
            time.sleep(_LOOK_SECONDS)


def stop(job: Job, server: str | None) -> str:
    """Let a job end as Ctrl-C would, and give its status once it has."""
    with _open_client(server) as client:
        client.stop_job(job.id)
        deadline = time.monotonic() + float(_STOP_SECONDS) + 30
        while (
            not (status := client.get_job_status(job.id)).is_terminal()
            and time.monotonic() < deadline
        ):
            time.sleep(_LOOK_SECONDS)
    return str(status.value)


def _build_job(details: JobDetails) -> Job:
    began = (details.start_time or 0) / 1000
    assert details.metadata is not None
    study, command = details.metadata[_STUDY], details.metadata[_COMMAND]
    return Job(str(details.submission_id), study, details.status.value, began, command)


@contextmanager
def _open_client(server: str | None) -> Iterator[JobSubmissionClient]:
    """A connection to the head's dashboard; its errors as words."""
    address = server or os.environ.get(_SERVER_VARIABLE) or SERVER
    if not address.startswith(("http://", "https://")):
        raise ClusterError(f"{address} is no address of a dashboard: it is like {SERVER}")
    # Ray prefers RAY_ADDRESS to an address that it is given, and this variable to both.
    with set_ray_environment(address), set_environment({_SERVER_VARIABLE: address}):
        from ray.exceptions import AuthenticationError
        from ray.job_submission import JobSubmissionClient

        logging.getLogger("ray").setLevel(
            logging.WARNING
        )  # it tells of every package that it sends
        try:
            yield JobSubmissionClient(address)
        except AuthenticationError as error:
            raise ClusterError(
                f"{address} asks for the cluster's token in ~/.ray/auth_token: {error}"
            ) from None
        except (ConnectionError, RuntimeError, ValueError) as error:
            tunnel = "is there a tunnel to it (cluster/README.md)?"
            raise ClusterError(f"the jobs of {address}: {error}; {tunnel}") from None
