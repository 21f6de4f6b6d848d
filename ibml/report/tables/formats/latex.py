r"""Grids in LaTeX, with booktabs' rules and siunitx's columns.

A file that is made here can be compiled as it is and, unchanged, be \input into a paper.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from pylatexenc.latexencode import get_builtin_uni2latex_dict

from ibml.report.tables.formats.base import Listing, TableFormat
from ibml.report.tables.layout import (
    build_analysis_tables,
    build_difference_tables,
    build_mean_tables,
)
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import Column, Entry, Row, TableSpec

PACKAGES = "amssymb,booktabs,graphicx,siunitx"

# \@onlypreamble changes its meaning at \begin{document}: so the file knows whether it is inside of one.
_BEGIN = rf"""% \input this file into a paper that has \usepackage{{{PACKAGES}}}, or compile it as it is.
\expandafter\let\expandafter\ibmlonlypreamble\csname @onlypreamble\endcsname
\expandafter\let\expandafter\ibmlnotprerr\csname @notprerr\endcsname
\ifx\ibmlonlypreamble\ibmlnotprerr\let\ibmlend\relax\else
\documentclass{{article}}
\usepackage[margin=1.5cm,landscape]{{geometry}}
\usepackage{{{PACKAGES}}}
<PREAMBLE>\begin{{document}}
\def\ibmlend{{\end{{document}}}}
\fi
"""

_UNICODE = r"""% pdfLaTeX prints substitutes for some characters of this table. To print the characters,
% compile with XeLaTeX or LuaLaTeX and a font that has them, for example with this in the preamble:
% \usepackage{fontspec}\setmainfont{Noto Serif}
% For Chinese, Japanese and Korean also, with XeLaTeX and with LuaLaTeX:
% \usepackage{xeCJK}\setCJKmainfont{Noto Serif CJK SC}
% \usepackage{luatexja-fontspec}\setmainjfont{Noto Serif CJK SC}
\def\ibmlencoding{OT1}
\def\ibmlsubstitute#1#2{%
  \ifcsname u8:\detokenize{#1}\endcsname\else\expandafter\gdef\csname u8:\detokenize{#1}\endcsname{#2}\fi}
\def\ibmlneedsfonts#1#2{% letters that LaTeX's first fonts lack, and its newer ones have
  \expandafter\ifx\csname f@encoding\endcsname\ibmlencoding
    \expandafter\gdef\csname u8:\detokenize{#1}\endcsname{#2}\fi}
"""
_WIDE_LETTERS = r"""\ifdefined\XeTeXversion\IfFileExists{xeCJK.sty}{\usepackage{xeCJK}}{}\fi
\ifdefined\directlua\IfFileExists{luatexja-fontspec.sty}{\usepackage{luatexja-fontspec}}{}\fi
"""
_JOINERS = "\u200c\u200d"

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    '"': r"\symbol{34}",  # \textquotedbl is not in the encoding that LaTeX starts with
    "'": r"\textquotesingle{}",
    "`": r"\textasciigrave{}",
    "×": r"$\times$",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "→": r"$\rightarrow$",
    "−": r"$-$",
    "–": "--",
    "—": "---",
    "·": r"$\cdot$",
    "✓": r"$\checkmark$",
    "†": r"\dag{}",
    "µ": r"$\mu$",
    "ε": r"$\epsilon$",
    "ο": "o",
    "<": r"$<$",
    ">": r"$>$",
    "|": r"$|$",
    **{char: f"\\{char}" for char in "&%$#_{}"},
    **{
        char: f"{{{char}}}" for char in "[]*"
    },  # at the start of a row LaTeX would read them as an option
}
_MAX_WIDTH = 150
"""Characters of a line that fit beside the margins of a page in landscape; a wider table is shrunk."""
_APPROX = r"\approx"
_OGONEK = "\u0328"
_MATH_COMMAND = re.compile(r"\\ensuremath\{\\([A-Za-z]+)\}")
_FROM_LIBRARY = "±≈≤≥∞≠ΓΔΘΛΞΠΣΥΦΨΩαβγδζηθικλμνξπρςστυφχψω"
"""Characters that become commands of LaTeX in the text itself, since every LaTeX has these."""


def _find_math_command(char: str) -> str:
    """Return the name of the mathematical command for a character, without backslash; empty if there is none."""
    found = _MATH_COMMAND.fullmatch(get_builtin_uni2latex_dict().get(ord(char), ""))
    return found[1] if found else ""


_SPECIAL |= {char: rf"$\{_find_math_command(char)}$" for char in _FROM_LIBRARY}


def escape_latex(text: str) -> str:
    """Return a text that prints as it reads. Characters that pdfLaTeX lacks stay as they are: see `build_document`."""
    return "".join(map(_escape_char, unicodedata.normalize("NFC", text)))


def _escape_char(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if char.isascii():
        return char if char.isprintable() else " "
    return char if char.isprintable() or char in _JOINERS else _substitute(char)


def _is_common(char: str) -> bool:
    """Whether LaTeX prints a character whatever its engine and fonts are."""
    parts = unicodedata.normalize("NFKD", char)
    accented = "\u00c0" <= char <= "\u017f" and parts[0].isascii() and _OGONEK not in parts
    return char.isascii() or char in "ßæÆøØœŒłŁ" or accented


def _substitute(char: str) -> str:
    """Return similar ASCII text for a character, else its mathematical command if LaTeX knows it, else its number."""
    if char in _JOINERS:
        return ""
    parts = unicodedata.normalize("NFKD", char).replace("\N{FRACTION SLASH}", "/")
    plain = "".join(c for c in parts if c.isascii() and c.isprintable())
    if plain:
        return "".join(_SPECIAL.get(c, c) for c in plain)
    number, command = f"{{[}}U+{ord(char):04X}{{]}}", _find_math_command(char)
    return rf"\ifcsname {command}\endcsname$\{command}$\else {number}\fi" if command else number


def build_document(blocks: Sequence[str]) -> str:
    """Return floats as a file that compiles as it is.

    If some characters are beyond pdfLaTeX, the head of the file says how to print them, and has their substitutes.
    """
    text = "\n".join(blocks)
    rare = sorted({char for char in text if not _is_common(char)})
    wide = any(unicodedata.east_asian_width(char) in "WF" for char in rare)
    begin = _BEGIN.replace("<PREAMBLE>", _WIDE_LETTERS if wide else "")
    return f"{_build_unicode_preamble(rare)}{begin}{text}\n\\ibmlend\n"


def _build_unicode_preamble(rare: Sequence[str]) -> str:
    if not rare:
        return ""
    macros = (r"\ibmlneedsfonts" if char <= "\u017f" else r"\ibmlsubstitute" for char in rare)
    lines = (
        f"{macro}{{{char}}}{{{_substitute(char)}}}\n"
        for macro, char in zip(macros, rare, strict=True)
    )
    return _UNICODE + "".join(lines)


def render_float(grid: TableSpec, caption: str, label: str, foot: Sequence[str] = ()) -> str:
    """A grid as a float; `caption` and `notes` are plain text."""
    lines = ["\\begin{table}", "\\centering", "\\small"]
    if any(column.kind == "measure" for column in grid.columns):
        # siunitx' bold and its marks behind numbers need text instead of mathematics
        lines.append(
            "\\sisetup{separate-uncertainty, detect-weight, mode=text, table-align-text-post=false}"
        )
    made = render_tabular(grid).rstrip()
    if _measure_width(grid) > _MAX_WIDTH:
        made = f"\\resizebox{{\\linewidth}}{{!}}{{%\n{made}}}"
    lines += [rf"\caption{{{escape_latex(caption)}}}", rf"\label{{{_sanitize_label(label)}}}", made]
    if foot:
        text = "\\\\\n".join(map(escape_latex, foot))
        lines += [
            "",
            "\\medskip",
            f"\\begin{{minipage}}{{\\linewidth}}\\footnotesize\n{text}\n\\end{{minipage}}",
        ]
    return "\n".join([*lines, "\\end{table}", ""])


def _sanitize_label(label: str) -> str:
    """A label is no text: in one, LaTeX carries out what it reads."""
    return re.sub(r"[^A-Za-z0-9:._-]", "-", label)


def _measure_width(grid: TableSpec) -> int:
    """How many characters a line of a grid takes."""
    columns = enumerate(grid.columns)
    return sum(
        2 + max([len(c.heading), *(len(row[i].text) for row in grid.entries)]) for i, c in columns
    )


def render_tabular(grid: TableSpec) -> str:
    """The tabular alone."""
    shape = " ".join(
        _get_column_spec(column, [row[i] for row in grid.entries])
        for i, column in enumerate(grid.columns)
    )
    header = " & ".join(_format_heading(column) for column in grid.columns)
    lines = [rf"\begin{{tabular}}{{{shape}}}", r"\toprule", rf"{header} \\", r"\midrule"]
    for row in grid.rows:
        if isinstance(row, str):
            lines.append(
                rf"\multicolumn{{{len(grid.columns)}}}{{l}}{{\textit{{{escape_latex(row)}}}}} \\"
            )
        else:
            cells = (
                _format_cell(entry, column) for entry, column in zip(row, grid.columns, strict=True)
            )
            lines.append(rf"{' & '.join(cells)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _format_heading(column: Column) -> str:
    return (
        f"{{{escape_latex(column.heading)}}}"
        if column.kind == "measure"
        else escape_latex(column.heading)
    )


def _get_column_spec(column: Column, entries: Sequence[Entry]) -> str:
    if column.kind != "measure":
        return {"name": "l", "words": "l", "mark": "c", "number": "r"}[column.kind]
    texts = [
        entry.text.split(" ± ")
        for entry in entries
        if entry.summary and entry.summary.mean is not None
    ]
    digits = max((entry.digits for entry in entries), default=0)
    whole = max((len(parts[0].split(".")[0].lstrip("-")) for parts in texts), default=1)
    sign = "-" if any(parts[0].startswith("-") for parts in texts) else ""
    spread = max(
        (len(parts[1].replace(".", "").lstrip("0")) for parts in texts if len(parts) > 1), default=0
    )
    uncertainty = f"({max(spread, digits, 1)})" if any(len(parts) > 1 for parts in texts) else ""
    decimals = f".{digits}" if digits else ""
    longest = max((entry.marks for entry in entries), key=len, default="")
    behind = rf",table-space-text-post={{{_format_marks(longest)}}}" if longest else ""
    return f"S[table-format={sign}{whole}{decimals}{uncertainty}{behind}]"


def _format_cell(entry: Entry, column: Column) -> str:
    if column.kind != "measure":
        return escape_latex(entry.text)
    marks = _format_marks(entry.marks)
    if entry.summary is None or entry.summary.mean is None:
        return f"{{{escape_latex(entry.text)}{marks}}}"
    mean, _, spread = entry.text.partition(" ± ")
    if (
        entry.emphasis == "second"
    ):  # siunitx cannot underline a number: one that is in braces stands by itself
        text = rf"{mean} \pm {spread}" if spread else mean
        return rf"{{\underline{{${text}$}}{marks}}}"
    number = f"{mean}({_format_spread(spread)})" if spread else mean
    behind = f" {{{marks}}}" if marks else ""
    return rf"\bfseries {number}{behind}" if entry.emphasis == "best" else f"{number}{behind}"


def _format_marks(marks: str) -> str:
    return rf"\,$^{{{marks.replace('≈', _APPROX)}}}$" if marks else ""


def _format_spread(spread: str) -> str:
    """A spread in units of the last digit, as siunitx reads it: 0.85 -> 85."""
    return spread.replace(".", "").lstrip("0") or "0"


_ROWS_PER_PAGE = 40


class LatexFormat(TableFormat):
    """LaTeX floats in a file that compiles, and that a paper can \\input."""

    def render_table(self, table: Table) -> str:
        study = table.study
        caption = study.table.caption or study.description or study.name
        label = study.table.label or f"tab:{study.name}"
        shown = _split_into_pages(build_mean_tables(table))
        blocks = []
        for position, grid in enumerate(shown, start=1):
            suffix = f"-{position}" if len(shown) > 1 else ""
            words = f"{caption} {grid.title.partition(': ')[2]}" if len(shown) > 1 else caption
            foot = table.notes if position == len(shown) else ()
            blocks.append(render_float(grid, words, label + suffix, foot))
        for position, grid in enumerate(
            _split_into_pages(build_difference_tables(table) + build_analysis_tables(table)),
            start=1,
        ):
            blocks.append(
                render_float(grid, f"{study.name}: {grid.title}", f"{label}-more-{position}")
            )
        return build_document(blocks)

    def render_listing(self, listing: Listing) -> str:
        return build_document([render_float(listing.grid, listing.grid.title, listing.label)])


def _split_into_pages(found: list[TableSpec]) -> list[TableSpec]:
    """Grids cut where they would not fit on a page, at a heading if there is one: LaTeX does not break a float."""
    pages = []
    for grid in found:
        parts: list[list[Row | str]] = [[]]
        for row in grid.rows:
            full = _ROWS_PER_PAGE if not isinstance(row, str) else _ROWS_PER_PAGE // 2
            if len(parts[-1]) >= full:
                parts.append([])
            parts[-1].append(row)
        pages += [TableSpec(grid.title, grid.columns, tuple(rows)) for rows in parts]
    return pages
