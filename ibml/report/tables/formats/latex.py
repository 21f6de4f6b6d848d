r"""Tables in LaTeX, with booktabs rules and siunitx columns.

A file compiles as it is, and can be \input into a paper without changes.
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

# \@onlypreamble is redefined at \begin{document}, which shows whether the file is \input there.
_BEGIN = (
    rf"% \input this file into a paper that has \usepackage{{{PACKAGES}}},"
    " or compile it as it is."
    rf"""
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
)

_UNICODE = (
    "% pdfLaTeX prints substitutes for some characters of this table."
    r""" To print the characters,
% compile with XeLaTeX or LuaLaTeX and a font that has them, for example with this in the preamble:
% \usepackage{fontspec}\setmainfont{Noto Serif}
% For Chinese, Japanese and Korean also, with XeLaTeX and with LuaLaTeX:
% \usepackage{xeCJK}\setCJKmainfont{Noto Serif CJK SC}
% \usepackage{luatexja-fontspec}\setmainjfont{Noto Serif CJK SC}
\def\ibmlencoding{OT1}
\def\ibmlsubstitute#1#2{%
  \ifcsname u8:\detokenize{#1}\endcsname\else"""
    r"""\expandafter\gdef\csname u8:\detokenize{#1}\endcsname{#2}\fi}
\def\ibmlneedsfonts#1#2{% letters that LaTeX's first fonts lack, and its newer ones have
  \expandafter\ifx\csname f@encoding\endcsname\ibmlencoding
    \expandafter\gdef\csname u8:\detokenize{#1}\endcsname{#2}\fi}
"""
)
_WIDE_LETTERS = r"""\ifdefined\XeTeXversion\IfFileExists{xeCJK.sty}{\usepackage{xeCJK}}{}\fi
\ifdefined\directlua\IfFileExists{luatexja-fontspec.sty}{\usepackage{luatexja-fontspec}}{}\fi
"""
_JOINERS = "\u200c\u200d"

_SPECIAL = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    '"': r"\symbol{34}",  # \textquotedbl is missing in LaTeX's default encoding
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
    },  # LaTeX reads them as an option at the start of a row
}
_MAX_WIDTH = 150
"""Characters of a line that fit on a landscape page; a wider table is shrunk."""
_APPROX = r"\approx"
_OGONEK = "\u0328"
_MATH_COMMAND = re.compile(r"\\ensuremath\{\\([A-Za-z]+)\}")
_FROM_LIBRARY = "±≈≤≥∞≠ΓΔΘΛΞΠΣΥΦΨΩαβγδζηθικλμνξπρςστυφχψω"
"""Characters that are written as LaTeX commands, since every LaTeX has these commands."""
_ROWS_PER_PAGE = 40


def _find_math_command(char: str) -> str:
    """Return the name of a character's math command, without backslash; empty if it has no one."""
    found = _MATH_COMMAND.fullmatch(get_builtin_uni2latex_dict().get(ord(char), ""))
    return found[1] if found else ""


_SPECIAL |= {char: rf"$\{_find_math_command(char)}$" for char in _FROM_LIBRARY}


def escape_latex(text: str) -> str:
    """Return LaTeX source that prints a text literally.

    Characters that pdfLaTeX lacks stay as they are; `build_document` defines substitutes.
    """
    return "".join(map(_escape_char, unicodedata.normalize("NFC", text)))


def _escape_char(char: str) -> str:
    if char in _SPECIAL:
        return _SPECIAL[char]
    if char.isascii():
        return char if char.isprintable() else " "
    if char.isprintable() or char in _JOINERS:
        return char
    return _substitute(char)


def _is_common(char: str) -> bool:
    """Return True if LaTeX prints the character with every engine and font."""
    parts = unicodedata.normalize("NFKD", char)
    accented = "\u00c0" <= char <= "\u017f" and parts[0].isascii() and _OGONEK not in parts
    return char.isascii() or char in "ßæÆøØœŒłŁ" or accented


def _substitute(char: str) -> str:
    """Return similar ASCII text, else the math command if LaTeX has it, else the code point."""
    if char in _JOINERS:
        return ""
    parts = unicodedata.normalize("NFKD", char).replace("\N{FRACTION SLASH}", "/")
    plain = [part for part in parts if part.isascii() and part.isprintable()]
    if plain:
        return "".join(_SPECIAL.get(part, part) for part in plain)
    code_point = f"{{[}}U+{ord(char):04X}{{]}}"
    command = _find_math_command(char)
    if not command:
        return code_point
    return rf"\ifcsname {command}\endcsname$\{command}$\else {code_point}\fi"


def build_document(blocks: Sequence[str]) -> str:
    """Return floats as a file that compiles.

    If pdfLaTeX lacks some of the characters, the head of the file defines substitutes and explains
    how to print the characters themselves.

    Args:
        blocks: LaTeX source of the floats.

    Returns:
        LaTeX source of the file.
    """
    text = "\n".join(blocks)
    rare = sorted(char for char in set(text) if not _is_common(char))
    is_wide = any(unicodedata.east_asian_width(char) in "WF" for char in rare)
    preamble = _WIDE_LETTERS if is_wide else ""
    begin = _BEGIN.replace("<PREAMBLE>", preamble)
    return f"{_build_unicode_preamble(rare)}{begin}{text}\n\\ibmlend\n"


def _build_unicode_preamble(rare: Sequence[str]) -> str:
    if not rare:
        return ""
    lines = []
    for char in rare:
        macro = r"\ibmlneedsfonts" if char <= "\u017f" else r"\ibmlsubstitute"
        lines.append(f"{macro}{{{char}}}{{{_substitute(char)}}}\n")
    return _UNICODE + "".join(lines)


def render_float(spec: TableSpec, caption: str, label: str, notes: Sequence[str] = ()) -> str:
    r"""Render one table as a float.

    Args:
        spec: The table; its title is not used.
        caption: Caption as plain text.
        label: Label for \ref.
        notes: Notes under the table as plain text.

    Returns:
        LaTeX source of a `table` environment.
    """
    lines = ["\\begin{table}", "\\centering", "\\small"]
    if any(column.kind == "measure" for column in spec.columns):
        # siunitx prints bold numbers and marks behind numbers only in text mode.
        lines.append(
            "\\sisetup{separate-uncertainty, detect-weight, mode=text, table-align-text-post=false}"
        )
    tabular = render_tabular(spec).rstrip()
    if _measure_width(spec) > _MAX_WIDTH:
        tabular = f"\\resizebox{{\\linewidth}}{{!}}{{%\n{tabular}}}"
    lines.append(rf"\caption{{{escape_latex(caption)}}}")
    lines += [rf"\label{{{_sanitize_label(label)}}}", tabular]
    if notes:
        text = "\\\\\n".join(map(escape_latex, notes))
        minipage = f"\\begin{{minipage}}{{\\linewidth}}\\footnotesize\n{text}\n\\end{{minipage}}"
        lines += ["", "\\medskip", minipage]
    return "\n".join([*lines, "\\end{table}", ""])


def _sanitize_label(label: str) -> str:
    """Replace the characters of a label that LaTeX would interpret."""
    return re.sub(r"[^A-Za-z0-9:._-]", "-", label)


def _measure_width(spec: TableSpec) -> int:
    """Return the number of characters in a line of a table."""
    width = 0
    for position, column in enumerate(spec.columns):
        texts = [column.heading, *(row[position].text for row in spec.entries)]
        width += 2 + max(map(len, texts))
    return width


def render_tabular(spec: TableSpec) -> str:
    """Render one table as a `tabular` environment, without float and caption."""
    shapes = []
    for position, column in enumerate(spec.columns):
        shapes.append(_get_column_spec(column, [row[position] for row in spec.entries]))
    header = " & ".join(map(_format_heading, spec.columns))
    lines = [rf"\begin{{tabular}}{{{' '.join(shapes)}}}", r"\toprule", rf"{header} \\", r"\midrule"]
    for row in spec.rows:
        if isinstance(row, str):
            heading = rf"\textit{{{escape_latex(row)}}}"
            lines.append(rf"\multicolumn{{{len(spec.columns)}}}{{l}}{{{heading}}} \\")
        else:
            cells = map(_format_cell, row, spec.columns)
            lines.append(rf"{' & '.join(cells)} \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", ""])


def _format_heading(column: Column) -> str:
    heading = escape_latex(column.heading)
    return f"{{{heading}}}" if column.kind == "measure" else heading


def _get_column_spec(column: Column, entries: Sequence[Entry]) -> str:
    """Return the letter of a column, or siunitx's `S` with the format of its numbers."""
    if column.kind != "measure":
        return {"name": "l", "words": "l", "mark": "c", "number": "r"}[column.kind]
    digits = max((entry.digits for entry in entries), default=0)
    whole_digits, spread_digits = [], []
    sign = ""
    for entry in entries:
        if entry.summary is None or entry.summary.mean is None:
            continue
        mean, _, spread = entry.text.partition(" ± ")
        whole_digits.append(len(mean.split(".")[0].lstrip("-")))
        if mean.startswith("-"):
            sign = "-"
        if spread:
            spread_digits.append(len(spread.replace(".", "").lstrip("0")))
    whole = max(whole_digits, default=1)
    decimals = f".{digits}" if digits else ""
    uncertainty = ""
    if spread_digits:
        uncertainty = f"({max(*spread_digits, digits, 1)})"
    behind = _reserve_space_for_marks(entries)
    return f"S[table-format={sign}{whole}{decimals}{uncertainty}{behind}]"


def _reserve_space_for_marks(entries: Sequence[Entry]) -> str:
    """Return the option of a column for its longest marks, empty if there are none."""
    longest = max((entry.marks for entry in entries), key=len, default="")
    return rf",table-space-text-post={{{_format_marks(longest)}}}" if longest else ""


def _format_cell(entry: Entry, column: Column) -> str:
    if column.kind != "measure":
        return escape_latex(entry.text)
    marks = _format_marks(entry.marks)
    if entry.summary is None or entry.summary.mean is None:
        return f"{{{escape_latex(entry.text)}{marks}}}"
    mean, _, spread = entry.text.partition(" ± ")
    if entry.emphasis == "second":
        # siunitx cannot underline a number, so braces keep the number away from it.
        number = rf"{mean} \pm {spread}" if spread else mean
        return rf"{{\underline{{${number}$}}{marks}}}"
    number = f"{mean}({_format_spread(spread)})" if spread else mean
    if marks:
        number += f" {{{marks}}}"
    return rf"\bfseries {number}" if entry.emphasis == "best" else number


def _format_marks(marks: str) -> str:
    return rf"\,$^{{{marks.replace('≈', _APPROX)}}}$" if marks else ""


def _format_spread(spread: str) -> str:
    """Return a spread in units of the last digit, as siunitx expects it: 0.85 -> 85."""
    return spread.replace(".", "").lstrip("0") or "0"


class LatexFormat(TableFormat):
    r"""LaTeX floats in a file that compiles, and that a paper can \input."""

    def render_table(self, table: Table) -> str:
        """Render means with caption and notes, then differences and analyses."""
        study = table.study
        caption = study.table.caption or study.description or study.name
        label = study.table.label or f"tab:{study.name}"
        mean_pages = _split_into_pages(build_mean_tables(table))
        blocks = []
        for position, spec in enumerate(mean_pages, start=1):
            page_caption, page_label = caption, label
            if len(mean_pages) > 1:
                page_caption = f"{caption} {spec.title.partition(': ')[2]}"
                page_label = f"{label}-{position}"
            notes = table.notes if position == len(mean_pages) else ()
            blocks.append(render_float(spec, page_caption, page_label, notes))
        further = build_difference_tables(table) + build_analysis_tables(table)
        for position, spec in enumerate(_split_into_pages(further), start=1):
            page_label = f"{label}-more-{position}"
            blocks.append(render_float(spec, f"{study.name}: {spec.title}", page_label))
        return build_document(blocks)

    def render_listing(self, listing: Listing) -> str:
        """Render the table of a listing as one float."""
        spec = listing.spec
        return build_document([render_float(spec, spec.title, listing.label)])


def _split_into_pages(specs: list[TableSpec]) -> list[TableSpec]:
    """Split tables that do not fit on a page, preferably at a heading.

    LaTeX does not break a float across pages.
    """
    pages = []
    for spec in specs:
        parts: list[list[Row | str]] = [[]]
        for row in spec.rows:
            is_heading = isinstance(row, str)
            limit = _ROWS_PER_PAGE // 2 if is_heading else _ROWS_PER_PAGE
            if len(parts[-1]) >= limit:
                parts.append([])
            parts[-1].append(row)
        for rows in parts:
            pages.append(TableSpec(spec.title, spec.columns, tuple(rows)))
    return pages
