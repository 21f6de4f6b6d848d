"""Computation of a trial's measures after training, with the seconds that each takes."""

from __future__ import annotations

import time

import torch

from ibml.common.imports import load_object
from ibml.config.metrics.names import list_measure_metrics, list_timed_measures
from ibml.config.metrics.registry import MEASURES
from ibml.training.measures.base import MeasuredModel


def compute_measures(measured: MeasuredModel) -> dict[str, float]:
    """Compute the measures that the trial's `trainer.measures` asks for.

    Args:
        measured: The model with its selected weights, and its data.

    Returns:
        Name -> value, and `time.measure.<name>`; `time.measure.features` is the pass that several share.
    """
    found: dict[str, float] = {}
    modalities = measured.model.modalities
    measured.model.eval()
    for measure in list_timed_measures(measured.config.trainer.measures, len(modalities)):
        compute = None if measure == "features" else load_object(MEASURES[measure].function)
        began = time.perf_counter()
        if compute is None:
            measured.prepare_features()
        else:
            with torch.no_grad():
                values = compute(measured)
            found |= zip(list_measure_metrics(measure, modalities), values, strict=True)
        found[f"time.measure.{measure}"] = time.perf_counter() - began
    return found
