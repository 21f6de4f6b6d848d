"""The table as text, Markdown, LaTeX, CSV and JSON. The same results give the same bytes."""

from __future__ import annotations

import io
import json
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Literal, TypeVar

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table as RichTable
from rich.text import Text

from ibml.config.metrics import Metric
from ibml.report.table import Table, TableCell
from ibml.statistics.paired import Difference

Format = Literal["text", "markdown", "latex", "csv", "json"]
Shown = TypeVar("Shown")
NOTHING = "–"

EXTENSIONS: dict[Format, str] = {"text": "txt", "markdown": "md", "latex": "tex", "csv": "csv", "json": "json"}


def render(table: Table, form: Format) -> str:
    """The table in a format, ending in a newline."""
    return _RENDERERS[form](table)


def number(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def signed(value: float | None, digits: int = 2) -> str:
    return NOTHING if value is None or not math.isfinite(value) else f"{value:+.{digits}f}"


def p_text(value: float | None) -> str:
    return NOTHING if value is None else "< 0.001" if value < 0.001 else f"{value:.3f}"


def _mean(cell: TableCell) -> str:
    if cell.summary.sd is None:
        return number(cell.summary.mean)
    return f"{number(cell.summary.mean)} ± {number(cell.summary.sd)}"


def _interval(d: Difference) -> str:
    return NOTHING if d.low is None else f"[{signed(d.low)}, {signed(d.high)}]"


def _heading(metric: Metric) -> str:
    unit = f" {metric.unit}" if metric.unit else ""
    return f"{metric.name}{unit} {metric.arrow}"


def _means(
    table: Table, show: Callable[[str], Shown], cell: Callable[[TableCell], Shown]
) -> tuple[list[Shown], list[list[Shown]]]:
    """Header and rows of the table of means; `show` and `cell` write for the format."""
    several = len(table.datasets) > 1
    header = [*(["data set"] if several else []), "arm", "n", *map(_heading, table.metrics)]
    rows = []
    for dataset, arm in dict.fromkeys((dataset, arm) for dataset, arm, _ in table.cells):
        cells = [table.cell(dataset, arm, metric.name) for metric in table.metrics]
        name = f"{arm} (reference)" if arm == table.reference else arm
        lead = [*([dataset] if several else []), name, str(max(c.summary.n for c in cells))]
        rows.append([*map(show, lead), *map(cell, cells)])
    return [show(text) for text in header], rows


def _difference_header(table: Table) -> list[str]:
    interval = f"{100 * (1 - table.alpha):g} % interval"
    return ["arm", "difference", interval, "p (Holm)", "d_z", "detectable", "verdict"]


def _difference_row(cell: TableCell, d: Difference) -> list[str]:
    numbers = [signed(d.mean), _interval(d), p_text(d.p_corrected), number(d.effect_size), number(d.detectable)]
    return [cell.arm, *numbers, d.verdict]


def _groups(table: Table) -> Iterator[tuple[list[str], list[list[str]]]]:
    """The differences by data set and metric: (names of the group, rows)."""
    several = len(table.datasets) > 1
    for dataset in table.datasets:
        for metric in table.metrics:
            cells = [table.cells.get((dataset, arm, metric.name)) for arm in table.arms]
            rows = [_difference_row(cell, cell.difference) for cell in cells if cell and cell.difference]
            if rows:
                yield [*([dataset] if several else []), metric.name], rows


def rich_table(table: Table) -> Group:
    """The table for a terminal: best bold, second underlined."""
    header, rows = _means(table, Text, _styled)
    means = _rich(table.name, header, names=len(header) - len(table.metrics) - 1)
    for row in rows:
        means.add_row(*row)
    changes = _rich(f"difference to {table.reference}", [Text(text) for text in _difference_header(table)], names=1)
    changes.columns[-1].justify = "left"
    for names, differences in _groups(table):
        changes.add_row(Text(" · ".join(names), style="italic"))
        for difference in differences:
            changes.add_row(*map(Text, difference))
        changes.add_section()
    parts = [means, changes] if changes.row_count else [means]
    return Group(*parts, *(Text(line) for line in table.foot))


def _rich(title: str, header: Sequence[Text], names: int) -> RichTable:
    """A grid whose first columns are names, which may fold, and whose others are numbers, which may not."""
    grid = RichTable(
        title=Text(title, style="bold"),
        box=box.SIMPLE_HEAD,
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    for position, heading in enumerate(header):
        if position < names:
            grid.add_column(heading, overflow="fold")
        else:
            grid.add_column(heading, justify="right", min_width=8, overflow="fold")
    return grid


def _styled(cell: TableCell) -> Text:
    style = "bold" if cell.best else "underline" if cell.second else ""
    return Text(f"{_mean(cell)}{' ≈' if cell.tied else '  '}", style=style)


def _text(table: Table) -> str:
    return plain_text(rich_table(table))


def plain_text(content: RenderableType) -> str:
    """What a terminal of 120 columns without colours shows."""
    stream = io.StringIO()
    Console(file=stream, width=120, no_color=True, force_terminal=False).print(content)
    return re.sub(r"[ ]+\n", "\n", stream.getvalue())


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts in Markdown."""
    return _md_table(list(map(_md, header)), [list(map(_md, row)) for row in rows])


def tex_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of plain texts as a LaTeX tabular with booktabs' rules."""
    return _tex_rows(list(map(_tex, header)), [list(map(_tex, row)) for row in rows], "l" * len(header))


def _markdown(table: Table) -> str:
    header, rows = _means(table, _md, _md_cell)
    title = f"**{_md(table.name)}**" + (f": {_md(table.description)}" if table.description else "")
    text = f"{title}\n\n{_md_table(header, rows)}"
    lead, differences = _long(table, _md)
    if differences:
        text += f"\nDifference to {_md(table.reference)}:\n\n{_md_table(lead, differences)}"
    return text + "\n" + "\n".join(f"{_md(line)}  " for line in table.foot) + "\n"


def _long(table: Table, show: Callable[[str], str]) -> tuple[list[str], list[list[str]]]:
    """Header and rows of the differences, the names of the group in front of every row."""
    lead = ["data set", "metric"] if len(table.datasets) > 1 else ["metric"]
    rows = [[*names, *row] for names, group in _groups(table) for row in group]
    return list(map(show, [*lead, *_difference_header(table)])), [list(map(show, row)) for row in rows]


def _md(text: str) -> str:
    return re.sub(r"([\\`*_{}\[\]<>#|~])", r"\\\1", text).replace("\n", " ")


def _md_cell(cell: TableCell) -> str:
    text = _mean(cell)
    text = f"**{text}**" if cell.best else f"<u>{text}</u>" if cell.second else text
    return f"{text} ≈" if cell.tied else text


def _md_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≈": r"$\approx$",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "–": "--",
    "·": r"$\cdot$",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{char: f"{{{char}}}" for char in "[]*"},  # at the start of a row LaTeX would read them as an option
}


def _tex(text: str) -> str:
    return "".join(_LATEX.get(char, char) for char in text)


def _tex_cell(cell: TableCell) -> str:
    text = _tex(_mean(cell))
    text = rf"\textbf{{{text}}}" if cell.best else rf"\underline{{{text}}}" if cell.second else text
    return text + r" $\approx$" if cell.tied else text


def _latex(table: Table) -> str:
    header, rows = _means(table, _tex, _tex_cell)
    lead = len(header) - len(table.metrics) - 1
    body = _tex_rows(header, rows, "l" * lead + "r" * (len(header) - lead))
    columns, differences = _long(table, _tex)
    if differences:
        body += "\n\\medskip\n\n" + _tex_rows(columns, differences, "l" * (len(columns) - 6) + "rrrrrl")
    foot = "\\\\\n".join(_tex(line) for line in table.foot)
    return (
        "% needs \\usepackage{booktabs}\n\\begin{table}\n\\centering\n\\small\n"
        f"\\caption{{{_tex(table.description or table.name)}}}\n\\label{{tab:{table.name}}}\n{body}\n"
        f"\\medskip\n\n\\begin{{minipage}}{{\\linewidth}}\\footnotesize\n{foot}\n\\end{{minipage}}\n\\end{{table}}\n"
    )


def _tex_rows(header: Sequence[str], rows: Sequence[Sequence[str]], shape: str) -> str:
    lines = [rf"\begin{{tabular}}{{{shape}}}", r"\toprule", " & ".join(header) + r" \\", r"\midrule"]
    lines += [" & ".join(row) + r" \\" for row in rows]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _csv(table: Table) -> str:
    return table.frame().to_csv(index=False, lineterminator="\n")


def _json(table: Table) -> str:
    frame = table.frame()
    rows = [{k: _plain(v) for k, v in row.items()} for row in frame.to_dict("records")]
    content = {
        "study": table.name,
        "description": table.description,
        "reference": table.reference,
        "unfinished": table.unfinished,
        "rows": rows,
        "foot": table.foot,
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _plain(value: object) -> object:
    """JSON has no NaN, which is what pandas makes of None in a column of numbers."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


_RENDERERS: dict[Format, Callable[[Table], str]] = {
    "text": _text,
    "markdown": _markdown,
    "latex": _latex,
    "csv": _csv,
    "json": _json,
}
