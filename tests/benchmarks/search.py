"""Benchmark of searches: `python -m tests.benchmarks.search`, about eight minutes on two cores.

1. TPE with ASHA against random search at full length, 40 trials of search_spaces/ibml.yaml each, 5
   repeats: the best validation accuracy and the number of trained epochs.
2. Utilization of workers between the first and the last trial of ablations/components_tuned.yaml.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from statistics import median

from mlflow import MlflowClient

import ibml
from ibml.report.search.summary import compute_best_so_far

ROOT = Path(__file__).parent.parent.parent


def against_random(repeats: int = 5) -> None:
    """Print best values and trained epochs of the search and of random search."""
    found = ibml.tune(
        ROOT / "search_spaces" / "ibml.yaml", "mfeat", compare="random", repeats=repeats
    )
    records = {record.name: record for record in (found.record, *found.others)}
    best, epochs = {}, {}
    for label, names in found.record.compared.items():
        curves = [compute_best_so_far(records[name]) for name in names]
        best[label] = [float(curve["best"].iloc[-1]) for curve in curves]
        epochs[label] = [int(curve["epochs"].iloc[-1]) for curve in curves]
        print(
            f"{label}: best {best[label]}, median {median(best[label]):.4f}; epochs {epochs[label]}"
        )
    ours, random = found.record.compared
    ratios = [a / b for a, b in zip(epochs[ours], epochs[random], strict=True)]
    print(f"ratio of epochs, median of pairs: {median(ratios):.3f}")


def busy_workers() -> None:
    """Print the share of time in which workers hold and train trials."""
    ibml.ablate(ROOT / "ablations" / "components_tuned.yaml")
    client = MlflowClient("sqlite:///mlflow.db")
    experiment = client.get_experiment_by_name("ibml")
    runs = client.search_runs(
        [experiment.experiment_id], "tags.`ibml.kind` = 'trial'", max_results=5000
    )
    span = max(run.info.end_time for run in runs) - min(run.info.start_time for run in runs)
    held = sum(run.info.end_time - run.info.start_time for run in runs)
    trained = sum(1000 * trained_seconds(client, run) for run in runs)
    workers = os.cpu_count() or 1
    print(
        f"{len(runs)} trials, {span / 1000:.1f} s from the first to the last on {workers} workers:"
    )
    whole = span * workers / 100
    print(
        f"a worker holds a trial {held / whole:.1f} % of the time, and trains"
        f" {trained / whole:.1f} % of the time"
    )


def trained_seconds(client: MlflowClient, run: object) -> float:
    """Return the training seconds of a trial, including trials that were stopped early."""
    return sum(point.value for point in client.get_metric_history(run.info.run_id, "time.epoch"))


if __name__ == "__main__":
    for measure in (against_random, busy_workers):
        with tempfile.TemporaryDirectory(prefix="ibml-bench-") as folder:
            os.chdir(folder)
            measure()
