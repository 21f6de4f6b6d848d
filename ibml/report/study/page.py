"""The report of a study: one page that stands alone, its figures, and its table in every format."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files

from markupsafe import Markup

from ibml.report.figures.style import FigureForm, render_figure
from ibml.report.study.appendix import (
    Links,
    build_change_table,
    build_configuration_table,
    build_failure_table,
    build_run_table,
    collect_origin,
    format_command,
)
from ibml.report.study.conclusions import build_conclusions, build_study_summary
from ibml.report.study.figure_data import Curves
from ibml.report.study.figure_spec import FigureSpec
from ibml.report.study.figures import build_figures
from ibml.report.study.tuning import build_tuning_table
from ibml.report.tables.formats.html import get_environment
from ibml.report.tables.layout import (
    build_analysis_tables,
    build_difference_tables,
    build_mean_tables,
)
from ibml.report.tables.notes import format_budget_note
from ibml.report.tables.render import render_files
from ibml.report.tables.results import Results, find_mixtures
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import TableSpec, capitalize_first

PAGE = "report.html"
FIGURES = "figures"
FORMS: tuple[FigureForm, ...] = ("png", "pdf")
_MAX_SVG_BYTES = 200_000
_MAX_OPEN_ROWS = 40
"""Rows from which a table is folded."""
_PIXELS_PER_POINT = 96 / 72
_SIGNS = {"helps": "▲", "hurts": "▼", "helps and hurts": "◆", "no effect detected": "●"}


@dataclass(frozen=True)
class _Image:
    """A figure as a page has it; width and height in CSS pixels."""

    drawing: FigureSpec
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class _PageTable:
    """A grid, and whether it is folded at first."""

    title: str
    grid: TableSpec
    folded: bool


def render_study_report(
    table: Table,
    results: Results,
    curves: Curves,
    links: Links,
    forms: Collection[FigureForm] = FORMS,
) -> dict[str, str | bytes]:
    """The files of a study's report: page, table in every format, and figures in these forms.

    `curves`: run id -> metric -> values, epoch by epoch, of `curve_metrics`; may be empty. `links`: run id -> address.
    """
    drawn = build_figures(table, results, curves)
    page = _render_page(
        table, results, links, [_build_image(drawing) for drawing in drawn], tuple(forms)
    )
    figures = {
        f"{FIGURES}/{d.name}.{form}": render_figure(d.figure, form) for d in drawn for form in forms
    }
    return {PAGE: page, **render_files(table), **figures}


def _build_image(drawing: FigureSpec) -> _Image:
    """SVG, which is sharp at any size, unless it has so many points that PNG is far smaller."""
    svg = render_figure(drawing.figure, "svg")
    viewed = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert viewed is not None, "matplotlib writes the size of what it draws"
    width, height = (round(float(points) * _PIXELS_PER_POINT) for points in viewed.groups())
    large = len(svg) > _MAX_SVG_BYTES
    kind, content = ("png", render_figure(drawing.figure, "png")) if large else ("svg+xml", svg)
    return _Image(
        drawing, f"data:image/{kind};base64,{base64.b64encode(content).decode()}", width, height
    )


def _render_page(
    table: Table, results: Results, links: Links, images: list[_Image], forms: tuple[str, ...]
) -> str:
    study = table.study
    css, script = (_read_template(name) for name in ("page.css", "page.js"))
    lost, sections = (
        build_failure_table(table, results, links),
        list(dict.fromkeys(i.drawing.section for i in images)),
    )
    return (
        get_environment()
        .get_template("page.html")
        .render(
            css=Markup(css),
            script=Markup(script),
            policy=_build_content_policy(css, script),
            study=study,
            shown=study.table.get_display_name,
            summary=build_study_summary(table),
            answers=build_conclusions(table),
            signs=_SIGNS,
            forms=forms,
            mixed=find_mixtures(results),
            facts=_list_facts(table, results),
            tables=_build_tables(table),
            foot=table.notes,
            figures={name: [i for i in images if i.drawing.section == name] for name in sections},
            no_curves=bool(images) and "Epoch by epoch" not in sections,
            changes=_remove_title(build_change_table(study)),
            configuration=_remove_title(build_configuration_table(study)),
            budget=format_budget_note(study),
            tuning=_remove_title(build_tuning_table(study)) if study.tuning else None,
            failures=_remove_title(lost),
            runs=_remove_title(build_run_table(table, results, links)),
            origin=collect_origin(results),
            command=format_command(study),
        )
    )


def _read_template(name: str) -> str:
    return (files("ibml.report") / "templates" / name).read_text(encoding="utf-8")


def _build_content_policy(css: str, script: str) -> str:
    """Nothing but this very style, this very script and images in the page."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, script)
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _list_facts(table: Table, results: Results) -> list[tuple[str, str]]:
    study = table.study
    arms = f"{len(study.arms)}, compared with {study.table.get_display_name(study.reference)}"
    seeds = (
        f"{len(study.seeds)}"
        if study.adaptive is None
        else f"{study.adaptive.min} to {study.adaptive.max}"
    )
    done = len(results.trials) - table.unfinished
    found: Mapping[str, str] = {
        "design": study.design.type.replace("_", " "),
        "arms": arms,
        "data sets": ", ".join(map(study.table.get_display_name, study.datasets)),
        "seeds": seeds,
        "trials": f"{done} of {len(results.trials)} with a result",
    }
    return list(found.items())


def _build_tables(table: Table) -> list[_PageTable]:
    """The grids of the table; what is long, and what says the same in another way, is folded."""
    first = [
        replace(grid, title=f"means{grid.title.removeprefix(table.name)}")
        for grid in build_mean_tables(table)
    ]
    shown = [
        _PageTable(capitalize_first(g.title), _remove_title(g), len(g.rows) > _MAX_OPEN_ROWS)
        for g in [*first, *build_difference_tables(table)]
    ]
    for grid in build_analysis_tables(table):
        told = grid.title.startswith(("main effects", "gain"))
        shown.append(
            _PageTable(
                capitalize_first(grid.title),
                _remove_title(grid),
                not told or len(grid.rows) > _MAX_OPEN_ROWS,
            )
        )
    return shown


def _remove_title(grid: TableSpec) -> TableSpec:
    """The title stands over the box in which the table scrolls, and not within it."""
    return replace(grid, title="")
