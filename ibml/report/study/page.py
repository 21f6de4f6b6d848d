"""Report of a study: a self-contained page, its figures, and its table in every format."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Collection
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
from ibml.report.study.figures import EPOCH_SECTION, build_figures
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
"""A table with more rows is folded."""
_PIXELS_PER_POINT = 96 / 72
_SIGNS = {"helps": "▲", "hurts": "▼", "helps and hurts": "◆", "no effect detected": "●"}


@dataclass(frozen=True)
class _Image:
    """A figure embedded in a page.

    Attributes:
        spec: The figure with its texts.
        source: Content as a data URL.
        width: Width in CSS pixels.
        height: Height in CSS pixels.
    """

    spec: FigureSpec
    source: str
    width: int
    height: int


@dataclass(frozen=True)
class _PageTable:
    """A table of a page.

    Attributes:
        title: Heading.
        spec: The table without its title.
        is_folded: True if the page hides it at first.
    """

    title: str
    spec: TableSpec
    is_folded: bool


def render_study_report(
    table: Table,
    results: Results,
    curves: Curves,
    links: Links,
    forms: Collection[FigureForm] = FORMS,
) -> dict[str, str | bytes]:
    """Render the report of a study.

    Args:
        table: The table of the study.
        results: Results of the study.
        curves: Per-epoch values by run (see `list_curve_metrics`); may be empty.
        links: Function from run id to address.
        forms: File formats of the figures.

    Returns:
        Path -> content of the page, the table in every format, and the figures.
    """
    specs = build_figures(table, results, curves)
    images = [_build_image(spec) for spec in specs]
    report: dict[str, str | bytes] = {
        PAGE: _render_page(table, results, links, images, tuple(forms))
    }
    report |= render_files(table)
    for spec in specs:
        for form in forms:
            report[f"{FIGURES}/{spec.name}.{form}"] = render_figure(spec.figure, form)
    return report


def _build_image(spec: FigureSpec) -> _Image:
    """Embed a figure as SVG, or as PNG if the SVG is large because of many points."""
    svg = render_figure(spec.figure, "svg")
    view_box = re.search(rb'viewBox="0 0 ([\d.]+) ([\d.]+)"', svg)
    assert view_box is not None, "matplotlib writes the view box of every SVG"
    width, height = (round(float(points) * _PIXELS_PER_POINT) for points in view_box.groups())
    kind, content = "svg+xml", svg
    if len(svg) > _MAX_SVG_BYTES:
        kind, content = "png", render_figure(spec.figure, "png")
    source = f"data:image/{kind};base64,{base64.b64encode(content).decode()}"
    return _Image(spec, source, width, height)


def _render_page(
    table: Table, results: Results, links: Links, images: list[_Image], forms: tuple[str, ...]
) -> str:
    study = table.study
    css, script = _read_template("page.css"), _read_template("page.js")
    images_by_section: dict[str, list[_Image]] = {}
    for image in images:
        images_by_section.setdefault(image.spec.section, []).append(image)
    template = get_environment().get_template("page.html")
    return template.render(
        css=Markup(css),
        script=Markup(script),
        policy=_build_content_policy(css, script),
        study=study,
        get_name=study.table.get_display_name,
        summary=build_study_summary(table),
        conclusions=build_conclusions(table),
        signs=_SIGNS,
        forms=forms,
        mixtures=find_mixtures(results),
        facts=_list_facts(table, results),
        tables=_build_tables(table),
        notes=table.notes,
        figures=images_by_section,
        no_curves=bool(images) and EPOCH_SECTION not in images_by_section,
        changes=_remove_title(build_change_table(study)),
        configuration=_remove_title(build_configuration_table(study)),
        budget=format_budget_note(study),
        tuning=_remove_title(build_tuning_table(study)) if study.tuning else None,
        failures=_remove_title(build_failure_table(table, results, links)),
        runs=_remove_title(build_run_table(table, results, links)),
        origin=collect_origin(results),
        command=format_command(study),
    )


def _read_template(name: str) -> str:
    return (files("ibml.report") / "templates" / name).read_text(encoding="utf-8")


def _build_content_policy(css: str, script: str) -> str:
    """Return a policy that allows only this style, this script and embedded images."""
    return (
        f"default-src 'none'; style-src '{_hash_source(css)}'; script-src '{_hash_source(script)}';"
        " img-src data:; base-uri 'none'; form-action 'none'"
    )


def _hash_source(text: str) -> str:
    digest = hashlib.sha256(text.encode()).digest()
    return f"sha256-{base64.b64encode(digest).decode()}"


def _list_facts(table: Table, results: Results) -> list[tuple[str, str]]:
    """Return the key facts of a study as pairs of term and description."""
    study = table.study
    reference = study.table.get_display_name(study.reference)
    seeds = f"{len(study.seeds)}"
    if study.adaptive is not None:
        seeds = f"{study.adaptive.min} to {study.adaptive.max}"
    done = len(results.trials) - table.unfinished
    return [
        ("design", study.design.type.replace("_", " ")),
        ("arms", f"{len(study.arms)}, compared with {reference}"),
        ("data sets", ", ".join(map(study.table.get_display_name, study.datasets))),
        ("seeds", seeds),
        ("trials", f"{done} of {len(results.trials)} with a result"),
    ]


def _build_tables(table: Table) -> list[_PageTable]:
    """Return the tables of the page, folded if they are long or a second view of the same."""
    tables = []
    for spec in build_mean_tables(table):
        title = f"means{spec.title.removeprefix(table.name)}"
        tables.append(_build_page_table(replace(spec, title=title)))
    for spec in build_difference_tables(table):
        tables.append(_build_page_table(spec))
    for spec in build_analysis_tables(table):
        is_primary = spec.title.startswith(("main effects", "gain"))
        tables.append(_build_page_table(spec, is_folded=not is_primary))
    return tables


def _build_page_table(spec: TableSpec, is_folded: bool = False) -> _PageTable:
    is_long = len(spec.rows) > _MAX_OPEN_ROWS
    return _PageTable(capitalize_first(spec.title), _remove_title(spec), is_folded or is_long)


def _remove_title(spec: TableSpec) -> TableSpec:
    """Remove the title of a table; the page shows it outside the box that scrolls."""
    return replace(spec, title="")
