"""The table in every format. The same results give the same bytes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Literal

from rich.console import Group
from rich.text import Text

from ibml.report.tables.analysis import Analysis
from ibml.report.tables.formats import latex
from ibml.report.tables.formats.markdown import escaped, markdown_grid
from ibml.report.tables.formats.text import plain_text, rich_grid
from ibml.report.tables.layout import analysis_grids, differences, grids, means
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import Grid, Row, capital

_LINES_OF_A_PAGE = 40

Format = Literal["text", "markdown", "latex", "csv", "json", "html"]

EXTENSIONS: dict[Format, str] = {
    "text": "txt",
    "markdown": "md",
    "latex": "tex",
    "csv": "csv",
    "json": "json",
    "html": "html",
}


def render(table: Table, form: Format) -> str:
    """The table in a format, ending in a newline."""
    return _RENDERERS[form](table)


def rich_table(table: Table) -> Group:
    """The table for a terminal: best bold, second underlined."""
    caption = [Text(table.study.table.caption)] if table.study.table.caption else []
    return Group(*caption, *map(rich_grid, grids(table)), *(Text(line) for line in table.foot))


def _text(table: Table) -> str:
    return plain_text(rich_table(table))


def _markdown(table: Table) -> str:
    caption = table.study.table.caption or table.study.description
    parts = [f"**{escaped(table.name)}**" + (f": {escaped(caption)}\n" if caption else "\n")]
    for grid in grids(table):
        title = grid.title.removeprefix(f"{table.name}: ")
        heading = "" if title == table.name else f"{escaped(capital(title))}:\n\n"
        parts.append(heading + markdown_grid(grid))
    return "\n".join(parts) + "\n" + "\n".join(f"{escaped(line)}  " for line in table.foot) + "\n"


def _latex(table: Table) -> str:
    study = table.study
    caption = study.table.caption or study.description or study.name
    label = study.table.label or f"tab:{study.name}"
    shown = _pages(means(table))
    blocks = []
    for position, grid in enumerate(shown, start=1):
        suffix = f"-{position}" if len(shown) > 1 else ""
        words = f"{caption} {grid.title.partition(': ')[2]}" if len(shown) > 1 else caption
        foot = table.foot if position == len(shown) else ()
        blocks.append(latex.latex_table(grid, words, label + suffix, foot))
    for position, grid in enumerate(_pages(differences(table) + analysis_grids(table)), start=1):
        blocks.append(latex.latex_table(grid, f"{study.name}: {grid.title}", f"{label}-more-{position}"))
    return latex.document(blocks)


def _pages(found: list[Grid]) -> list[Grid]:
    """Grids cut where they would not fit on a page, at a heading if there is one: LaTeX does not break a float."""
    pages = []
    for grid in found:
        parts: list[list[Row | str]] = [[]]
        for row in grid.rows:
            full = _LINES_OF_A_PAGE if not isinstance(row, str) else _LINES_OF_A_PAGE // 2
            if len(parts[-1]) >= full:
                parts.append([])
            parts[-1].append(row)
        pages += [Grid(grid.title, grid.columns, tuple(rows)) for rows in parts]
    return pages


def _csv(table: Table) -> str:
    return table.frame().to_csv(index=False, lineterminator="\n")


def _json(table: Table) -> str:
    content = {
        "study": table.name,
        "description": table.study.description,
        "reference": table.study.reference,
        "design": table.study.design.model_dump(mode="json"),
        "unfinished": table.unfinished,
        "rows": table.frame().to_dict("records"),
        "average_ranks": {metric: found.ranks for metric, found in table.ranks.items()},
        "analyses": list(map(_plain_analysis, table.analyses)),
        "foot": table.foot,
    }
    return json.dumps(_plain(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain_analysis(analysis: Analysis) -> dict[str, object]:
    return {**asdict(analysis), "metric": analysis.metric.name}


def _plain(value: object) -> object:
    """JSON has no NaN, which is what pandas makes of None in a column of numbers."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return list(map(_plain, value))
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _html(table: Table) -> str:
    from ibml.report.tables.formats.html import html_table

    return html_table(table)


_RENDERERS: dict[Format, Callable[[Table], str]] = {
    "text": _text,
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
    "html": _html,
}
