"""What a search found: the best configuration, its trials, the Pareto front, and best-so-far curves."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
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

from ibml.common.yaml.documents import dump
from ibml.config.metrics.specs import Direction
from ibml.config.search.space import label
from ibml.records import ProposalRecord, SearchRecord
from ibml.report.search.pbt_schedule import format_comment, format_schedule_note

_STATES = {"complete": TrialState.COMPLETE, "pruned": TrialState.PRUNED, "failed": TrialState.FAIL}


def build_optuna_study(record: SearchRecord) -> optuna.Study:
    """The search as a study of Optuna in memory, for its plots and evaluators."""
    study = create_memory_study([sense for _, sense in record.objectives])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        study.set_metric_names([metric for metric, _ in record.objectives])
    study.add_trials([_build_trial(record, p) for p in record.proposals if p.state in _STATES])
    return study


def create_memory_study(directions: Sequence[Direction]) -> optuna.Study:
    """An empty study in memory, made without a word."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    return optuna.create_study(directions=list(directions))


def _build_trial(record: SearchRecord, proposal: ProposalRecord) -> FrozenTrial:
    distributions = {path: build_distribution(record.parameters[path]) for path in proposal.params}
    values = list(proposal.values) if proposal.values else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a last step below `high` is said at every one
        return optuna.trial.create_trial(
            state=_STATES[proposal.state],
            values=values if proposal.state == "complete" else None,
            params=proposal.params,
            distributions=distributions,
            intermediate_values=proposal.curve,
        )


def build_distribution(parameter: dict[str, Any]) -> BaseDistribution:
    """A parameter of a record as Optuna knows it."""
    if "choices" in parameter:
        return CategoricalDistribution([label(choice) for choice in parameter["choices"]])
    low, high, log, step = (parameter[key] for key in ("low", "high", "log", "step"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if parameter["whole"]:
            return IntDistribution(int(low), int(high), log, int(step or 1))
        return FloatDistribution(
            float(low), float(high), log, None if step is None else float(step)
        )


def find_pareto_front(record: SearchRecord) -> list[ProposalRecord]:
    """The complete, feasible proposals that no other one beats in every objective, by the first objective."""
    signs = np.array([1.0 if sense == "maximize" else -1.0 for _, sense in record.objectives])
    rivals = [p for p in record.proposals if p.eligible]
    points = [signs * np.array(p.values) for p in rivals]
    front = [
        p
        for p, point in zip(rivals, points, strict=True)
        if not any((other >= point).all() and (other > point).any() for other in points)
    ]
    return sorted(front, key=lambda p: -signs[0] * (p.values or (0.0,))[0])


def compute_best_so_far(record: SearchRecord) -> pd.DataFrame:
    """Per proposal, in the order of their numbers: epochs trained in all until then, and the best value so far."""
    up = record.objectives[0][1] == "maximize"
    rows, epochs, best = [], 0, None
    for p in record.proposals:
        epochs += p.epochs
        if p.values and p.eligible and (best is None or (p.values[0] > best) == up):
            best = p.values[0]
        rows.append({"trial": p.number, "epochs": epochs, "best": best})
    return pd.DataFrame(rows, columns=["trial", "epochs", "best"])


def group_compared(
    record: SearchRecord, others: Sequence[SearchRecord]
) -> dict[str, list[SearchRecord]]:
    """Label -> the searches that were run to compare, as far as they are among these."""
    by_name = {r.name: r for r in (record, *others)}
    return {
        label: [by_name[n] for n in names if n in by_name]
        for label, names in record.compared.items()
    }


def build_trials_frame(record: SearchRecord) -> pd.DataFrame:
    """One row per proposal: number, state, epochs, objectives, parameters (nothing where inactive), reason."""
    rows = []
    for p in record.proposals:
        values = p.values or (None,) * len(record.objectives)
        objectives = {
            metric: value for (metric, _), value in zip(record.objectives, values, strict=True)
        }
        params = {path: p.params.get(path) for path in record.parameters}
        rows.append(
            {
                "trial": p.number,
                "state": p.state,
                "epochs": p.epochs,
                **objectives,
                **params,
                "reason": p.reason,
            }
        )
    return pd.DataFrame(rows)


def build_best_preset(record: SearchRecord) -> str:
    """The best configuration as a preset file."""
    metric, value = (
        record.objectives[0][0],
        next(p.values for p in record.proposals if p.number == record.best),
    )
    assert value is not None, "the best proposal is complete"
    head = f"The best of search {record.name}: trial {record.best}, {metric} {value[0]:.6g} on validation."
    chosen = (f"  {path}: {_format_value(v)}" for path, v in record.best_params.items())
    return format_comment([head, *chosen]) + format_schedule_note(record) + dump(record.best_config)


def _format_value(value: Any) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
