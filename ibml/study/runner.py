"""Runs trials with Ray Tune, and turns its events into records and progress."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ray import tune

from ibml.config.records import TrialRecord
from ibml.config.study import StudyConfig
from ibml.config.trial import TrialConfig
from ibml.study.cluster import connected
from ibml.study.outcome import Outcome
from ibml.study.progress import StudyProgress
from ibml.study.trial_run import TrialRun
from ibml.study.trials import PlannedTrial
from ibml.study.worker import TrialActor
from ibml.tracking.mlflow_store import MlflowStore
from ibml.tracking.recorder import Recorder


def run_trials(study: StudyConfig, configs: Sequence[TrialConfig], reporter: Reporter, address: str | None) -> Outcome:
    """Run the configurations in one Tune run, reporting each by its index.

    Raises `ClusterError` where Ray cannot be had. A trial that fails does not stop the others; after
    Ctrl-C (or SIGTERM) the rest is marked as interrupted and the outcome says so.
    """
    resources = study.resources
    sent = [_sent(config, resources.gpu) for config in configs]
    trainable = tune.with_resources(
        tune.with_parameters(TrialActor, configs=sent), {"cpu": resources.cpu, "gpu": resources.gpu}
    )
    with connected(address, resources) as folder, reporter:
        tuner = tune.Tuner(
            trainable,
            param_space={"index": tune.grid_search(list(range(len(sent))))},
            tune_config=tune.TuneConfig(reuse_actors=True),
            run_config=tune.RunConfig(
                name=study.name,
                storage_path=str(folder),
                callbacks=[reporter],
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
                verbose=0,
            ),
        )
        tuner.fit()
    return reporter.outcome


def _sent(config: TrialConfig, gpu: float) -> dict[str, Any]:
    """A configuration for a worker. Without a reserved GPU a trial stays away from those that are there."""
    plain = config.model_dump(mode="json")
    if plain["trainer"]["device"] == "auto" and gpu == 0:
        plain["trainer"]["device"] = "cpu"
    return plain


class Reporter(tune.Callback):  # type: ignore[misc]
    """Tune's events of the trials with given indices, as runs in a store and as progress.

    `known` has the runs of keys that were begun before; they go on. Everything for the store goes through
    a recorder's thread; leaving the context waits for it.
    """

    def __init__(
        self,
        trials: Sequence[PlannedTrial],
        known: dict[str, TrialRecord],
        store: MlflowStore,
        study_run: str,
        tags: dict[str, str],
        progress: StudyProgress,
    ):
        self.trials, self.known, self.store = trials, known, store
        self.study_run, self.tags, self.progress = study_run, tags, progress
        self.recorder = Recorder()
        self.outcome = Outcome()
        self.running: dict[int, TrialRun] = {}
        self.epochs: dict[int, int] = {}

    def __getstate__(self) -> dict[str, Any]:
        """Tune keeps a copy of its callbacks for its own restore, which ibml does not use: keys resume a study."""
        return {}

    def __enter__(self) -> Reporter:
        self.progress.__enter__()
        self.recorder.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        for run in self.running.values():
            self.recorder.submit(run.stop)
        ended = self.outcome.finished + len(self.outcome.failed)
        self.outcome.interrupted = ended < len(self.trials)
        self.recorder.__exit__(*exception)
        self.outcome.tracking_failures = self.recorder.failures
        self.progress.__exit__(*exception)

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        index = trial.config["index"]
        if index in self.epochs:
            return
        self.epochs[index] = 0
        self.progress.trial_started()
        planned = self.trials[index]
        run = self.running[index] = TrialRun(self.store)
        self.recorder.submit(lambda: run.start(planned, self.study_run, self.tags, self.known.get(planned.key)))

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        index, rows = result["index"], result.get("rows", [])
        run = self.running[index]
        self.epochs[index] += len(rows)
        self.progress.epochs_trained(len(rows))
        self.recorder.submit(lambda: run.log(rows))
        if "error" in result:
            self._fail(index, result["error"], result["traceback"])
        elif result["done"]:
            self.outcome.finished += 1
            self._ended(index, failed=False)
            status, final = result["status"], result["final"]
            tags = {"ibml.reason": result["reason"], "ibml.platform": result["platform"]}
            self.recorder.submit(lambda: run.end(status, final, tags))

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        if trial.config["index"] not in self.running:
            return  # it had ended before its actor did
        error = trial.get_error()
        cause = getattr(error, "cause", None)  # of an exception in the trial; a worker that died has none
        died = f" ({type(error).__name__})" if error else ""
        reason = repr(cause) if cause else f"its worker process died{died}: killed, or the node was lost"
        self._fail(trial.config["index"], reason, str(error) if error else reason)

    def _fail(self, index: int, reason: str, log: str) -> None:
        run = self.running[index]
        self.outcome.failed.append((self.trials[index].name, reason))
        self._ended(index, failed=True)
        self.recorder.submit(lambda: run.end("failed", {}, {"ibml.reason": reason}, log))

    def _ended(self, index: int, failed: bool) -> None:
        del self.running[index]
        unused = self.trials[index].config.trainer.epochs - self.epochs[index]
        self.progress.trial_ended(failed, unused)
