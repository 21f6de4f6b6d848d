"""ibml from Python: `train`, `ablate`, `tune`, `reproduce` and `load_model`."""

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
    from ibml.training.trainer import TrialResult

_log = logging.getLogger(__name__)


def train(config: TrialConfig) -> TrialResult:
    """Train one trial in this process, without Ray and without MLflow."""
    from ibml import data
    from ibml.training.trainer import train as train_trial

    _log_warnings(config.notes)
    data.prepare_datasets([config.data])
    return train_trial(config)


def _log_warnings(texts: Iterable[str]) -> None:
    for text in texts:
        _log.warning("%s", strip_control_characters(text))


def load_model(path: str | Path) -> MultimodalModel:
    """Load the model of a trial's selected epoch from its `selected.ckpt`; see `ibml.training.checkpoint`."""
    from ibml.training.checkpoint import load_model as load

    return load(path)


def reproduce(
    trial: str, *, tracking_uri: str | None = None, console: Console | None = None
) -> Reproduction:
    """Run a recorded trial again in this process, and compare every metric of every epoch. Nothing is recorded.

    Args:
        trial: MLflow run id or key of the trial, or the beginning of either.
        tracking_uri: URI of the MLflow store.
        console: Where progress goes; None for nowhere.

    Raises:
        TrackingError: If there is no such trial.
        NotReproducible: If the data or the trainer are no longer what they were.
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
    """Run an ablation and make its table. Trials whose result is in the store are not run.

    A study with overrides is recorded under a name of its own, `NAME+PATH=VALUE`.

    Args:
        source: A study file, or a mapping of the same form.
        overrides: `path=value` texts.
        seeds: Number of seeds, instead of the study's.
        tracking_uri: URI of the MLflow store.
        storage: URL of Optuna's database, for studies whose arms are tuned.
        address: Address of a running Ray cluster.
        console: Where progress goes; None for nowhere. Messages go to the logger `ibml` in any case.
        checkpoints: Folder for checkpoints, and for results that the store has not taken yet.
        new_version: Whether to start `NAME v2` if the name exists with another design.
        allow_mixed: Whether results of different code revisions or kinds of machines make a table together.
        rerun: Whether to delete the results of the study's trials first.
        stage_gb: Room for checkpoints that trials share, in gigabytes; 0 disables prefix sharing.
        backend: `ray` or `local`, instead of the study's.
        workers: Number of processes of the local backend; 1 trains in this process.
        debug: Whether an exception of a trial opens the debugger (local backend in this process).

    Raises:
        ConfigError: If the study is wrong; before anything runs.
        DesignChangedError: If the name exists with another design and `new_version` is not set.
        ClusterError: If Ray is not available.
        TrackingError: If the store is not available.
        SearchDatabaseError: If Optuna's database is not available.
        MixedResultsError: If results are mixed and `allow_mixed` is not set.
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
    """Run a search to its total number of trials; one that was interrupted is resumed.

    Args:
        space: A search-space file, or a mapping of the same form.
        base: A preset or file to search around, instead of the file's.
        overrides: `path=value` texts.
        tracking_uri: URI of the MLflow store.
        storage: URL of Optuna's database.
        address: Address of a running Ray cluster.
        console: Where progress goes; None for nowhere. Messages go to the logger `ibml` in any case.
        checkpoints: Folder for checkpoints, and for results that the store has not taken yet.
        new_version: Whether to start a new version if a search of this name with other settings exists.
        compare: Kind of search to compare with, which runs at full length.
        repeats: Number of seeds of the sampler, each a search.
        stage_gb: Room for checkpoints that trials share, in gigabytes; 0 disables prefix sharing.
        backend: `ray` or `local`, instead of the file's.
        workers: Number of processes of the local backend; 1 trains in this process.
        debug: Whether an exception of a trial opens the debugger (local backend in this process).

    Raises:
        ConfigError: If the search space is wrong; before anything runs.
        ClusterError: If Ray is not available.
        TrackingError: If the store is not available.
        SearchDatabaseError: If Optuna's database is not available.
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
