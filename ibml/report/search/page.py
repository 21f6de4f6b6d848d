"""Report of a search: its files, and its summary for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

from ibml.common.formatting import format_count, format_value
from ibml.config.metrics.names import describe_metric
from ibml.records import ProposalRecord, SearchRecord
from ibml.report.search.importance import (
    BOOTSTRAPS,
    MIN_TRIALS,
    Importance,
    Importances,
    compute_importances,
)
from ibml.report.search.pbt_schedule import format_schedule
from ibml.report.search.summary import (
    build_best_preset,
    build_trials_frame,
    compute_best_so_far,
    find_pareto_front,
    group_compared,
)
from ibml.report.tables.formats.markdown import escape_markdown, format_code

BEST = "best.yaml"
PAGE = "report.md"
IMAGES = ("history", "importance", "slice", "parallel", "contour", "pareto", "anytime")
FILES = (BEST, PAGE, "trials.csv", *(f"{name}.png" for name in IMAGES))
"""Every file that a report may have."""

_STATE_TEXTS = {
    "complete": "complete",
    "pruned": "stopped early",
    "failed": "failed",
    "running": "not ended",
}


def render_search_report(
    record: SearchRecord, others: Sequence[SearchRecord] = ()
) -> dict[str, str | bytes]:
    """Render the report of a search.

    Args:
        record: Record of the search.
        others: Records of the searches that it is compared with.

    Returns:
        File name -> content of the page, trials, best configuration and figures.
    """
    from ibml.report.search.figures import render_figures

    importances = compute_importances(record)
    files: dict[str, str | bytes] = {**render_figures(record, importances, others)}
    images = sorted(files)
    files["trials.csv"] = build_trials_frame(record).to_csv(index=False, lineterminator="\n")
    if record.best is not None:
        files[BEST] = build_best_preset(record)
    files[PAGE] = _render_page(record, importances, others, images)
    return files


def build_search_summary(record: SearchRecord, others: Sequence[SearchRecord] = ()) -> Group:
    """Return the summary that `ibml tune` prints at its end.

    Args:
        record: Record of the search.
        others: Records of the searches that it is compared with.

    Returns:
        A group for Rich.
    """
    parts: list[Text | RichTable] = [Text(record.name, style="bold")]
    parts += map(Text, _list_facts(record))
    if record.best is not None:
        table = _build_rich_table("best configuration", ("parameter", "value"))
        for path, value in record.best_params.items():
            table.add_row(Text(path), Text(format_value(value)))
        parts.append(table)
    if len(record.objectives) > 1:
        parts.append(_build_front_table(record))
    importances = compute_importances(record)
    if importances.parameters:
        parts.append(_build_importance_table(importances))
    return Group(*parts, *map(Text, _describe_comparison(record, others)))


def _build_rich_table(title: str, headings: Iterable[str]) -> RichTable:
    table = RichTable(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in headings:
        table.add_column(heading, overflow="fold")
    return table


def _list_facts(record: SearchRecord) -> Iterator[str]:
    """Yield sentences about progress, settings, best trial, failures and notes."""
    yield _describe_progress(record)
    seeds = format_count(len(record.seeds), "seed")
    yield (
        f"Sampler {_format_settings(record.sampler)};"
        f" scheduler {_format_settings(record.scheduler)};"
        f" {seeds} a trial, from {record.seeds[0]} on."
    )
    yield _describe_best(record)
    reasons = Counter(p.reason for p in record.proposals if p.state == "failed" and p.reason)
    for reason, count in reasons.most_common(3):
        yield f"Failed {format_count(count, 'time')}: {reason}"
    for note in record.notes:
        yield f"Note: {note}."


def _describe_progress(record: SearchRecord) -> str:
    counts: Counter[str] = Counter(proposal.state for proposal in record.proposals)
    states = []
    for state, text in _STATE_TEXTS.items():
        if counts[state]:
            states.append(f"{counts[state]} {text}")
    epochs = sum(proposal.epochs for proposal in record.proposals)
    all_epochs = record.trials * record.epochs * len(record.seeds)
    return (
        f"{len(record.proposals)} of {record.trials} trials: {', '.join(states) or 'none yet'};"
        f" {epochs:,} epochs trained ({100 * epochs / all_epochs:.0f} % of {all_epochs:,})."
    )


def _describe_best(record: SearchRecord) -> str:
    best = next((p for p in record.proposals if p.number == record.best), None)
    if best is None or not best.values:
        return "There is no best trial, because none is complete and within the constraints."
    values = []
    for (metric, _), value in zip(record.objectives, best.values, strict=True):
        values.append(_format_objective(metric, value))
    first = " by the first objective" if len(record.objectives) > 1 else ""
    return f"Best{first}: trial {best.number}, {', '.join(values)} on validation."


def _format_settings(config: Mapping[str, object]) -> str:
    options = []
    for key, value in config.items():
        if key != "type" and value is not None:
            options.append(f"{key} {format_value(value)}")
    text = str(config["type"])
    if options:
        text += f" ({', '.join(options)})"
    return text


def _format_objective(name: str, value: float) -> str:
    metric = describe_metric(name)
    return f"{name} {metric.scale * value:.4g} {metric.unit}".strip()


def _list_front_headings(record: SearchRecord) -> list[str]:
    return ["trial", *(metric for metric, _ in record.objectives), "parameters"]


def _build_front_table(record: SearchRecord) -> RichTable:
    table = _build_rich_table("Pareto front", _list_front_headings(record))
    for proposal in find_pareto_front(record):
        table.add_row(*map(Text, _format_front_row(record, proposal)))
    return table


def _format_front_row(record: SearchRecord, proposal: ProposalRecord) -> list[str]:
    row = [str(proposal.number)]
    for (metric, _), value in zip(record.objectives, proposal.values or (), strict=True):
        row.append(f"{describe_metric(metric).scale * value:.4g}")
    params = [f"{path}={format_value(value)}" for path, value in proposal.params.items()]
    return [*row, ", ".join(params)]


def _build_importance_table(importances: Importances) -> RichTable:
    title = f"importance{_format_epochs(importances)} (fANOVA)"
    table = _build_rich_table(title, ("parameter",))
    for heading in ("share of variance", "95 % interval", "trials"):
        table.add_column(heading, justify="right")
    for importance in importances.parameters:
        table.add_row(*map(Text, _format_importance_row(importance)))
    return table


def _format_epochs(importances: Importances) -> str:
    return f" after {importances.epochs} epochs" if importances.epochs else ""


def _format_importance_row(importance: Importance) -> list[str]:
    interval = f"[{importance.low:.2f}, {importance.high:.2f}]"
    return [importance.name, f"{importance.mean:.2f}", interval, str(importance.trials)]


def _describe_comparison(record: SearchRecord, others: Sequence[SearchRecord]) -> list[str]:
    """Return, for each group of repeats, the medians of best value and epochs."""
    lines = []
    for label, repeats in group_compared(record, others).items():
        values, epochs = [], []
        for repeat in repeats:
            curve = compute_best_so_far(repeat)
            if len(curve) and curve["best"].iloc[-1] is not None:
                values.append(curve["best"].iloc[-1])
                epochs.append(curve["epochs"].iloc[-1])
        if values:
            best = _format_objective(record.objectives[0][0], median(values))
            lines.append(
                f"{label}: best {best}, {median(epochs):,.0f} epochs"
                f" (medians of {len(values)} repeats)"
            )
    return lines


def _render_page(
    record: SearchRecord,
    importances: Importances,
    others: Sequence[SearchRecord],
    images: list[str],
) -> str:
    """Render the page as Markdown."""
    lines = [
        f"# Search {escape_markdown(record.name)}",
        "",
        escape_markdown(record.description),
        "",
        *_add_line_breaks(_list_facts(record)),
        "",
    ]
    if record.best is not None:
        lines += _format_best_section(record)
    if len(record.objectives) > 1:
        lines += _format_front_section(record)
    lines += _format_importance_section(record, importances)
    comparison = _describe_comparison(record, others)
    if comparison:
        lines += ["## Compared", "", *_add_line_breaks(comparison), ""]
    for name in images:
        lines.append(f"![{name.removesuffix('.png')}]({name})\n")
    return "\n".join(lines) + "\n"


def _add_line_breaks(lines: Iterable[str]) -> list[str]:
    """Escape lines and end each with a Markdown line break."""
    return [f"{escape_markdown(line)}  " for line in lines]


def _format_best_section(record: SearchRecord) -> list[str]:
    lines = ["## Best configuration", "", "| parameter | value |", "|---|---|"]
    for path, value in record.best_params.items():
        lines.append(f"| {format_code(path)} | {escape_markdown(format_value(value))} |")
    if record.scheduler["type"] == "pbt":
        return [*lines, "", *format_schedule(record), ""]
    return [*lines, "", f"As a preset: `{BEST}`; train it with `ibml train {BEST}`.", ""]


def _format_front_section(record: SearchRecord) -> list[str]:
    headings = _list_front_headings(record)
    lines = ["## Pareto front", "", _format_row(headings), "|---" * len(headings) + "|"]
    for proposal in find_pareto_front(record):
        lines.append(_format_row(_format_front_row(record, proposal)))
    return [*lines, ""]


def _format_importance_section(record: SearchRecord, importances: Importances) -> list[str]:
    lines = ["## Importance", ""]
    if importances.parameters:
        lines += ["| parameter | share of variance | 95 % interval | trials |", "|---|---|---|---|"]
        for importance in importances.parameters:
            name, *numbers = _format_importance_row(importance)
            lines.append(f"| {format_code(name)} {_format_row(numbers)}")
        trials = "complete trials"
        if importances.epochs:
            trials = f"trials{_format_epochs(importances)}"
        text = f"fANOVA (Hutter et al. 2014) on {trials}, resampled {BOOTSTRAPS} times."
        return [*lines, "", text, ""]
    if record.scheduler["type"] == "pbt":
        reason = "because parameters changed during training"
    else:
        reason = f"because fewer than {MIN_TRIALS} trials can be compared, or none differ"
    return [*lines, f"Importance was not computed, {reason}.", ""]


def _format_row(cells: Iterable[str]) -> str:
    """Return a row of a Markdown table."""
    return f"| {' | '.join(map(escape_markdown, cells))} |"
