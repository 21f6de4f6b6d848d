"""Figures of a search. Slices, contours, parallel coordinates and Pareto fronts are Optuna's own; the others show what
it has no figure for: what each proposal cost, intervals of importance, best-so-far against budget over repeats."""

from __future__ import annotations

import io
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib as mpl
import numpy as np
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
"""How many parameters slices and contours show."""
_BUDGET_POINTS = 200


def render_figures(
    record: SearchRecord, importances: Importances, others: Sequence[SearchRecord] = ()
) -> dict[str, bytes]:
    """File name -> PNG, of every figure for which the search has enough trials."""
    mpl.use("agg", force=False)
    study = build_optuna_study(record)
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    top = [i.name for i in importances.parameters[:_MAX_PARAMETERS]] or list(record.parameters)[
        :_MAX_PARAMETERS
    ]
    everywhere = [p for p in record.parameters if all(p in trial.params for trial in complete)]
    top = [name for name in top if name in everywhere]
    made: dict[str, bytes] = {}
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        if complete:
            made["history.png"] = _render_png(_draw_history(record))
        if importances.parameters:
            made["importance.png"] = _render_png(_draw_importance(record, importances))
        constant = (
            record.scheduler["type"] != "pbt"
        )  # else these would show the values that trials began with
        if len(complete) > 1 and len(record.objectives) == 1 and constant:
            name = record.objectives[0][0]
            if top:
                made["slice.png"] = _render_optuna_plot(
                    optuna_plots.plot_slice, study, top, target_name=name
                )
                made["parallel.png"] = _render_optuna_plot(
                    optuna_plots.plot_parallel_coordinate, study, everywhere, target_name=name
                )
            numbers = [path for path in top if "low" in record.parameters[path]]
            if len(numbers) > 1 and len(complete) > 3:
                made["contour.png"] = _render_optuna_plot(
                    optuna_plots.plot_contour, study, numbers[:2], target_name=name
                )
        if find_pareto_front(record) and 1 < len(record.objectives) < 4:
            made["pareto.png"] = _render_optuna_plot(
                optuna_plots.plot_pareto_front, build_optuna_study(_drop_infeasible(record))
            )
        if others:
            made["anytime.png"] = _render_png(_draw_anytime(record, others))
    return made


def _drop_infeasible(record: SearchRecord) -> SearchRecord:
    """The record without the proposals that no front can have."""
    return record.model_copy(update={"proposals": tuple(p for p in record.proposals if p.feasible)})


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
        for place in figure.axes:  # labels between the powers of ten would overlap
            place.xaxis.set_minor_formatter(NullFormatter())
            place.yaxis.set_minor_formatter(NullFormatter())
        content = _render_png(figure)
        pyplot.close(figure)
    return content


def _get_axis(record: SearchRecord) -> tuple[str, float]:
    """The name of the first objective's axis, and what values are multiplied with for it."""
    metric = describe_metric(record.objectives[0][0])
    return f"{metric.name} {metric.unit}".strip(), metric.scale


def _draw_history(record: SearchRecord) -> Figure:
    """Every proposal's value in its order, those that were stopped early at what they had reached, and the best."""
    frame, curve = build_trials_frame(record), compute_best_so_far(record)
    label, scale = _get_axis(record)
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    complete = frame[frame["state"] == "complete"]
    axes.plot(
        complete["trial"],
        scale * complete[record.objectives[0][0]],
        "o",
        color=COLOURS[0],
        label="complete",
    )
    stopped = [
        (p.number, list(p.curve.values())[-1])
        for p in record.proposals
        if p.state == "pruned" and p.curve
    ]
    if stopped:
        numbers, values = zip(*stopped, strict=True)
        axes.plot(numbers, scale * np.array(values), "x", color=COLOURS[4], label="stopped early")
    failed = frame[frame["state"] == "failed"]["trial"]
    if len(failed):
        axes.plot(
            failed,
            np.full(len(failed), axes.get_ylim()[0]),
            "v",
            color=COLOURS[1],
            label="failed",
            clip_on=False,
        )
    best = pd.to_numeric(curve["best"])
    axes.step(curve["trial"], scale * best, where="post", color=COLOURS[2], label="best so far")
    axes.set(xlabel="trial", ylabel=label)
    axes.legend(frameon=False)
    return figure


def _draw_importance(record: SearchRecord, importances: Importances) -> Figure:
    figure = Figure(figsize=(6.4, 0.7 + 0.34 * len(importances.parameters)))
    axes = figure.subplots()
    shown = list(reversed(importances.parameters))
    means = np.array([i.mean for i in shown])
    spread = np.abs(np.array([[i.mean - i.low, i.high - i.mean] for i in shown]).T)
    axes.barh(
        [i.name for i in shown], means, xerr=spread, color=COLOURS[5], ecolor="#333333", capsize=2
    )
    when = f" after {importances.epochs} epochs" if importances.epochs else ""
    label = f"share of the variance of {record.objectives[0][0]}{when} (fANOVA, 95 % interval)"
    axes.set(xlabel=label, xlim=(0, None))
    return figure


def _draw_anytime(record: SearchRecord, others: Sequence[SearchRecord]) -> Figure:
    """Median and range over repeats of the best value so far, against the epochs that a search has trained; a search
    that has ended stays at its best."""
    label, scale = _get_axis(record)
    figure = Figure(figsize=(6.4, 3.6))
    axes = figure.subplots()
    for colour, (name, median, low, high, budget) in zip(
        COLOURS, compute_anytime_curves(record, others), strict=False
    ):
        axes.step(budget, scale * median, where="post", color=colour, label=name)
        axes.fill_between(
            budget, scale * low, scale * high, step="post", color=colour, alpha=0.2, linewidth=0
        )
    axes.set(xlabel="epochs trained by the search", ylabel=f"best {label} so far")
    axes.legend(frameon=False, loc="lower right")
    return figure


AnytimeCurve = tuple[str, np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def compute_anytime_curves(
    record: SearchRecord, others: Sequence[SearchRecord]
) -> list[AnytimeCurve]:
    """Per group of searches that are compared: label, then over its repeats the median, lowest and highest best value
    so far, each at the budgets (epochs trained) that end the list; shape (200,) each."""
    groups = group_compared(record, others)
    most = max(sum(p.epochs for p in r.proposals) for r in (record, *others))
    budget = np.linspace(0, most, _BUDGET_POINTS)
    curves: list[AnytimeCurve] = []
    for label, records in groups.items():
        lines = np.array([_look_up_best(compute_best_so_far(r), budget) for r in records])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # before any trial is complete nothing is known
            middle, low, high = (f(lines, axis=0) for f in (np.nanmedian, np.nanmin, np.nanmax))
        curves.append((f"{label} ({len(records)} repeats)", middle, low, high, budget))
    return curves


def _look_up_best(curve: pd.DataFrame, budget: np.ndarray) -> np.ndarray:
    """The best value so far at each budget; no number before the first."""
    ends, best = curve["epochs"].to_numpy(), pd.to_numeric(curve["best"]).to_numpy(dtype=float)
    if not len(ends):
        return np.full_like(budget, np.nan)
    position = np.searchsorted(ends, budget, side="right") - 1
    return np.where(position >= 0, best[np.maximum(position, 0)], np.nan)
