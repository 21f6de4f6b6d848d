"""A search in words: the files that a report is made of, and what the terminal shows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median

from rich import box
from rich.console import Group
from rich.table import Table as RichTable
from rich.text import Text

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


def render_search_report(
    record: SearchRecord, others: Sequence[SearchRecord] = ()
) -> dict[str, str | bytes]:
    """All files of a search's report: page, trials, best configuration, figures."""
    from ibml.report.search.figures import render_figures

    found = compute_importances(record)
    made: dict[str, str | bytes] = {**render_figures(record, found, others)}
    made["trials.csv"] = build_trials_frame(record).to_csv(index=False, lineterminator="\n")
    if record.best is not None:
        made[BEST] = build_best_preset(record)
    made[PAGE] = _render_page(
        record, found, others, [name for name in made if name.endswith(".png")]
    )
    return made


def build_search_summary(record: SearchRecord, others: Sequence[SearchRecord] = ()) -> Group:
    """What `ibml tune` shows at its end."""
    parts: list[Text | RichTable] = [
        Text(record.name, style="bold"),
        *map(Text, _list_facts(record)),
    ]
    if record.best is not None:
        grid = RichTable(
            title=Text("best configuration"),
            title_justify="left",
            box=box.SIMPLE_HEAD,
            pad_edge=False,
        )
        grid.add_column("parameter", overflow="fold")
        grid.add_column("value", overflow="fold")
        for path, value in record.best_params.items():
            grid.add_row(Text(path), Text(_format_value(value)))
        parts.append(grid)
    if len(record.objectives) > 1:
        parts.append(_build_front_table(record))
    found = compute_importances(record)
    if found.parameters:
        parts.append(_build_importance_table(found))
    return Group(*parts, *map(Text, _describe_comparison(record, others)))


def _list_facts(record: SearchRecord) -> list[str]:
    counts: Counter[str] = Counter(p.state for p in record.proposals)
    states = ", ".join(
        f"{counts[state]} {words}"
        for state, words in (
            ("complete", "complete"),
            ("pruned", "stopped early"),
            ("failed", "failed"),
            ("running", "not ended"),
        )
        if counts[state]
    )
    epochs = sum(p.epochs for p in record.proposals)
    full = record.trials * record.epochs * len(record.seeds)
    share = f" ({100 * epochs / full:.0f} % of {full:,})"
    lines = [
        f"{len(record.proposals)} of {record.trials} trials: {states or 'none yet'}; {epochs:,} epochs trained{share}.",
        f"Sampler {_format_settings(record.sampler)}; scheduler {_format_settings(record.scheduler)}; {len(record.seeds)} seed"
        f"{'s' if len(record.seeds) > 1 else ''} a trial, from {record.seeds[0]} on.",
    ]
    best = next((p for p in record.proposals if p.number == record.best), None)
    if best and best.values:
        values = ", ".join(
            _format_objective(metric, v)
            for (metric, _), v in zip(record.objectives, best.values, strict=True)
        )
        first = " by the first objective" if len(record.objectives) > 1 else ""
        lines.append(f"Best{first}: trial {best.number}, {values} on validation.")
    else:
        lines.append("No trial is complete and within the constraints, so there is no best one.")
    reasons = Counter(p.reason for p in record.proposals if p.state == "failed" and p.reason)
    lines += [f"Failed {count} times: {reason}" for reason, count in reasons.most_common(3)]
    return [*lines, *(f"Note: {note}." for note in record.notes)]


def _format_settings(config: dict[str, object]) -> str:
    rest = ", ".join(
        f"{key} {_format_value(value)}"
        for key, value in config.items()
        if key != "type" and value is not None
    )
    return f"{config['type']} ({rest})" if rest else str(config["type"])


def _format_objective(name: str, value: float) -> str:
    metric = describe_metric(name)
    return f"{name} {metric.scale * value:.4g} {metric.unit}".strip()


def _format_value(value: object) -> str:
    return f"{value:.6g}" if isinstance(value, float) else "none" if value is None else str(value)


def _build_front_table(record: SearchRecord) -> RichTable:
    grid = RichTable(
        title=Text("Pareto front"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    for heading in ("trial", *(metric for metric, _ in record.objectives), "parameters"):
        grid.add_column(heading, overflow="fold")
    for p in find_pareto_front(record):
        grid.add_row(*map(Text, _format_front_row(record, p)))
    return grid


def _format_front_row(record: SearchRecord, p: ProposalRecord) -> list[str]:
    values = [
        f"{describe_metric(metric).scale * v:.4g}"
        for (metric, _), v in zip(record.objectives, p.values or (), strict=True)
    ]
    return [
        str(p.number),
        *values,
        ", ".join(f"{path}={_format_value(v)}" for path, v in p.params.items()),
    ]


def _build_importance_table(found: Importances) -> RichTable:
    title = Text(f"importance{_format_epochs(found)} (fANOVA)")
    grid = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    grid.add_column("parameter", overflow="fold")
    for heading in ("share of variance", "95 % interval", "trials"):
        grid.add_column(heading, justify="right")
    for i in found.parameters:
        grid.add_row(*map(Text, _format_importance_row(i)))
    return grid


def _format_epochs(found: Importances) -> str:
    return f" after {found.epochs} epochs" if found.epochs else ""


def _format_importance_row(i: Importance) -> list[str]:
    return [i.name, f"{i.mean:.2f}", f"[{i.low:.2f}, {i.high:.2f}]", str(i.trials)]


def _describe_comparison(record: SearchRecord, others: Sequence[SearchRecord]) -> list[str]:
    """For each group of compared searches: the best value and the epochs, medians over repeats."""
    lines = []
    for label, records in group_compared(record, others).items():
        curves = [compute_best_so_far(r) for r in records]
        ends = [
            (c["best"].iloc[-1], c["epochs"].iloc[-1])
            for c in curves
            if len(c) and c["best"].iloc[-1] is not None
        ]
        if ends:
            best = _format_objective(record.objectives[0][0], median(value for value, _ in ends))
            epochs = median(spent for _, spent in ends)
            lines.append(
                f"{label}: best {best}, {epochs:,.0f} epochs (medians of {len(ends)} repeats)"
            )
    return lines


def _render_page(
    record: SearchRecord, found: Importances, others: Sequence[SearchRecord], images: list[str]
) -> str:
    lines = [
        f"# Search {escape_markdown(record.name)}",
        "",
        escape_markdown(record.description),
        "",
    ]
    lines += [*(f"{escape_markdown(fact)}  " for fact in _list_facts(record)), ""]
    if record.best is not None:
        lines += ["## Best configuration", "", "| parameter | value |", "|---|---|"]
        lines += [
            f"| {format_code(path)} | {escape_markdown(_format_value(value))} |"
            for path, value in record.best_params.items()
        ]
        if record.scheduler["type"] == "pbt":
            lines += ["", *format_schedule(record), ""]
        else:
            lines += ["", f"As a preset: `{BEST}`; train it with `ibml train {BEST}`.", ""]
    if len(record.objectives) > 1:
        heads = ["trial", *(metric for metric, _ in record.objectives), "parameters"]
        lines += [
            "## Pareto front",
            "",
            f"| {' | '.join(map(escape_markdown, heads))} |",
            "|---" * len(heads) + "|",
        ]
        lines += [
            f"| {' | '.join(map(escape_markdown, _format_front_row(record, p)))} |"
            for p in find_pareto_front(record)
        ] + [""]
    lines += ["## Importance", ""]
    if found.parameters:
        lines += ["| parameter | share of variance | 95 % interval | trials |", "|---|---|---|---|"]
        rows = map(_format_importance_row, found.parameters)
        lines += [
            f"| {format_code(name)} | {' | '.join(map(escape_markdown, rest))} |"
            for name, *rest in rows
        ]
        which = f"trials{_format_epochs(found)}" if found.epochs else "complete trials"
        lines += ["", f"fANOVA (Hutter et al. 2014) on {which}, resampled {BOOTSTRAPS} times.", ""]
    else:
        few = f"Fewer than {MIN_TRIALS} trials to compare, or nothing differed"
        changed = record.scheduler["type"] == "pbt"
        lines += [
            f"{'Values changed while members trained' if changed else few}: no importance.",
            "",
        ]
    comparison = _describe_comparison(record, others)
    if comparison:
        lines += ["## Compared", "", *(f"{escape_markdown(line)}  " for line in comparison), ""]
    return (
        "\n".join(
            [*lines, *(f"![{name.removesuffix('.png')}]({name})\n" for name in sorted(images))]
        )
        + "\n"
    )
