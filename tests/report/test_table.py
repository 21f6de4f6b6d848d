"""Tables from records: marks, notes, and difficult names in each format."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace

import pytest

from ibml.config.study.study import TableConfig
from ibml.records import StudyRecord, TrialEntry, TrialRecord
from ibml.report.tables.formats.registry import FORMATS
from ibml.report.tables.render import render
from ibml.report.tables.table import Table, build_table

ACCURACY = {
    "ref": [0.90, 0.91, 0.92, 0.93, 0.94],
    "good": [0.95, 0.955, 0.97, 0.98, 0.995],
    "same": [0.901, 0.908, 0.924, 0.926, 0.943],
}


def study(
    arms: dict[str, list[float | None]], datasets: tuple[str, ...] = ("d",), **table: object
) -> StudyRecord:
    trials = [
        TrialEntry(arm=arm, dataset=dataset, seed=seed, key=f"{dataset}/{arm}/{seed}")
        for dataset in datasets
        for arm, values in arms.items()
        for seed in range(len(values))
    ]
    return StudyRecord(
        name="demo",
        description="Which is better?",
        file_hash="0123456789abcdef",
        overrides=(),
        reference=next(iter(arms)),
        arms=tuple(arms),
        datasets=datasets,
        seeds=tuple(range(max(map(len, arms.values())))),
        epochs=dict.fromkeys(datasets, (40,)),
        notes=(),
        metrics=("test.accuracy", "test.gap"),
        table=TableConfig.model_validate(table),
        trials=tuple(trials),
    )


def results(record: StudyRecord, arms: dict[str, list[float | None]]) -> dict[str, TrialRecord]:
    found = {}
    for trial in record.trials:
        value = arms[trial.arm][trial.seed]
        if value is not None:
            metrics = {"test.accuracy": value, "test.gap": 1 - value}
            found[trial.key] = TrialRecord(
                trial.key, f"run-{trial.key}", "finished", metrics, "", "data", "rev", ended_at=10
            )
    return found


@pytest.fixture
def table() -> Table:
    record = study(ACCURACY)
    return build_table(record, results(record, ACCURACY))


def test_cells_are_in_percent_with_marks(table: Table) -> None:
    cells = {arm: table.get_cell("d", arm, "test.accuracy") for arm in ACCURACY}
    assert cells["ref"].summary.mean == pytest.approx(92)
    assert [arm for arm, cell in cells.items() if cell.best] == ["good"]
    assert [arm for arm, cell in cells.items() if cell.second] == ["same"]
    assert not any(cell.tied for cell in cells.values()), "both others differ from the best"
    gaps = {arm: table.get_cell("d", arm, "test.gap") for arm in ACCURACY}
    assert [arm for arm, cell in gaps.items() if cell.best] == ["good"], "a lower gap is better"


def test_arms_that_cannot_be_told_from_the_best_share_a_mark() -> None:
    arms = {"ref": ACCURACY["ref"], "same": ACCURACY["same"]}
    record = study(arms)
    made = build_table(record, results(record, arms))
    assert all(made.get_cell("d", arm, "test.accuracy").tied for arm in arms)


def test_differences_and_verdicts(table: Table) -> None:
    good, same = (table.get_cell("d", arm, "test.accuracy").difference for arm in ("good", "same"))
    assert good.mean == pytest.approx(5.0)
    assert good.verdict == "helps"
    assert same.verdict == "no effect detected"
    assert table.get_cell("d", "ref", "test.accuracy").difference is None
    assert table.get_cell("d", "good", "test.gap").difference.verdict == "helps"


def test_failed_diverged_and_missing_runs_are_in_the_foot() -> None:
    arms = {"ref": [0.9, 0.91, 0.92], "bad": [0.5, 0.6, None], "new": [None, None, None]}
    record = study(arms)
    found = results(record, arms)
    found["d/bad/0"] = TrialRecord("d/bad/0", "r1", "failed", {}, "RuntimeError('x')")
    found["d/bad/1"] = TrialRecord(
        "d/bad/1", "r2", "diverged", {}, "the training loss was nan in epoch 3"
    )
    found["d/new/0"] = TrialRecord("d/new/0", "r3", "running")
    made = build_table(record, found)
    foot = "\n".join(made.notes)
    assert (
        "Failed: 1 of 9 trials (bad 1); for instance RuntimeError('x'); traceback.txt of MLflow "
        "run r1." in foot
    )
    assert (
        "Diverged: 1 of 9 trials (bad 1); for instance the training loss was nan in epoch 3."
        in foot
    )
    assert "Not finished: 1 of 9 trials (new 1)." in foot
    assert "Not run: 3 of 9 trials (bad 1, new 2)." in foot
    assert "Pairs with a missing side, left out of the tests: bad 3, new 3." in foot
    assert "4 results of 9 trial keys" in foot
    assert made.unfinished == 5
    assert made.get_cell("d", "bad", "test.accuracy").summary.n == 0
    assert made.get_cell("d", "bad", "test.accuracy").difference.verdict == "no pairs"


def test_an_empty_study_is_said_in_words() -> None:
    record = study(ACCURACY)
    made = build_table(record, {})
    assert made.unfinished == 15
    for form in FORMATS:
        assert "nan" not in render(made, form).lower()


def test_unequal_budgets_are_admitted() -> None:
    record = study(ACCURACY).model_copy(update={"epochs": {"d": (20, 40)}})
    assert "20 to 40 epochs, NOT EQUAL among the arms" in "\n".join(build_table(record, {}).notes)


def test_data_sets_may_have_budgets_of_their_own() -> None:
    record = study(ACCURACY, ("d", "e")).model_copy(update={"epochs": {"d": (20,), "e": (40,)}})
    assert "5 seeds × 20 (d), 40 (e) epochs, each arm" in "\n".join(build_table(record, {}).notes)


def test_a_metric_that_an_arm_never_has_is_no_missing_pair() -> None:
    record = study(ACCURACY)
    found = results(record, ACCURACY)
    for key, trial in found.items():
        if "/good/" in key:
            del trial.metrics["test.gap"]
    made = build_table(record, found)
    assert made.get_cell("d", "good", "test.gap").summary.n == 0
    assert "missing side" not in "\n".join(made.notes)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_finite_number_is_left_out(value: float) -> None:
    record = study(ACCURACY)
    found = results(record, ACCURACY)
    found["d/good/2"].metrics["test.accuracy"] = value
    made = build_table(record, found)
    assert made.get_cell("d", "good", "test.accuracy").summary.n == 4
    assert made.get_cell("d", "good", "test.accuracy").difference.n == 4
    for form in FORMATS:
        assert render(made, form)


def test_what_the_plan_noted_and_where_it_was_computed_is_in_the_foot() -> None:
    record = study(ACCURACY).model_copy(update={"notes": ("x=1 is the base itself",)})
    found = {k: replace(r, platform="cpu, torch 2") for k, r in results(record, ACCURACY).items()}
    foot = build_table(record, found).notes
    assert "x=1 is the base itself" in foot
    assert "code rev on cpu, torch 2; data data" in foot[-1]


def test_holm_is_over_the_arms_of_a_column_of_one_data_set() -> None:
    record = study(ACCURACY, ("d", "e"))
    one = study(ACCURACY)
    both, single = (
        build_table(record, results(record, ACCURACY)),
        build_table(one, results(one, ACCURACY)),
    )
    for dataset in ("d", "e"):
        assert (
            both.get_cell(dataset, "good", "test.accuracy").difference
            == single.get_cell("d", "good", "test.accuracy").difference
        )


def test_the_wilcoxon_test_can_be_chosen() -> None:
    record = study(ACCURACY, test="wilcoxon")
    made = build_table(record, results(record, ACCURACY))
    assert made.get_cell("d", "good", "test.accuracy").difference.p == pytest.approx(2 / 2**5)
    assert made.get_cell("d", "good", "test.accuracy").difference.detectable is None
    assert "Wilcoxon signed-rank test" in made.notes[0]
    assert "With 5 pairs no signed-rank p is below 0.062" in made.notes[1]


def test_the_frame_has_a_row_per_arm_and_metric(table: Table) -> None:
    frame = table.build_frame()
    assert len(frame) == 6
    row = frame[(frame.arm == "good") & (frame.metric == "test.accuracy")].iloc[0]
    assert (row["n"], row.unit, row.verdict) == (5, "%", "helps")
    assert row.difference == pytest.approx(5.0)


def test_csv_and_json_are_the_frame(table: Table) -> None:
    rows = list(csv.DictReader(io.StringIO(render(table, "csv"))))
    content = json.loads(render(table, "json"))
    assert len(rows) == len(content["rows"]) == 6
    for text, plain in zip(rows, content["rows"], strict=True):
        assert float(text["mean"]) == plain["mean"]
        assert (text["verdict"], text["difference"] == "") == (
            plain["verdict"],
            plain["difference"] is None,
        )
    assert content["foot"] == list(table.notes)


@pytest.mark.parametrize("form", FORMATS)
def test_the_same_results_give_the_same_bytes(form: str) -> None:
    record = study(ACCURACY)
    found = results(record, ACCURACY)
    shuffled = dict(reversed(found.items()))
    assert render(build_table(record, found), form) == render(build_table(record, shuffled), form)


def test_odd_names_stay_text_in_every_format() -> None:
    arms = {
        r"a_b & 50% #1 \x": [0.9, 0.91],
        "<b>|*c*|</b>": [0.95, 0.97],
        "[red]plain[/red]": [0.8, 0.7],
    }
    record = study(arms)
    made = build_table(record, results(record, arms))
    latex = render(made, "latex")
    assert r"a\_b \& 50\% \#1 \textbackslash{}x" in latex
    assert not re.search(
        r"(?<!\\)[%#_&](?![^\n]*\\\\)", latex.split(r"\toprule")[1].split(r"\midrule")[0]
    )
    assert r"\<b\>\|\*c\*\|\</b\>" in render(made, "markdown")
    assert "[red]plain[/red]" in render(made, "text")
    assert not re.search(r"\\\\\n[\[*]", latex), (
        "LaTeX would read the next row's start as an option"
    )
    assert [row["arm"] for row in json.loads(render(made, "json"))["rows"]][::2] == list(arms)


def test_the_text_has_every_number_a_reviewer_needs(table: Table) -> None:
    text = render(table, "text")
    for part in (
        "92.00 ± 1.58",
        "ref (reference)",
        "+5.00",
        "95 % interval",
        "p (Holm)",
        "detectable",
        "helps",
    ):
        assert part in text
    assert all(len(line) <= 120 for line in text.splitlines())
