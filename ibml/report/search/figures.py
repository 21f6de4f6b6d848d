"""Figures of a search.

Slices, contours, parallel coordinates and Pareto fronts are drawn by Optuna. The other figures show
what Optuna does not: the value of each proposal, importance with intervals, and the best value
against the budget over repeated searches.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
import optuna
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from optuna.trial import TrialState
from optuna.visualization import matplotlib as optuna_plots

from ibml.config.metrics.names import describe_metric
from ibml.records import SearchRecord
from ibml.report.figures.style import COLOURS
from ibml.report.search.importance import Importances
from ibml.report.search.summary import (
    build_optuna_study,
    build_trials_frame,
    compute_best_so_far,
    find_pareto_front,
    group_compared,
)

_MAX_PARAMETERS = 4
"""Number of parameters that slices and contours show."""
_BUDGET_POINTS = 200


def render_figures(
    record: SearchRecord, importances: Importances, others: Sequence[SearchRecord] = ()
) -> dict[str, bytes]:
    """Render every figure for which the search has enough trials.

    Args:
        record: Record of the search.
        importances: Importance of its parameters.
        others: Records of the searches that it is compared with.

    Returns:
        File name -> PNG.
    """
    mpl.use("agg", force=False)
    study = build_optuna_study(record)
    has_complete = bool(study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    images: dict[str, bytes] = {}
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        if has_complete:
            images["history.png"] = _render_png(_draw_history(record))
        if importances.parameters:
            images["importance.png"] = _render_png(_draw_importance(record, importances))
        images |= _render_parameter_plots(record, study, importances)
        if find_pareto_front(record) and 1 < len(record.objectives) < 4:
            feasible = build_optuna_study(_drop_infeasible(record))
            images["pareto.png"] = _render_optuna_plot(optuna_plots.plot_pareto_front, feasible)
        if others:
            images["anytime.png"] = _render_png(_draw_anytime(record, others))
    return images


def _render_parameter_plots(
    record: SearchRecord, study: optuna.Study, importances: Importances
) -> dict[str, bytes]:
    """Render values against parameters, for one objective and parameters that stay constant."""
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    # In population-based training the plots would show only the initial values.
    is_constant = record.scheduler["type"] != "pbt"
    if len(complete) < 2 or len(record.objectives) != 1 or not is_constant:
        return {}
    everywhere = []
    for path in record.parameters:
        if all(path in trial.params for trial in complete):
            everywhere.append(path)
    ranked = [importance.name for importance in importances.parameters]
    top = (ranked or list(record.parameters))[:_MAX_PARAMETERS]
    top = [path for path in top if path in everywhere]
    name = record.objectives[0][0]
    images = {}
    if top:
        images["slice.png"] = _render_optuna_plot(
            optuna_plots.plot_slice, study, top, target_name=name
        )
        images["parallel.png"] = _render_optuna_plot(
            optuna_plots.plot_parallel_coordinate, study, everywhere, target_name=name
        )
    numeric = [path for path in top if "low" in record.parameters[path]]
    if len(numeric) > 1 and len(complete) > 3:
        images["contour.png"] = _render_optuna_plot(
            optuna_plots.plot_contour, study, numeric[:2], target_name=name
        )
    return images


def _drop_infeasible(record: SearchRecord) -> SearchRecord:
    """Return the record without the proposals that violate a constraint."""
    feasible = tuple(proposal for proposal in record.proposals if proposal.feasible)
    return record.model_copy(update={"proposals": feasible})


def _render_png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, bbox_inches="tight", metadata={"Software": None})
    return stream.getvalue()


def _render_optuna_plot(plot: Callable[..., Any], *arguments: Any, **options: Any) -> bytes:
    from matplotlib import pyplot

    with warnings.catch_warnings(), pyplot.style.context("default"):
        warnings.simplefilter("ignore")
        axes = np.ravel(np.asarray(plot(*arguments, **options)))
        figure: Figure = axes[0].figure
        figure.set_size_inches(max(9.0, 3.2 * len(axes)), 4.2)
        for panel in figure.axes:
            # Labels between the powers of ten would overlap.
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.yaxis.set_minor_formatter(NullFormatter())
        content = _render_png(figure)
        pyplot.close(figure)
    return content


def _get_axis(record: SearchRecord) -> tuple[str, float]:
    """Return the axis label of the first objective, and the factor from logged to shown values."""
    metric = describe_metric(record.objectives[0][0])
    return f"{metric.name} {metric.unit}".strip(), metric.scale


def _draw_history(record: SearchRecord) -> Figure:
    """Draw the value of every proposal in order, and the best so far.

    A proposal that was stopped early is drawn at its last value.
    """
    frame, best_curve = build_trials_frame(record), compute_best_so_far(record)
    label, scale = _get_axis(record)
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    complete = frame[frame["state"] == "complete"]
    values = scale * complete[record.objectives[0][0]]
    axes.plot(complete["trial"], values, "o", color=COLOURS[0], label="complete")
    numbers, last_values = [], []
    for proposal in record.proposals:
        if proposal.state == "pruned" and proposal.curve:
            numbers.append(proposal.number)
            last_values.append(list(proposal.curve.values())[-1])
    if numbers:
        stopped = scale * np.array(last_values)
        axes.plot(numbers, stopped, "x", color=COLOURS[4], label="stopped early")
    failed = frame[frame["state"] == "failed"]["trial"]
    if len(failed):
        bottom = np.full(len(failed), axes.get_ylim()[0])
        axes.plot(failed, bottom, "v", color=COLOURS[1], label="failed", clip_on=False)
    best = pd.to_numeric(best_curve["best"])
    axes.step(
        best_curve["trial"], scale * best, where="post", color=COLOURS[2], label="best so far"
    )
    axes.set(xlabel="trial", ylabel=label)
    axes.legend(frameon=False)
    return figure


def _draw_importance(record: SearchRecord, importances: Importances) -> Figure:
    figure = Figure(figsize=(6.4, 0.7 + 0.34 * len(importances.parameters)))
    axes = figure.subplots()
    shown = list(reversed(importances.parameters))
    names = [importance.name for importance in shown]
    means = np.array([importance.mean for importance in shown])
    low = np.array([importance.low for importance in shown])
    high = np.array([importance.high for importance in shown])
    spread = np.abs(np.array([means - low, high - means]))
    axes.barh(names, means, xerr=spread, color=COLOURS[5], ecolor="#333333", capsize=2)
    when = f" after {importances.epochs} epochs" if importances.epochs else ""
    objective = record.objectives[0][0]
    label = f"share of the variance of {objective}{when} (fANOVA, 95 % interval)"
    axes.set(xlabel=label, xlim=(0, None))
    return figure


def _draw_anytime(record: SearchRecord, others: Sequence[SearchRecord]) -> Figure:
    """Draw median and range over repeats of the best value against the epochs trained.

    A search that has ended stays at its best value.
    """
    label, scale = _get_axis(record)
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    curves = compute_anytime_curves(record, others)
    for color, (name, median, low, high, budget) in zip(COLOURS, curves, strict=False):
        axes.step(budget, scale * median, where="post", color=color, label=name)
        axes.fill_between(
            budget, scale * low, scale * high, step="post", color=color, alpha=0.2, linewidth=0
        )
    axes.set(xlabel="epochs trained by the search", ylabel=f"best {label} so far")
    axes.legend(frameon=False, loc="lower right")
    return figure


AnytimeCurve = tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]
"""Label; median, lowest and highest best value; and budgets, shape (200,) each."""


def compute_anytime_curves(
    record: SearchRecord, others: Sequence[SearchRecord]
) -> list[AnytimeCurve]:
    """Compute the best value so far against the budget, over repeats of each compared search.

    Args:
        record: Record of the search.
        others: Records of the other searches.

    Returns:
        One curve per group of repeats. Budgets are epochs trained, the same for all groups.
    """
    most_epochs = max(map(_sum_epochs, (record, *others)))
    budget = np.linspace(0, most_epochs, _BUDGET_POINTS)
    curves: list[AnytimeCurve] = []
    for label, repeats in group_compared(record, others).items():
        lines = np.array([_look_up_best(compute_best_so_far(r), budget) for r in repeats])
        with warnings.catch_warnings():
            # numpy warns where no repeat has a complete trial yet.
            warnings.simplefilter("ignore")
            median = np.nanmedian(lines, axis=0)
            low = np.nanmin(lines, axis=0)
            high = np.nanmax(lines, axis=0)
        curves.append((f"{label} ({len(repeats)} repeats)", median, low, high, budget))
    return curves


def _sum_epochs(record: SearchRecord) -> int:
    return sum(proposal.epochs for proposal in record.proposals)


def _look_up_best(curve: pd.DataFrame, budget: np.ndarray) -> np.ndarray:
    """Return the best value so far at each budget; NaN before the first one."""
    ends = curve["epochs"].to_numpy()
    best = pd.to_numeric(curve["best"]).to_numpy(dtype=float)
    if not len(ends):
        return np.full_like(budget, np.nan)
    position = np.searchsorted(ends, budget, side="right") - 1
    return np.where(position >= 0, best[np.maximum(position, 0)], np.nan)
