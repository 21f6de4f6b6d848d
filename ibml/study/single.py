"""One trial in this process, recorded like a study's."""

from __future__ import annotations

import traceback

from rich.console import Console

from ibml import data
from ibml.config.base import IbmlError
from ibml.config.trial import TrialConfig
from ibml.study.cells import Cell
from ibml.study.keys import trial_key
from ibml.study.trial_run import TrialRun
from ibml.study.trials import PlannedTrial
from ibml.tracking.mlflow_store import MlflowStore
from ibml.training.trainer import Row, TrialResult, train
from ibml.version import code_revision


def run_single(name: str, config: TrialConfig, store: MlflowStore, console: Console) -> tuple[TrialResult, str]:
    """Train, showing and recording each epoch, and give the result and its MLflow run. A trial that has a result is
    computed again, since that was asked for, but not recorded a second time."""
    fingerprint = data.fingerprint(config.data)
    cell = Cell(dataset=config.data.type, arm=name, config=config, changes={})
    planned = PlannedTrial(cell, config, trial_key(config, fingerprint), fingerprint, f"{name} · seed {config.seed}")
    known = store.results().get(planned.key)
    run = TrialRun(store)
    run.start(planned, None, {"ibml.revision": code_revision()}, known)

    def on_epoch(row: Row) -> None:
        console.print(epoch_line(row), highlight=False)
        run.log([row])

    try:
        result = train(config, on_epoch)
    except KeyboardInterrupt:
        run.stop()
        raise
    except IbmlError as error:
        run.end("failed", {}, {"ibml.reason": str(error)})
        raise
    except Exception as error:
        run.end("failed", {}, {"ibml.reason": repr(error)}, traceback.format_exc())
        raise IbmlError(f"the trial failed: {error!r}; traceback.txt of MLflow run {run.id}") from error
    run.end(result.status, result.metrics, {"ibml.reason": result.reason, "ibml.platform": result.platform})
    return result, run.id


def epoch_line(row: Row) -> str:
    """An epoch in one line: loss, validation accuracies in percent, rates."""
    accuracy = {k.removeprefix("val.accuracy"): v for k, v in row.items() if k.startswith("val.accuracy")}
    rates = {k.removeprefix("rate"): v for k, v in row.items() if k.startswith("rate.")}
    parts = [f"epoch {row['epoch']:3.0f}", f"loss {row['train.loss']:.4f}"]
    parts += [f"val{name} {100 * value:.1f} %" for name, value in accuracy.items()]
    parts += [f"rate{name} {value:.3f}" for name, value in rates.items()]
    return "  ".join(parts)
