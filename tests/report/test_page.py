"""The page of a study: its files, its bytes, and a browser that opens it."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ibml.records import DesignRecord, StudyRecord, TrialRecord
from ibml.report.study.figure_data import collect_factor_values, list_curve_metrics
from ibml.report.study.figures import build_figures
from ibml.report.study.page import render_study_report
from ibml.report.tables.results import Results
from ibml.report.tables.table import build_table
from tests.report.test_table import ACCURACY, results, study

UGLY = '<script>alert("1")</script>'
ARMS: dict[str, list[float | None]] = {
    "ref": ACCURACY["ref"],
    UGLY: ACCURACY["good"],
    'Größe & "µ"': [0.801, 0.808, 0.824, 0.826, 0.843],
    "gone": [None] * 5,
}
CONFIG = {"data.type": "mfeat", "data.views": ["pix", "zer"], "method.bio.weight": 1.0}


def link(run_id: str) -> str | None:
    return f"http://127.0.0.1:5000/#/runs/{run_id}"


def files(
    record: StudyRecord, found: dict[str, TrialRecord], curves: bool = True
) -> dict[str, str | bytes]:
    logged = {
        r.run_id: {
            "val.accuracy": [0.5, 0.8],
            "val.accuracy.pix": [0.4, 0.6],
            "rate.pix": [1.0, 1.2],
        }
        for r in found.values()
        if r.status == "finished" and curves
    }
    return render_study_report(build_table(record, found), Results(record, found), logged, link)


@pytest.fixture(scope="module")
def report() -> dict[str, str | bytes]:
    record = study(ARMS).model_copy(
        update={
            "configs": {"d": CONFIG},
            "changes": {"d": {UGLY: {"method.bio.weight": 0.0}}},
            "modalities": {"d": ("pix", "zer")},
        }
    )
    found = results(record, ARMS)
    found["d/gone/0"] = TrialRecord("d/gone/0", "broken", "failed", {}, "RuntimeError('<i>')")
    return files(record, found)


def test_a_report_is_a_page_its_figures_and_the_table_in_every_format(
    report: dict[str, str | bytes],
) -> None:
    names = [f"{kind}-test.{m}" for kind in ("forest", "paired") for m in ("accuracy", "gap")] + [
        "curves",
        "rates",
    ]
    figures = [f"figures/{name}.{form}" for name in names for form in ("png", "pdf")]
    tables = [f"table.{extension}" for extension in ("txt", "md", "tex", "csv", "json", "html")]
    assert list(report) == ["report.html", *tables, *figures]
    assert all(
        report[name].startswith(b"\x89PNG" if name.endswith("png") else b"%PDF") for name in figures
    )


def test_every_text_is_escaped_and_nothing_is_loaded(report: dict[str, str | bytes]) -> None:
    page = report["report.html"]
    assert isinstance(page, str)
    assert page.count("<script") == 1
    assert "alert(&#34;1&#34;)" in page
    assert "RuntimeError(&#39;&lt;i&gt;&#39;)" in page
    addresses = re.findall(r'(?:src|href|srcset|action)="([^"]*)"', page)
    assert {a.split(",")[0] for a in addresses if not a.startswith("http")} <= {
        *(
            f"#{n}"
            for n in (
                "conclusions",
                "tables",
                "figures",
                "configuration",
                "budget",
                "failures",
                "runs",
                "provenance",
            )
        ),
        "data:image/svg+xml;base64",
        "data:image/png;base64",
    }
    assert {a[:22] for a in addresses if a.startswith("http")} == {"http://127.0.0.1:5000/"}
    assert 'href="http://127.0.0.1:5000/#/runs/broken"' in page
    assert not re.search(r"\son[a-z]+=|\sstyle=|@import|url\(", page)


def test_an_address_that_is_no_web_address_is_no_link() -> None:
    record = study({"ref": [0.9], "a": [0.8]})
    found = results(record, {"ref": [0.9], "a": [0.8]})
    made = render_study_report(
        build_table(record, found), Results(record, found), {}, lambda run: "javascript:alert(1)"
    )
    assert "javascript:" not in str(made["report.html"])
    assert "There are no learning curves" in str(made["report.html"])


def test_a_study_without_results_has_a_page_that_says_so() -> None:
    record = study(ARMS)
    made = files(record, {})
    assert not [name for name in made if name.startswith("figures/")]
    page = str(made["report.html"])
    assert "There are no figures" in page
    assert "20 trials have no result yet." in page
    assert "0 of 20 with a result" in page


def test_a_table_that_leaves_out_the_reference_has_a_report() -> None:
    arms = {"ref": ACCURACY["ref"], "good": ACCURACY["good"], "same": ACCURACY["same"]}
    record = study(arms, rows=["good", "same"]).model_copy(update={"metrics": ("test.accuracy",)})
    found = results(record, arms)
    made = render_study_report(
        build_table(record, found), Results(record, found), {}, link, forms=()
    )
    assert "Difference to ref in test.accuracy %" in str(made["report.html"])


@pytest.mark.slow
def test_the_same_results_give_the_same_bytes_of_every_file() -> None:
    arms = {"ref": ACCURACY["ref"], "good": ACCURACY["good"]}
    record = study(arms).model_copy(update={"metrics": ("test.accuracy",)})
    found = results(record, arms)
    assert files(record, found) == files(record, dict(reversed(found.items())))


def test_a_studys_design_chooses_its_figures() -> None:
    arms = {
        "none": ACCURACY["ref"],
        "+ A": ACCURACY["good"],
        "+ B": ACCURACY["same"],
        "+ A + B": ACCURACY["good"],
    }
    levels = {arm: {name: "on" if name in arm else "off" for name in "AB"} for arm in arms}
    factors = {"A": ("off", "on"), "B": ("off", "on")}
    design = DesignRecord(type="factorial", factors=factors, components=("A", "B"), levels=levels)
    record = study(arms, ("d", "e")).model_copy(
        update={"design": design, "metrics": ("test.accuracy",)}
    )
    found = results(record, arms)
    drawn = build_figures(build_table(record, found), Results(record, found), {})
    assert [drawing.name for drawing in drawn] == [
        "forest-test.accuracy",
        "effects-test.accuracy",
        *(f"{kind}-test.accuracy-{d}" for kind in ("interactions", "attribution") for d in "de"),
        "ranks-test.accuracy",
        *(f"paired-test.accuracy-{d}" for d in "de"),
    ]


def test_the_bases_own_value_is_a_point_of_a_factors_curve() -> None:
    arms = {"base": [0.9], "bio.weight=0": [0.8], "bio.weight=2": [0.7]}
    design = DesignRecord(
        type="one_factor",
        factors={"bio.weight": ("0", "1", "2")},
        levels={"bio.weight=0": {"bio.weight": "0"}, "bio.weight=2": {"bio.weight": "2"}},
        values={"bio.weight=0": 0, "bio.weight=2": 2},
        paths={"bio.weight": "method.bio.weight"},
    )
    record = study(arms).model_copy(update={"design": design, "configs": {"d": CONFIG}})
    found = results(record, arms)
    table = build_table(record, found)
    points, own = collect_factor_values(
        table, Results(record, found), "bio.weight", "d", table.metrics[0]
    )
    assert own == 1.0
    assert [(value, [pytest.approx(v) for v in seeds]) for value, seeds in points] == [
        (0, [80]),
        (1.0, [90]),
        (2, [70]),
    ]


def test_curves_are_asked_for_every_modality_of_any_data_set() -> None:
    modalities = {"d": ("pix", "zer"), "e": ("zer", "mor")}
    record = study(ARMS, ("d", "e")).model_copy(update={"modalities": modalities})
    assert list_curve_metrics(record) == [
        "val.accuracy",
        *(f"val.accuracy.{m}" for m in ("pix", "zer", "mor")),
        *(f"rate.{m}" for m in ("pix", "zer", "mor")),
    ]


WATCH = """
window.problems = [];
window.addEventListener("error", (e) => problems.push(String(e.message)), true);
document.addEventListener("securitypolicyviolation", (e) =>
  problems.push("policy: " + e.violatedDirective));
for (const name of ["error", "warn"]) console[name] = (...texts) => problems.push(texts.join(" "));
"""
PROBE = """
window.addEventListener("load", () => {
  const table = document.querySelectorAll("main table")[0];
  const rowNames = (b) => [...b.rows].map((r) => r.cells[0].textContent.trim());
  const names = (t) => [...t.tBodies].map(rowNames);
  const states = [names(table)];
  const header = [...table.tHead.rows[0].cells].find((c) =>
    c.textContent.startsWith("test.accuracy"));
  const sorts = [header.ariaSort ?? header.getAttribute("aria-sort")];
  for (let i = 0; i < 3; i++) {
    (i ? header.querySelector("button") : header).click();
    states.push(names(table));
    sorts.push(header.getAttribute("aria-sort"));
  }
  const second = document.querySelectorAll("main table")[1];
  second.tHead.rows[0].cells[1].click();
  const headers = [...document.querySelectorAll("main thead th")];
  const focusable = headers.every((c) => c.querySelector("button").tabIndex === 0);
  document.querySelectorAll("details").forEach((d) => (d.open = true));
  const box = document.documentElement;
  const found = { problems, states, sorts, second: names(second), focusable, width: innerWidth,
    overflow: box.scrollWidth - box.clientWidth,
    images: [...document.images].map((i) => i.naturalWidth),
    alts: [...document.images].map((i) => i.alt.length),
    loaded: performance.getEntriesByType("resource").map((e) => e.name)
      .filter((n) => !n.startsWith("data:")) };
  parent.document.getElementById("found").textContent = JSON.stringify(found);
});
"""


def probed(page: str) -> str:
    """Add scripts that measure the page, and allow them in its security policy."""
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
        for text in (WATCH, PROBE)
    )
    page = page.replace("script-src ", f"script-src {html.escape(hashes)} ", 1)
    page = page.replace("<title>", f"<script>{WATCH}</script><title>", 1)
    return page.replace("</body>", f"<script>{PROBE}</script></body>", 1)


@pytest.fixture(scope="module")
def browsed(
    report: dict[str, str | bytes], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Measure the page in Chromium in a frame of 375 pixels, because its windows are wider."""
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("no chromium in PATH")
    folder: Path = tmp_path_factory.mktemp("browser")
    source = html.escape(probed(str(report["report.html"])))
    frame = f'<iframe width="375" height="800" srcdoc="{source}"></iframe>'
    (folder / "outer.html").write_text(
        f'<!DOCTYPE html><meta charset="utf-8"><pre id="found"></pre>{frame}'
    )
    command = [
        chromium,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-dev-shm-usage",
    ]
    command += [f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=5000", "--dump-dom"]
    environment = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    done = subprocess.run(
        [*command, (folder / "outer.html").as_uri()],
        capture_output=True,
        text=True,
        timeout=60,
        env=environment,
        check=True,
    )
    shutil.rmtree(folder / "profile", ignore_errors=True)
    found = re.search(r'<pre id="found">(.+?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    parsed: dict[str, Any] = json.loads(html.unescape(found[1]))
    return parsed


def test_a_browser_has_nothing_to_complain_of_and_nothing_to_load(browsed: dict[str, Any]) -> None:
    assert browsed["problems"] == []
    assert browsed["loaded"] == []


def test_every_figure_is_seen_and_told(browsed: dict[str, Any]) -> None:
    assert len(browsed["images"]) == 6
    assert min(browsed["images"]) > 200
    assert min(browsed["alts"]) > 40


def test_a_click_sorts_by_numbers_with_what_is_missing_last(browsed: dict[str, Any]) -> None:
    ref, good, low, gone = "ref (reference)", UGLY, 'Größe & "µ"', "gone"
    assert browsed["states"] == [
        [[ref, good, low, gone]],
        [[low, ref, good, gone]],
        [[good, ref, low, gone]],
        [[ref, good, low, gone]],
    ]
    assert browsed["sorts"] == ["none", "ascending", "descending", "none"]
    assert browsed["focusable"]


def test_rows_are_sorted_under_their_headings(browsed: dict[str, Any]) -> None:
    accuracy, gap = browsed["second"]
    assert accuracy == ["test.accuracy", 'Größe & "µ"', UGLY, "gone"]
    assert gap == ["test.gap", UGLY, 'Größe & "µ"', "gone"]


def test_nothing_makes_a_phone_scroll_sideways(browsed: dict[str, Any]) -> None:
    assert browsed["width"] == 375
    assert browsed["overflow"] == 0
