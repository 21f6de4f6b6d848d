"""Every table format of the registry."""

from __future__ import annotations

import pytest

from ibml.records import Tuning
from ibml.report.study.page import render_study_report
from ibml.report.study.tuning import render_tuning
from ibml.report.tables.formats.base import TableFormat
from ibml.report.tables.formats.registry import FORMATS, load_format
from ibml.report.tables.render import render, render_files
from ibml.report.tables.results import Results
from ibml.report.tables.table import build_table
from tests.support.records import results, study

ACCURACY = {"Joint": [0.9, 0.91, 0.89], "Other": [0.95, 0.94, 0.96]}


def test_a_report_has_a_file_of_each_format() -> None:
    record = study(ACCURACY)
    found = results(record, ACCURACY)
    table = build_table(record, found)
    files = render_files(table)
    assert list(files) == [f"table.{spec.extension}" for spec in FORMATS.values()]
    assert len(set(files)) == len(FORMATS)
    page = render_study_report(table, Results(record, found), {}, lambda run: "", ())
    assert {name: page[name] for name in files} == files


@pytest.mark.parametrize("form", FORMATS)
def test_a_format_writes_tables_and_listings(form: str) -> None:
    assert isinstance(load_format(form), TableFormat)
    tuning = Tuning(
        arm="Joint",
        dataset="d",
        trials=3,
        epochs=12,
        metric="val.accuracy",
        value=0.9,
        params={"a.b": 7},
    )
    record = study(ACCURACY, tuning=(tuning,))
    texts = (
        render(build_table(record, results(record, ACCURACY)), form),
        render_tuning(record, form),
    )
    for text in texts:
        assert "Joint" in text
        assert text.endswith("\n")
