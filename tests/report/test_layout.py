"""Tables of designs: columns and their names in every format."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from ibml.records import TrialRecord
from ibml.report.tables.formats.latex import escape_latex
from ibml.report.tables.formats.registry import FORMATS
from ibml.report.tables.layout import (
    build_analysis_tables,
    build_difference_tables,
    build_mean_tables,
)
from ibml.report.tables.render import render
from ibml.report.tables.results import MixedResultsError, Results, find_mixtures
from ibml.report.tables.table import Table, build_table
from tests.support.records import crossed, results, study

FOUR = {
    "none": [0.90, 0.91, 0.92],
    "+ A": [0.92, 0.93, 0.945],
    "+ B": [0.90, 0.92, 0.92],
    "+ A + B": [0.95, 0.96, 0.98],
}
LEVELS = {
    "none": {"A": "off", "B": "off"},
    "+ A": {"A": "on", "B": "off"},
    "+ B": {"A": "off", "B": "on"},
    "+ A + B": {"A": "on", "B": "on"},
}
ONOFF = {"A": ("off", "on"), "B": ("off", "on")}
NASTY = {
    "a_b & 50% $x^2$ #1 {~} \"q\" 'r'": [0.5, 0.6, 0.7],
    "<b>|\\*`[x]`*": [0.6, 0.7, 0.9],
    "ρ → ∞ ✓ ąéß": [0.5, 0.6, 0.7],
}
FOREIGN = {
    "基线 中文": [0.5, 0.6, 0.7],
    "emoji 🚀": [0.6, 0.7, 0.9],
    "«x» ½ ° ðą e\u0301 ế ’…": [0.5, 0.6, 0.7],
    "हिन्दी": [0.5, 0.6, 0.7],
    "％＃ x\u200by\x07": [0.5, 0.6, 0.8],
    "∈ ⇒ ϑ ∬": [0.5, 0.6, 0.8],
}


def made(kind: str = "factorial", datasets: tuple[str, ...] = ("d",), **table: object) -> Table:
    record = study(FOUR, datasets, table, **crossed(LEVELS, ONOFF, kind))
    return build_table(
        record,
        results(record, FOUR, {name: -0.01 * i for i, name in enumerate(datasets)}, gain=0.001),
    )


def test_components_are_columns_of_check_marks() -> None:
    (grid,) = build_mean_tables(made())
    assert [column.heading for column in grid.columns][:3] == ["A", "B", "n"]
    assert [[entry.text for entry in row[:2]] for row in grid.entries] == [
        ["– (reference)", "–"],
        ["✓", "–"],
        ["–", "✓"],
        ["✓", "✓"],
    ]
    (named,) = build_mean_tables(made("cumulative"))
    assert [column.heading for column in named.columns][:4] == ["arm", "A", "B", "n"]


def test_several_data_sets_are_columns_with_the_average_rank() -> None:
    first, second = build_mean_tables(made(datasets=("d", "e")))
    assert [column.heading for column in first.columns] == ["A", "B", "n", "d", "e", "average rank"]
    assert [row[-1].text for row in first.entries] == ["4.00", "2.00", "3.00", "1.00"]
    assert second.title == "demo: test.gap % ↓"
    (rows,) = build_mean_tables(made(datasets=("d", "e"), columns="metrics"))
    assert rows.columns[0].heading == "data set"
    assert len(rows.entries) == 8


def test_the_file_decides_on_rows_groups_names_precision_and_arrows() -> None:
    table = made(
        "cumulative",
        rows=["+ A + B", "none", "+ A"],
        groups={"Ours": ["+ A + B"]},
        names={"none": "Joint", "test.accuracy": "Acc", "A": "BIO"},
        precision={"test.accuracy": 1},
        arrows=False,
        caption="What helps?",
        label="tab:mine",
    )
    (grid,) = build_mean_tables(table)
    assert [column.heading for column in grid.columns] == [
        "arm",
        "BIO",
        "B",
        "n",
        "Acc %",
        "test.gap %",
    ]
    assert [row if isinstance(row, str) else row[0].text for row in grid.rows] == [
        "Joint (reference)",
        "+ A",
        "Ours",
        "+ A + B",
    ]
    assert grid.entries[0][4].text == "91.0 ± 1.0"
    assert grid.entries[0][5].text == "9.00 ± 1.00"
    assert "difference to Joint" in render(table, "text")
    latex = render(table, "latex")
    assert r"\caption{What helps?}" in latex
    assert r"\label{tab:mine}" in latex


def test_effects_of_factors_are_contrasts_of_cell_means() -> None:
    analyses = {a.kind: a for a in made().analyses if a.metric.name == "test.accuracy"}
    a, b = analyses["main effects"].lines
    # By hand: A is ((92+95) - (90+90)) / 2 = 3.5, (93+96 - 91-92) / 2 = 3,
    # (94.5+98 - 92-92) / 2 = 4.25.
    assert a.difference.mean == pytest.approx((3.5 + 3 + 4.25) / 3)
    assert b.difference.mean == pytest.approx((1.5 + 2 + 1.75) / 3)
    (together,) = analyses["interactions"].lines
    assert together.name == "A × B"
    assert together.difference.mean == pytest.approx((3 + 2 + 3.5) / 3)
    shares = {line.name: line.share.share for line in analyses["variance"].lines}
    assert sum(shares.values()) == pytest.approx(1)
    assert max(shares, key=shares.get) == "A"
    assert [line.difference.mean for line in analyses["shapley"].lines] == pytest.approx(
        [43 / 12, 1.75]
    )
    assert "interactions of two factors" in [grid.title for grid in build_analysis_tables(made())]


def test_gains_of_a_cumulative_design_sum_to_the_whole() -> None:
    kinds = {a.kind: a for a in made("cumulative").analyses if a.metric.name == "test.accuracy"}
    gains = [line.difference.mean for line in kinds["gains"].lines]
    assert gains == pytest.approx([(2 + 2 + 2.5) / 3, (3 + 3 + 3.5) / 3])
    assert sum(line.difference.mean for line in kinds["shapley"].lines) == pytest.approx(sum(gains))


def test_an_effect_is_good_or_bad_by_the_metrics_direction() -> None:
    by_metric = {
        a.metric.name: a.lines[0].difference for a in made().analyses if a.kind == "main effects"
    }
    assert by_metric["test.accuracy"].verdict == "helps"
    assert by_metric["test.gap"].verdict == "helps"
    assert by_metric["test.gap"].mean == pytest.approx(-by_metric["test.accuracy"].mean)


def test_all_data_sets_together_need_six_for_a_test() -> None:
    few = next(a for a in made(datasets=("d", "e")).analyses if a.kind == "over data sets")
    assert {line.difference.verdict for line in few.lines} == {"too few data sets"}
    assert few.lines[2].improvement.probability == 1
    many = next(a for a in made(datasets=tuple("defghi")).analyses if a.kind == "over data sets")
    assert many.lines[2].difference.p == pytest.approx(2 / 2**6), "six differences of one sign"


def test_all_data_sets_together_are_compared_seed_by_seed() -> None:
    arms = {"ref": [0.90, 0.95, 0.99], "new": [0.92, 0.96, None]}
    record = study(arms, ("d", "e"))
    (line,) = next(
        a for a in build_table(record, results(record, arms)).analyses if a.kind == "over data sets"
    ).lines
    assert line.difference.mean == pytest.approx(1.5), "of the two seeds that both have"


def test_rows_that_leave_arms_out_are_best_among_themselves() -> None:
    table = made("cumulative", rows=["none", "+ A"])
    cells = {arm: table.get_cell("d", arm, "test.accuracy") for arm in ("none", "+ A")}
    assert (cells["+ A"].best, cells["none"].second) == (True, True)
    foot = "\n".join(table.notes)
    assert (
        "Not shown, but counted in the corrections: + B, + A + B. Best and second are of those "
        "shown." in foot
    )


def test_arms_that_end_together_make_no_effect_out_of_nothing() -> None:
    same = {arm: [0.9] for arm in FOUR}
    record = study(same, **crossed(LEVELS, ONOFF, "factorial"))
    for form in FORMATS:
        text = render(build_table(record, results(record, same)), form)
        assert not re.search(r"\bnan\b", text, re.IGNORECASE)
    empty = build_table(record, {})
    assert [a.kind for a in empty.analyses if a.kind == "over data sets"] == []
    for form in FORMATS:
        assert not re.search(r"\bnan\b", render(empty, form), re.IGNORECASE)


def test_json_has_the_analyses() -> None:
    content = json.loads(render(made(), "json"))
    assert {a["kind"] for a in content["analyses"]} >= {
        "main effects",
        "interactions",
        "variance",
        "shapley",
    }
    assert content["design"]["factors"] == {"A": ["off", "on"], "B": ["off", "on"]}


def test_results_of_two_revisions_are_refused_unless_allowed() -> None:
    record = study(FOUR)
    found = results(record, FOUR)
    key = "d/+ A/1"
    found[key] = TrialRecord(**{**vars(found[key]), "revision": "other"})
    with pytest.raises(
        MixedResultsError, match=r"2 code revisions: other \(1 result\), rev \(11 results\)"
    ):
        build_table(record, found)
    foot = build_table(record, found, allow_mixed=True).notes
    assert "MIXED: 2 code revisions: other (1 result), rev (11 results)." in foot


@pytest.mark.parametrize(
    ("field", "words"),
    [("platform", "2 kinds of machine"), ("fingerprint", "2 states of the data of d")],
)
def test_results_of_two_machines_or_states_of_data_are_refused(field: str, words: str) -> None:
    record = study(FOUR)
    found = results(record, FOUR)
    found["d/+ A/1"] = TrialRecord(**{**vars(found["d/+ A/1"]), field: "other"})
    with pytest.raises(MixedResultsError, match=words):
        build_table(record, found)


def test_data_that_an_arm_changes_itself_is_no_mixture() -> None:
    record = study(FOUR, changes={"d": {"+ A": {"data.views": ["fou"]}}})
    found = results(record, FOUR)
    for key in [key for key in found if "/+ A/" in key]:
        found[key] = TrialRecord(**{**vars(found[key]), "fingerprint": "other"})
    assert find_mixtures(Results(record, found)) == []


def test_what_is_to_come_counts_as_made_by_this_code() -> None:
    record = study(FOUR)
    found = results(record, FOUR)
    del found["d/+ A/1"]
    assert find_mixtures(Results(record, found), "rev") == []
    assert find_mixtures(Results(record, found), "new") == [
        "2 code revisions: new (1 result), rev (11 results)"
    ]


def test_a_metric_that_some_runs_lack_is_said_in_words() -> None:
    record = study(FOUR)
    found = results(record, FOUR)
    del found["d/+ A/1"].metrics["test.gap"]
    table = build_table(record, found)
    assert "Finished without a finite test.gap: 1 trials (+ A 1)." in table.notes
    assert table.get_cell("d", "+ A", "test.gap").difference.n == 2


def has_engine(name: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(
        shutil.which(name) is None, reason=f"no {name} here (texlive-xetex, -luatex, -science)"
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "engine", [pytest.param(e, marks=has_engine(e)) for e in ("pdflatex", "xelatex", "lualatex")]
)
@pytest.mark.parametrize("included", [False, True])
def test_latex_compiles_as_it_is_and_inside_a_paper(
    tmp_path: Path, included: bool, engine: str
) -> None:
    nasty = study(
        NASTY, ("d_1", "e%"), {"names": {"d_1": "D #1"}, "groups": {"G & H": [list(NASTY)[1]]}}
    )
    far = study(FOREIGN)
    tables = [made(), made("cumulative", ("d", "e")), build_table(nasty, results(nasty, NASTY))]
    tables.append(build_table(far, results(far, FOREIGN)))
    for position, table in enumerate(tables):
        text = render(table, "latex")
        (tmp_path / f"t{position}.tex").write_text(text, encoding="utf-8")
        name = f"t{position}"
        if included:
            packages = r"\usepackage{amssymb,booktabs,graphicx,siunitx}"
            paper = (
                rf"\documentclass{{article}}{packages}"
                rf"\begin{{document}}A\input{{{name}}}B\end{{document}}"
            )
            (tmp_path / "paper.tex").write_text(paper)
            name = "paper"
        command = [engine, "-interaction=nonstopmode", "-halt-on-error", f"{name}.tex"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, check=False)
        assert done.returncode == 0, done.stdout.decode(errors="replace")[-2000:]
        log = (tmp_path / f"{name}.log").read_text(errors="replace")
        if engine == "pdflatex":  # the others have what the machine's fonts have
            assert "Missing character" not in log
        assert "undefined" not in log.lower()


def test_latex_keeps_characters_and_says_how_to_print_them() -> None:
    record = study(FOREIGN)
    text = render(build_table(record, results(record, FOREIGN)), "latex")
    head, _, body = text.partition(r"\begin{document}")
    for name in ("基线 中文", "emoji 🚀", "हिन्दी", "ðą é", "％＃"):
        assert name in body
    assert "[U+" not in body.replace("{[}U+200B{]}", "").replace("{[}U+0007{]}", "")
    assert head.startswith("% pdfLaTeX prints substitutes")
    assert {"XeLaTeX", "LuaLaTeX"} <= set(re.findall(r"\w+LaTeX", head))
    assert r"\ibmlsubstitute{基}{{[}U+57FA{]}}" in head
    assert r"\ibmlsubstitute{％}{\%}" in head
    assert r"\ibmlneedsfonts{ą}{a}" in head
    assert r"\ibmlsubstitute{∈}{\ifcsname in\endcsname$\in$\else {[}U+2208{]}\fi}" in head
    assert "\x07" not in text
    assert "\u200b" not in text


def test_latex_of_characters_that_pdflatex_has_starts_as_ever() -> None:
    arms = {"a é ß ≈ ρ ✓": [0.5, 0.6, 0.7], "b": [0.5, 0.6, 0.8]}
    record = study(arms)
    text = render(build_table(record, results(record, arms)), "latex")
    assert text.startswith("% \\input this file into a paper")
    assert "ibmlsubstitute" not in text
    assert "xeCJK" not in text


def test_symbols_that_every_latex_has_are_commands() -> None:
    assert escape_latex("± ≈ ≤ ≥ ∞ ≠") == r"$\pm$ $\approx$ $\leq$ $\geq$ $\infty$ $\neq$"
    small = (
        "alpha beta gamma delta epsilon zeta eta theta iota kappa lambda mu nu xi o pi rho "
        "varsigma sigma tau upsilon"
    )
    names = [*small.split(), "varphi", "chi", "psi", "omega"]
    assert escape_latex("αβγδεζηθικλμνξοπρςστυφχψω") == "".join(
        name if name == "o" else f"$\\{name}$" for name in names
    )
    capitals = [
        "Gamma",
        "Delta",
        "Theta",
        "Lambda",
        "Xi",
        "Pi",
        "Sigma",
        "Upsilon",
        "Phi",
        "Psi",
        "Omega",
    ]
    assert escape_latex("ΓΔΘΛΞΠΣΥΦΨΩ") == "".join(f"$\\{name}$" for name in capitals)


def test_text_in_html_and_markdown_stays_text() -> None:
    record = study(NASTY)
    table = build_table(record, results(record, NASTY))
    page = render(table, "html")
    assert "<b>" not in page
    assert "&lt;b&gt;|" in page
    line = next(line for line in render(table, "markdown").splitlines() if "[x" in line)
    assert r"\<b\>\|\\\*\`\[x\]\`\*" in line


def test_differences_have_a_heading_for_each_metric() -> None:
    (grid,) = build_difference_tables(made())
    assert [row for row in grid.rows if isinstance(row, str)] == ["test.accuracy", "test.gap"]
    assert grid.columns[-1].heading == "verdict"
