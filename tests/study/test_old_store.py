"""A store of version 0.1.0 at commit 830ffee: read, resumed and extended by this version.

The archive has a working folder with a finished ablation (`tiny`), a finished search (`found`) and
an ablation whose driver was killed half way (`cut`), and the tables that the old version made.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from tests.conftest import Answer, CommandLine

ARCHIVE = Path(__file__).parent.parent / "golden" / "store-830ffee.tar.xz"
pytestmark = pytest.mark.slow


@pytest.fixture
def expected(tmp_path: Path) -> Path:
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / "compat" / "expected"


@pytest.fixture
def old(expected: Path) -> CommandLine:
    return CommandLine(expected.parent / "store")


def succeed(answer: Answer) -> str:
    assert answer.code == 0, answer.err
    return answer.out


@pytest.mark.parametrize("name", ["tiny", "cut"])
def test_tables_are_the_same(old: CommandLine, expected: Path, name: str) -> None:
    table = succeed(old.inside("table", name, "--format", "csv"))
    assert table == (expected / "before" / f"{name}.csv").read_text()


def test_an_interrupted_ablation_is_resumed_to_the_same_table(
    old: CommandLine, expected: Path
) -> None:
    succeed(old.study("ablate", "cut.yaml", "--allow-mixed"))
    table = succeed(old.inside("table", "cut", "--format", "csv", "--allow-mixed"))
    assert table == (expected / "after" / "cut.csv").read_text()


def test_a_finished_ablation_gets_another_seed(old: CommandLine, expected: Path) -> None:
    study = old.folder / "tiny.yaml"
    study.write_text(study.read_text().replace("seeds: 2", "seeds: 3"))
    succeed(old.study("ablate", "tiny.yaml", "--allow-mixed"))
    table = succeed(old.inside("table", "tiny", "--format", "csv", "--allow-mixed"))
    assert table == (expected / "extended" / "tiny.csv").read_text()


def test_a_finished_search_gets_more_trials(old: CommandLine, expected: Path) -> None:
    space = old.folder / "found.yaml"
    space.write_text(space.read_text().replace("trials: 3", "trials: 5"))
    succeed(old.study("tune", "found.yaml"))
    trials = (old.folder / "reports" / "found" / "trials.csv").read_text()
    assert trials == (expected / "extended" / "found.csv").read_text()
