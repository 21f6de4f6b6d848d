"""Results of a search: best configuration, trials, Pareto front and best-so-far curve."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import optuna
import pandas as pd
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.trial import FrozenTrial, TrialState

from ibml.common.formatting import format_value
from ibml.common.yaml.documents import dump
from ibml.config.metrics.specs import Direction
from ibml.config.search.space import label
from ibml.records import ProposalRecord, SearchRecord
from ibml.report.search.pbt_schedule import format_comment, format_schedule_note

_STATES = {
    "complete": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


def build_optuna_study(record: SearchRecord) -> optuna.Study:
    """Return the search as an in-memory Optuna study, for Optuna's plots and evaluators."""
    study = create_memory_study([direction for _, direction in record.objectives])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([metric for metric, _ in record.objectives])
    for proposal in record.proposals:
        if proposal.state in _STATES:
            study.add_trial(_build_trial(record, proposal))
    return study


def create_memory_study(directions: Sequence[Direction]) -> optuna.Study:
    """Create an empty in-memory Optuna study without log output."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(directions=list(directions))


def _build_trial(record: SearchRecord, proposal: ProposalRecord) -> FrozenTrial:
    distributions = {}
    for path in proposal.params:
        distributions[path] = build_distribution(record.parameters[path])
    values = None
    if proposal.values and proposal.state == "complete":
        values = list(proposal.values)
    with warnings.catch_warnings():
        # Optuna warns at every trial if `high` is not a multiple of the step.
        warnings.simplefilter("ignore")
        return optuna.trial.create_trial(
            state=_STATES[proposal.state],
            values=values,
            params=proposal.params,
            distributions=distributions,
            intermediate_values=proposal.curve,
        )


def build_distribution(parameter: Mapping[str, Any]) -> BaseDistribution:
    """Return the Optuna distribution of a parameter as the record describes it."""
    if "choices" in parameter:
        return CategoricalDistribution([label(choice) for choice in parameter["choices"]])
    low, high, log, step = (parameter[key] for key in ("low", "high", "log", "step"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if parameter["whole"]:
            return IntDistribution(int(low), int(high), log, int(step or 1))
        float_step = None if step is None else float(step)
        return FloatDistribution(float(low), float(high), log, float_step)


def find_pareto_front(record: SearchRecord) -> list[ProposalRecord]:
    """Return the proposals on the Pareto front.

    Args:
        record: Record of the search.

    Returns:
        Complete, feasible proposals that no other one dominates, ordered by the first objective,
        best first.
    """
    signs = np.array([1.0 if sense == "maximize" else -1.0 for _, sense in record.objectives])
    rivals = [proposal for proposal in record.proposals if proposal.eligible]
    points = [signs * np.array(proposal.values) for proposal in rivals]
    front = []
    for proposal, point in zip(rivals, points, strict=True):
        if not any(_dominates(other, point) for other in points):
            front.append(proposal)
    return sorted(front, key=lambda proposal: -signs[0] * (proposal.values or (0.0,))[0])


def _dominates(point: np.ndarray, other: np.ndarray) -> bool:
    """Return True if `point` is as good in every objective and better in one (maximization)."""
    return bool((point >= other).all() and (point > other).any())


def compute_best_so_far(record: SearchRecord) -> pd.DataFrame:
    """Return the best value of the first objective against the budget.

    Args:
        record: Record of the search.

    Returns:
        One row per proposal in the order of numbers: `trial`, `epochs` (trained in total) and
        `best` (None before the first complete proposal).
    """
    maximize = record.objectives[0][1] == "maximize"
    rows, epochs, best = [], 0, None
    for proposal in record.proposals:
        epochs += proposal.epochs
        if proposal.values and proposal.eligible:
            value = proposal.values[0]
            if best is None or (value > best) == maximize:
                best = value
        rows.append({"trial": proposal.number, "epochs": epochs, "best": best})
    return pd.DataFrame(rows, columns=["trial", "epochs", "best"])


def group_compared(
    record: SearchRecord, others: Sequence[SearchRecord]
) -> dict[str, list[SearchRecord]]:
    """Return the searches that a comparison consists of.

    Args:
        record: Record of the search.
        others: Records of other searches.

    Returns:
        Label -> repeats of one setting, without searches that are not given.
    """
    by_name = {search.name: search for search in (record, *others)}
    groups = {}
    for group, names in record.compared.items():
        groups[group] = [by_name[name] for name in names if name in by_name]
    return groups


def build_trials_frame(record: SearchRecord) -> pd.DataFrame:
    """Return the proposals as a data frame.

    Args:
        record: Record of the search.

    Returns:
        One row per proposal: number, state, epochs, objectives, parameters (None where inactive)
        and reason.
    """
    rows = []
    for proposal in record.proposals:
        row: dict[str, Any] = {
            "trial": proposal.number,
            "state": proposal.state,
            "epochs": proposal.epochs,
        }
        values = proposal.values or (None,) * len(record.objectives)
        for (metric, _), value in zip(record.objectives, values, strict=True):
            row[metric] = value
        for path in record.parameters:
            row[path] = proposal.params.get(path)
        row["reason"] = proposal.reason
        rows.append(row)
    return pd.DataFrame(rows)


def build_best_preset(record: SearchRecord) -> str:
    """Return the best configuration as a preset file, with its values in a comment."""
    metric = record.objectives[0][0]
    value = next(p.values for p in record.proposals if p.number == record.best)
    assert value is not None, "the best proposal is complete"
    lines = [
        f"The best of search {record.name}: trial {record.best}, {metric} {value[0]:.6g}"
        " on validation."
    ]
    for path, chosen in record.best_params.items():
        lines.append(f"  {path}: {format_value(chosen, none='None')}")
    return format_comment(lines) + format_schedule_note(record) + dump(record.best_config)
