"""A study and a search of one name: every command that takes a name reaches both."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pytest

from ibml.cli.report_folder import write_search_report
from ibml.study.ray.cluster import ClusterError
from ibml.study.ray.jobs import Job, select_job
from tests.conftest import CommandLine
from tests.report.test_search import two_parameters
from tests.study.test_versions import STUDY
from tests.support.recorded import ablate, store_of


@pytest.fixture(scope="module")
def cli(shared_cli: CommandLine) -> CommandLine:
    """Create a study and a search named `small`, a search `alone`, and one named like an arm."""
    assert ablate(shared_cli, STUDY.replace("IBML:", "Café:")).code == 0
    for name in ("small", "alone", "tuned/Café"):
        record = two_parameters(5).model_copy(
            update={"name": name, "description": f"The search {name}"}
        )
        with store_of(shared_cli).open_run("search", record, "") as opened:
            opened.status = "FINISHED"
    return shared_cli


def test_a_report_of_two_asks_which(cli: CommandLine) -> None:
    answer = cli.inside("report", "small")
    assert (answer.code, answer.out) == (1, "")
    assert answer.err.startswith("'small' is a study and a search")
    assert "--kind study" in answer.err
    assert "--kind search" in answer.err
    kinds = [
        line.split()[:2]
        for line in cli.inside("list").out.splitlines()
        if line.startswith(" small ")
    ]
    assert sorted(kinds) == [["small", "search"], ["small", "study"]]


@pytest.mark.slow
def test_each_has_a_folder(cli: CommandLine) -> None:
    study = cli.inside("report", "small", "--kind", "study")
    assert study.out == "Report: reports/small/study/report.html\n"
    files = sorted((cli.folder / "reports/small/study").rglob("*"))
    search = cli.inside("report", "small", "--kind", "search")
    assert search.code == 0, search.err
    assert "reports/small/search/report.md" in search.out
    assert "ibml train reports/small/search/" in search.out
    assert "The search small" in (cli.folder / "reports/small/search/report.md").read_text()
    assert sorted((cli.folder / "reports/small/study").rglob("*")) == files, (
        "neither replaces the other's files"
    )
    chosen = cli.inside("report", "small", "--kind", "search", "--to", "here")
    assert "Report: here/report.md" in chosen.out


def test_a_search_that_was_just_run_leaves_the_studys_report(
    cli: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    write_search_report(two_parameters(5), {"report.md": "page"}, None, both=True)
    write_search_report(two_parameters(5), {"report.md": "page"}, None, both=False)
    written = sorted(path.as_posix() for path in Path("reports").rglob("*.md"))
    assert written == ["reports/demo/report.md", "reports/demo/search/report.md"]


@pytest.mark.slow
def test_one_of_the_kind_needs_no_kind(cli: CommandLine) -> None:
    for options in ((), ("--kind", "search")):
        assert "Report: reports/alone/report.md" in cli.inside("report", "alone", *options).out
    wrong = cli.inside("report", "alone", "--kind", "study")
    assert wrong.code == 1
    assert "'alone' is a search, not a study; show it with: ibml report alone" in wrong.err
    for command in (
        ("table", "alone"),
        ("plan", "alone", "--detect", "1"),
        ("compare", "alone", "small"),
    ):
        answer = cli.inside(*command)
        assert answer.code == 1
        assert "is a search, not a study; show it with: ibml report alone" in answer.err


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_a_terminal_may_encode_a_name_in_its_own_way(cli: CommandLine, form: str) -> None:
    arm = unicodedata.normalize(form, "small/Café")
    answer = cli.inside("compare", f"{arm} ", "small/Joint")
    assert answer.code == 0, answer.err
    assert "method.type" in answer.out
    report = cli.inside("report", unicodedata.normalize(form, "tuned/Café"))
    assert report.code == 0, report.err
    assert "small" in cli.inside("table", " small ").out


def test_jobs_of_one_name_ask_which() -> None:
    study = Job("ibml-small-1", "small", "RUNNING", 1.0, "ibml ablate small.yaml")
    search = Job("ibml-small-2", "small", "RUNNING", 2.0, "ibml tune small.yaml")
    known = [search, study]
    with pytest.raises(
        ClusterError,
        match="'small' is a study and a search there; say --kind study or --kind search",
    ):
        select_job(known, "small", None)
    assert select_job(known, "small", "study") == study
    assert select_job(known, "small", "search") == search
    assert select_job(known, "ibml-small-1", None) == study
    assert select_job([search], "small", None) == search
    with pytest.raises(ClusterError, match="no job 'small' there"):
        select_job([search], "small", "study")
