"""Python API: `train`, `ablate`, `tune`, `reproduce` and `load_model`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ibml.common.sanitize import strip_control_characters
from ibml.config.trial import TrialConfig
from ibml.study.options import STAGE_GB, RunOptions

if TYPE_CHECKING:
    from rich.console import Console

    from ibml.config.resources import Backend
    from ibml.models.multimodal import MultimodalModel
    from ibml.search.plan import SpaceSource
    from ibml.study.planning.plan import StudySource
    from ibml.study.reproduce import Reproduction
    from ibml.study.results import Ablation, TuningResult
    from ibml.training.trial_result import TrialResult

_log = logging.getLogger(__name__)


def train(config: TrialConfig) -> TrialResult:
    """Train one trial in this process, without Ray and without MLflow.

    Args:
        config: Configuration of the trial.

    Returns:
        The final metrics and the metrics of every epoch.

    Raises:
        IbmlError: If the data or the device is unavailable.

    Example:
        >>> import ibml
        >>> config = ibml.TrialConfig(data={"type": "mfeat"}, trainer={"epochs": 2})
        >>> result = ibml.train(config)
        >>> result.status
        'finished'
        >>> 0 < result.metrics["test.accuracy"] < 1
        True
    """
    from ibml import data
    from ibml.training.trainer import train as train_trial

    _log_warnings(config.notes)
    data.prepare_datasets([config.data])
    return train_trial(config)


def _log_warnings(texts: Iterable[str]) -> None:
    for text in texts:
        _log.warning("%s", strip_control_characters(text))


def load_model(path: str | Path) -> MultimodalModel:
    """Load the model of a trial's selected epoch.

    Args:
        path: File `selected.ckpt` of the trial; see `ibml.training.checkpoint`.

    Returns:
        The model, in evaluation mode.

    Raises:
        DamagedFileError: If the checksum of the file does not match.
        OSError: If the file cannot be read.

    Example:
        >>> from pathlib import Path
        >>> import ibml
        >>> path = next(Path("checkpoints").rglob("selected.ckpt"))
        >>> model = ibml.load_model(path)
        >>> model.modalities
        ('pix', 'zer')
    """
    from ibml.training.checkpoint import load_model as load

    return load(path)


def reproduce(
    trial: str, *, tracking_uri: str | None = None, console: Console | None = None
) -> Reproduction:
    """Run a recorded trial again in this process and compare every metric of every epoch.

    Nothing is recorded.

    Args:
        trial: MLflow run id or key of the trial, or the beginning of either.
        tracking_uri: URI of the MLflow store. Default: `MLFLOW_TRACKING_URI`, or
            `sqlite:///mlflow.db` in the working directory.
        console: Console for progress; None prints nothing.

    Returns:
        The differences; `identical` is True if there are none.

    Raises:
        TrackingError: If the store has no such trial.
        NotReproducibleError: If the data or the trainer have changed.

    Example:
        >>> from pathlib import Path
        >>> import ibml
        >>> key = next(Path("checkpoints").rglob("selected.ckpt")).parent.name
        >>> ibml.reproduce(key).identical
        True
    """
    from rich.console import Console

    from ibml.queries import open_store, refuse_file
    from ibml.study.reproduce import reproduce_trial

    refuse_file(trial)
    return reproduce_trial(
        trial, open_store(tracking_uri, read_only=True), console or Console(quiet=True)
    )


def ablate(
    source: StudySource,
    overrides: Iterable[str] = (),
    *,
    seeds: int | None = None,
    tracking_uri: str | None = None,
    storage: str | None = None,
    address: str | None = None,
    console: Console | None = None,
    checkpoints: str | Path | None = None,
    new_version: bool = False,
    allow_mixed: bool = False,
    rerun: bool = False,
    stage_gb: float = STAGE_GB,
    backend: Backend | None = None,
    workers: int | None = None,
    debug: bool = False,
) -> Ablation:
    """Run an ablation study and build its table.

    The study is resumable: trials whose result is in the store are not trained again. A study with
    overrides is recorded as `NAME+PATH=VALUE`.

    Args:
        source: Study file, or a mapping of the same form.
        overrides: Overrides as `path=value` texts.
        seeds: Number of seeds, instead of the study's.
        tracking_uri: URI of the MLflow store. Default: `MLFLOW_TRACKING_URI`, or
            `sqlite:///mlflow.db` in the working directory.
        storage: Optuna storage URL, for studies whose arms are tuned.
        address: Address of a running Ray cluster. Default: `RAY_ADDRESS`, or a new local cluster.
        console: Console for progress; None prints nothing. Messages are also logged by the logger
            `ibml`.
        checkpoints: Folder for checkpoints and buffered results.
        new_version: Start `NAME v2` if the name exists with a different design.
        allow_mixed: Allow results of different code revisions or kinds of machine in the table.
        rerun: Delete the results of the study's trials first.
        stage_gb: Space for checkpoints of shared prefixes, in gigabytes; 0 disables prefix sharing.
        backend: `ray` or `local`, instead of the study's.
        workers: Number of processes of the local backend; 1 trains in this process.
        debug: Open the debugger when a trial raises an exception. Requires the local backend.

    Returns:
        The table of the study, the id of its MLflow run and the counters of this run.

    Raises:
        ConfigError: If the study is invalid; raised before anything runs.
        DesignChangedError: If the name exists with a different design and `new_version` is False.
        ClusterError: If Ray is unavailable.
        TrackingError: If the store is unavailable.
        SearchDatabaseError: If Optuna's database is unavailable.
        MixedResultsError: If results are mixed and `allow_mixed` is False.

    Example:
        >>> import ibml
        >>> ablation = ibml.ablate("ablations/smoke.yaml", backend="local", workers=1)
        >>> ablation.outcome.failed
        []
        >>> ablation.table.build_frame()["arm"].unique().tolist()
        ['Joint', 'IBML']
    """
    from ibml.study.planning.plan import load_plan

    plan = load_plan(source, overrides, seeds)
    _log_warnings(plan.warnings)
    options = RunOptions(
        tracking_uri=tracking_uri,
        storage=storage,
        address=address,
        checkpoints=checkpoints,
        stage_gb=stage_gb,
        backend=backend,
        workers=workers,
        debug=debug,
        new_version=new_version,
        allow_mixed=allow_mixed,
        rerun=rerun,
    )
    from ibml.study.ablation import run_ablation

    return run_ablation(plan, options, console)


def tune(
    space: SpaceSource,
    base: str | None = None,
    overrides: Iterable[str] = (),
    *,
    tracking_uri: str | None = None,
    storage: str | None = None,
    address: str | None = None,
    console: Console | None = None,
    checkpoints: str | Path | None = None,
    new_version: bool = False,
    compare: Literal["random"] | None = None,
    repeats: int = 1,
    stage_gb: float = STAGE_GB,
    backend: Backend | None = None,
    workers: int | None = None,
    debug: bool = False,
) -> TuningResult:
    """Run a hyperparameter search, or resume an interrupted one, to its total number of trials.

    Args:
        space: Search-space file, or a mapping of the same form.
        base: Preset or file of the base configuration, instead of the file's.
        overrides: Overrides as `path=value` texts.
        tracking_uri: URI of the MLflow store. Default: `MLFLOW_TRACKING_URI`, or
            `sqlite:///mlflow.db` in the working directory.
        storage: Optuna storage URL. Default: `OPTUNA_STORAGE`, or `sqlite:///optuna.db` in the
            working directory.
        address: Address of a running Ray cluster. Default: `RAY_ADDRESS`, or a new local cluster.
        console: Console for progress; None prints nothing. Messages are also logged by the logger
            `ibml`.
        checkpoints: Folder for checkpoints and buffered results.
        new_version: Start a new version if a search of this name with different settings exists.
        compare: Kind of search to compare with, which runs without pruning.
        repeats: Number of searches, each with another sampler seed.
        stage_gb: Space for checkpoints of shared prefixes, in gigabytes; 0 disables prefix sharing.
        backend: `ray` or `local`, instead of the file's.
        workers: Number of processes of the local backend; 1 trains in this process.
        debug: Open the debugger when a trial raises an exception. Requires the local backend.

    Returns:
        The record of the search, its report and the counters of this run.

    Raises:
        ConfigError: If the search space is invalid; raised before anything runs.
        ClusterError: If Ray is unavailable.
        TrackingError: If the store is unavailable.
        SearchDatabaseError: If Optuna's database is unavailable.

    Example:
        >>> import ibml
        >>> space = {
        ...     "name": "rates",
        ...     "parameters": {"optimizer.lr": {"choices": [0.0001, 0.1]}},
        ...     "objectives": [{"metric": "val.accuracy"}],
        ...     "sampler": {"type": "grid"},
        ...     "trials": 2,
        ... }
        >>> result = ibml.tune(space, "mfeat", ["trainer.epochs=2"], backend="local", workers=1)
        >>> result.record.best_params
        {'optimizer.lr': 0.1}
    """
    from ibml.search.plan import load_search

    plan = load_search(space, base, overrides)
    _log_warnings(plan.warnings)
    options = RunOptions(
        tracking_uri=tracking_uri,
        storage=storage,
        address=address,
        checkpoints=checkpoints,
        stage_gb=stage_gb,
        backend=backend,
        workers=workers,
        debug=debug,
        new_version=new_version,
    )
    from ibml.study.tuning import run_search

    return run_search(plan, options, console, against=compare, repeats=repeats)
