"""A trial's run that tests write event by event, as the journal writer does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ibml.config.trial import TrialConfig
from ibml.study.engine.run_metadata import build_trial_description
from ibml.study.planning.cells import Cell
from ibml.study.planning.trials import TrialSpec
from ibml.tracking.heartbeat import Heartbeat
from ibml.tracking.journal.events import (
    MetricsLogged,
    TrialDescription,
    TrialEnded,
    TrialInterrupted,
    TrialStarted,
)
from ibml.tracking.journal.replay import Replay
from ibml.tracking.leases import Leases
from ibml.tracking.store.mlflow_store import MlflowStore


def description(key: str = "k", study: str = "demo", seed: int = 0) -> TrialDescription:
    """Return the description of a trial."""
    config = TrialConfig.model_validate({"data": {"type": "mfeat"}, "seed": seed})
    planned = TrialSpec(Cell("mfeat", "arm", config, {}), config, key, "data", f"arm · seed {seed}")
    return build_trial_description(planned, None, {"ibml.study": study})


class Writing:
    """Writes one run of a trial.

    Args:
        store: Store to write to.
        study: Name of the study.
        goes_on: If True, an existing run of the trial is resumed.
    """

    def __init__(self, store: MlflowStore, study: str = "demo", goes_on: bool = False):
        self.store, self.heartbeat = store, Heartbeat(store)
        self.heartbeat.beat()
        trial = description(study=study)
        self.delivery = Replay(store, Leases(store, self.heartbeat), own=True)
        run_id = "" if goes_on else store.create_trial(trial, self.heartbeat.id)
        self.delivery.deliver([TrialStarted(trial, run_id)])

    @property
    def id(self) -> str:
        """Id of the run."""
        return self.delivery.run_id

    def log(self, rows: Sequence[Mapping[str, float]]) -> None:
        """Log metrics of epochs."""
        self.delivery.deliver([MetricsLogged(rows)])

    def end(self, status: str, metrics: Mapping[str, float], log: str | None = None) -> None:
        self.delivery.deliver([TrialEnded(status, metrics, {}, log)])  # type: ignore[arg-type]

    def stop(self) -> None:
        """Interrupt the trial."""
        self.delivery.deliver([TrialInterrupted()])
