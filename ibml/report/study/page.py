"""The report of a study: one page that stands alone, its figures, and its table in every format."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from importlib.resources import files

from markupsafe import Markup

from ibml.report.figures.style import FigureForm, save
from ibml.report.study.appendix import Links, changes, command, configuration, failures, origin, runs
from ibml.report.study.conclusions import answers, study_answer
from ibml.report.study.figure_data import Curves
from ibml.report.study.figure_spec import Drawing
from ibml.report.study.figures import drawings
from ibml.report.study.tuning import tuning_grid
from ibml.report.tables.formats.html import environment
from ibml.report.tables.layout import analysis_grids, differences, means
from ibml.report.tables.notes import budget
from ibml.report.tables.render import render_files
from ibml.report.tables.results import Results, mixtures
from ibml.report.tables.table import Table
from ibml.report.tables.table_spec import Grid, capital

PAGE = "report.html"
FIGURES = "figures"
FORMS: tuple[FigureForm, ...] = ("png", "pdf")
_LARGEST_SVG = 200_000
_LONG = 40
"""Rows from which a table is folded."""
_PIXELS_PER_POINT = 96 / 72
_SIGNS = {"helps": "▲", "hurts": "▼", "helps and hurts": "◆", "no effect detected": "●"}


@dataclass(frozen=True)
class _Image:
    """A figure as a page has it; width and height in CSS pixels."""

    drawing: Drawing
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class _Shown:
    """A grid, and whether it is folded at first."""

    title: str
    grid: Grid
    folded: bool


def study_files(
    table: Table, results: Results, curves: Curves, links: Links, forms: Collection[FigureForm] = FORMS
) -> dict[str, str | bytes]:
    """The files of a study's report: page, table in every format, and figures in these forms.

    `curves`: run id -> metric -> values, epoch by epoch, of `curve_metrics`; may be empty. `links`: run id -> address.
    """
    drawn = drawings(table, results, curves)
    page = _page(table, results, links, [_image(drawing) for drawing in drawn], tuple(forms))
    figures = {f"{FIGURES}/{d.name}.{form}": save(d.figure, form) for d in drawn for form in forms}
    return {PAGE: page, **render_files(table), **figures}


def _image(drawing: Drawing) -> _Image:
    """SVG, which is sharp at any size, unless it has so many points that PNG is far smaller."""
    svg = save(drawing.figure, "svg")
    viewed = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert viewed is not None, "matplotlib writes the size of what it draws"
    width, height = (round(float(points) * _PIXELS_PER_POINT) for points in viewed.groups())
    large = len(svg) > _LARGEST_SVG
    kind, content = ("png", save(drawing.figure, "png")) if large else ("svg+xml", svg)
    return _Image(drawing, f"data:image/{kind};base64,{base64.b64encode(content).decode()}", width, height)


def _page(table: Table, results: Results, links: Links, images: list[_Image], forms: tuple[str, ...]) -> str:
    study = table.study
    css, script = (_part(name) for name in ("page.css", "page.js"))
    lost, sections = failures(table, results, links), list(dict.fromkeys(i.drawing.section for i in images))
    return (
        environment()
        .get_template("page.html")
        .render(
            css=Markup(css),
            script=Markup(script),
            policy=_policy(css, script),
            study=study,
            shown=study.table.shown,
            summary=study_answer(table),
            answers=answers(table),
            signs=_SIGNS,
            forms=forms,
            mixed=mixtures(results),
            facts=_facts(table, results),
            tables=_tables(table),
            foot=table.foot,
            figures={name: [i for i in images if i.drawing.section == name] for name in sections},
            no_curves=bool(images) and "Epoch by epoch" not in sections,
            changes=_untitled(changes(study)),
            configuration=_untitled(configuration(study)),
            budget=budget(study),
            tuning=_untitled(tuning_grid(study)) if study.tuning else None,
            failures=_untitled(lost),
            runs=_untitled(runs(table, results, links)),
            origin=origin(results),
            command=command(study),
        )
    )


def _part(name: str) -> str:
    return (files("ibml.report") / "templates" / name).read_text(encoding="utf-8")


def _policy(css: str, script: str) -> str:
    """Nothing but this very style, this very script and images in the page."""
    style_hash, script_hash = (
        base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, script)
    )
    return (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; img-src data:;"
        " base-uri 'none'; form-action 'none'"
    )


def _facts(table: Table, results: Results) -> list[tuple[str, str]]:
    study = table.study
    arms = f"{len(study.arms)}, compared with {study.table.shown(study.reference)}"
    seeds = f"{len(study.seeds)}" if study.adaptive is None else f"{study.adaptive.min} to {study.adaptive.max}"
    done = len(results.trials) - table.unfinished
    found: Mapping[str, str] = {
        "design": study.design.type.replace("_", " "),
        "arms": arms,
        "data sets": ", ".join(map(study.table.shown, study.datasets)),
        "seeds": seeds,
        "trials": f"{done} of {len(results.trials)} with a result",
    }
    return list(found.items())


def _tables(table: Table) -> list[_Shown]:
    """The grids of the table; what is long, and what says the same in another way, is folded."""
    first = [replace(grid, title=f"means{grid.title.removeprefix(table.name)}") for grid in means(table)]
    shown = [_Shown(capital(g.title), _untitled(g), len(g.rows) > _LONG) for g in [*first, *differences(table)]]
    for grid in analysis_grids(table):
        told = grid.title.startswith(("main effects", "gain"))
        shown.append(_Shown(capital(grid.title), _untitled(grid), not told or len(grid.rows) > _LONG))
    return shown


def _untitled(grid: Grid) -> Grid:
    """The title stands over the box in which the table scrolls, and not within it."""
    return replace(grid, title="")
