"""Computation of a trial's measures after training, with the time of each."""

from __future__ import annotations

import time

import torch

from ibml.common.imports import load_object
from ibml.config.metrics.names import list_measure_metrics, list_timed_measures
from ibml.config.metrics.registry import MEASURES
from ibml.training.measures.base import MeasuredModel


def compute_measures(measured: MeasuredModel) -> dict[str, float]:
    """Compute the measures that the trial's `trainer.measures` names.

    Args:
        measured: Model with its selected weights, and its data.

    Returns:
        Values by name, and the seconds of each measure as `time.measure.<name>`.
        `time.measure.features` is the forward pass that several measures share.
    """
    values_by_name: dict[str, float] = {}
    modalities = measured.model.modalities
    measured.model.eval()
    for measure in list_timed_measures(measured.config.trainer.measures, len(modalities)):
        compute = None if measure == "features" else load_object(MEASURES[measure].function)
        started = time.perf_counter()
        if compute is None:
            measured.prepare_features()
        else:
            with torch.no_grad():
                values = compute(measured)
            values_by_name |= zip(list_measure_metrics(measure, modalities), values, strict=True)
        values_by_name[f"time.measure.{measure}"] = time.perf_counter() - started
    return values_by_name
