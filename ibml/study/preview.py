"""What a study would run, for `--dry-run`."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from ibml.study.cells import Cell
from ibml.study.plan import Plan


def preview(plan: Plan) -> Group:
    """Arms, trials, epochs, and how each arm differs from the reference."""
    several = len(plan.datasets) > 1
    grid = Table(title=Text(plan.study.name, style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ["data set"] if several else []:
        grid.add_column(heading)
    grid.add_column("arm")
    grid.add_column("trials", justify="right")
    grid.add_column("epochs", justify="right")
    grid.add_column(f"differs from {plan.reference} in", overflow="fold")
    seeds = len(plan.study.seeds)
    for cell in plan.cells:
        epochs = seeds * cell.config.trainer.epochs
        row = [cell.arm, str(seeds), str(epochs), _difference(cell, plan.reference)]
        grid.add_row(*map(Text, [cell.dataset, *row] if several else row))
    resources = plan.study.resources
    total = (
        f"{plan.trials} trials ({len(plan.cells)} arms × {seeds} seeds), {plan.epochs:,} epochs;"
        f" a trial takes {resources.cpu:g} CPU and {resources.gpu:g} GPU. Nothing was run."
    )
    return Group(Text(plan.study.description), grid, *map(Text, plan.notes), Text(total))


def _difference(cell: Cell, reference: str) -> str:
    if cell.arm == reference:
        return "(the reference)"
    return ", ".join(f"{path}: {_shown(value)}" for path, value in cell.changes.items())


def _shown(value: Any) -> str:
    return "none" if value is None else str(value)
