"""User-defined tables with untrusted content."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from ibml import data
from ibml.config.trial import TrialConfig
from ibml.data.base import ignore_progress
from ibml.data.files.file_dataset import FileDataset, open_file_dataset
from ibml.data.files.inspection import inspect
from ibml.data.listing import DataError
from ibml.study.planning.keys import compute_trial_key
from tests.data.miniatures import picture
from tests.data.test_layouts import configuration, load

Rows = list[dict[str, Any]]
VECTORS = {"a": {"kind": "vector", "column": "a"}, "b": {"kind": "vector", "column": "b"}}


def rows() -> Rows:
    return [
        {"split": "train" if n < 8 else "test", "label": n % 2, "id": n, "a": f"{n} 1", "b": [n, 2]}
        for n in range(12)
    ]


def written(root: Path, table: Rows, **settings: Any) -> dict[str, Any]:
    """The data of a configuration that reads these rows."""
    root.mkdir(exist_ok=True)
    (root / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in table))
    common = {
        "type": "folder",
        "root": str(root),
        "tables": "t.jsonl",
        "columns": VECTORS,
        "validation": 0.34,
    }
    return {**common, **settings}


def opened(settings: dict[str, Any]) -> FileDataset:
    return open_file_dataset(configuration(settings), lambda text: None, ignore_progress)


def key(settings: dict[str, Any], **more: Any) -> str:
    config = TrialConfig.model_validate({"data": settings, **more})
    return compute_trial_key(config, data.fingerprint(config.data))


def test_rows_are_told_apart_by_what_is_in_them_whatever_that_is(tmp_path: Path) -> None:
    texts = [
        "two\nlines",
        "two lines",
        "\N{MAN}\N{ZERO WIDTH JOINER}\N{WOMAN}",
        "\u202egnp.",
        "x\ty",
        "",
        "x y",
        "x",
    ]
    table = [
        {"split": split, "label": n % 2, "a": text, "b": other}
        for n, text in enumerate(texts)
        for split, other in (("train", "x z"), ("test", "y z"))
    ]
    columns = {name: {"kind": "text", "column": name} for name in "ab"}
    assert (
        opened(
            written(tmp_path, [*table, {**table[-1], "a": "x y", "b": "z"}], columns=columns)
        ).skipped
        == 0
    )
    with pytest.raises(
        DataError,
        match=re.escape("""t.jsonl:17: '["x", "y z"]' is already listed at t.jsonl:16"""),
    ):
        opened(written(tmp_path, [*table, table[-1]], columns=columns))


@pytest.mark.parametrize("column", ["label", "id", "a"])
@pytest.mark.parametrize("cell", [None, ["x"], {"x": 1}])
def test_a_cell_that_is_no_text_names_nothing(tmp_path: Path, column: str, cell: object) -> None:
    table = rows()
    table[3][column] = cell
    columns = {"a": {"kind": "image", "column": "a"}} if column == "a" else VECTORS
    words = "'a' is empty" if column == "a" and cell is None else f"{column!r} is not a text"
    with pytest.raises(DataError, match=re.escape(f"t.jsonl:4: {words}")):
        opened(written(tmp_path, table, id="id", columns=columns))


def test_vectors_of_another_length_than_most_of_train_are_damage(tmp_path: Path) -> None:
    table = rows()
    table[1]["a"], table[10]["b"], table[11]["b"] = "1 2 3", [1], [1]
    settings = written(tmp_path, table)
    with pytest.raises(
        DataError, match=re.escape("t.jsonl:11: the text has shape (1,), not (2,)")
    ) as error:
        opened(settings)
    assert "t.jsonl:2: the text has shape (3,), not (2,)" in str(error.value)
    found = load({**settings, "on_missing": "skip"})
    assert [len(split) for split in (found.train, found.val, found.test)] == [5, 2, 2]
    assert found.train.specs["a"].shape == (2,)
    for split in (found.train, found.val, found.test):
        for column in split.transforms.values():  # type: ignore[union-attr]
            batch = column.gather(split.rows, None)  # type: ignore[union-attr,arg-type]
            assert batch.shape == (len(split), 2)


def test_samples_that_are_left_out_are_part_of_the_key(tmp_path: Path) -> None:
    table = rows()
    whole = written(tmp_path, table)
    alone = {"method": {"type": "unimodal", "modality": "b"}}
    same = {
        key(settings, **alone)
        for settings in (whole, {**whole, "on_missing": "skip"}, {**whole, "use": ["b"]})
    }
    assert len(same) == 1
    table[1]["a"] = "no number"
    skipping = written(tmp_path / "damaged", table, on_missing="skip")
    assert opened({**skipping, "use": ["b"]}).skipped == 0
    assert opened(skipping).skipped == 1
    assert key(skipping, **alone) != key({**skipping, "use": ["b"]}, **alone)
    assert (
        inspect(configuration(skipping), ignore_progress).fingerprint
        == opened(skipping).fingerprint
    )


IMAGES = {"a": {"kind": "image", "column": "a", "size": 8}, "b": {"kind": "vector", "column": "b"}}


def table(
    root: Path, separator: str, cell: str = "img/{n}.png", name: str = "items.csv"
) -> dict[str, Any]:
    """Return the data of a configuration with this separator, and this cell as path of image n."""
    (root / "img").mkdir(parents=True, exist_ok=True)
    lines = [["split", "label", "id", "a", "b"]]
    for n in range(12):
        picture(root / f"img/{n}.png", n)
        lines.append(
            ["train" if n < 8 else "test", f"c{n % 2}", f"{n}", cell.format(n=n), f'"{n} 1"']
        )
    (root / name).write_text("".join(f"{separator.join(line)}\n" for line in lines))
    settings = {"type": "folder", "root": str(root), "tables": name, "label": "label", "id": "id"}
    return {**settings, "columns": IMAGES, "validation": 0.34}


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_the_header_tells_the_separator(tmp_path: Path, separator: str) -> None:
    one = opened(table(tmp_path / "one", ","))
    other = opened(table(tmp_path / "other", separator, name="items.tsv"))
    assert other.classes == ("c0", "c1")
    assert other.fingerprint == one.fingerprint


def test_a_table_of_no_known_separator_has_no_such_column(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=re.escape("items.csv:1: has no column 'a'")):
        opened(table(tmp_path, "#"))
    settings = table(tmp_path, ";")
    with pytest.raises(
        DataError, match=re.escape("items.csv:1: has no column 'lable'; did you mean 'label'?")
    ):
        opened({**settings, "label": "lable"})


@pytest.mark.parametrize(
    "cell", [r"img\{n}.png", r".\img\{n}.png", "{root}/img/{n}.png", "{linked}/img/{n}.png"]
)
def test_paths_in_the_root_are_the_same_however_they_are_written(tmp_path: Path, cell: str) -> None:
    """By a link to the root too, and under the name that the link leads to."""
    plain = opened(table(tmp_path / "plain", ","))
    root, linked = tmp_path / "data", tmp_path / "linked"
    root.mkdir()
    linked.symlink_to("data")
    written_as = cell.replace("{root}", str(root)).replace("{linked}", str(linked))
    settings = table(root, ",", written_as)
    assert opened({**settings, "root": str(linked)}).fingerprint == plain.fingerprint
    tables = str(root / "items.csv")
    assert (
        opened({**settings, "root": str(linked), "tables": tables}).fingerprint == plain.fingerprint
    )


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        ("/etc/passwd", "'/etc/passwd' leads out of the data set's folder"),
        ("{root}/../outside/0.png", "leads out of the data set's folder"),
        (r"..\outside\0.png", "leads out of the data set's folder"),
        (r"img\..\..\outside\0.png", "leads out of the data set's folder"),
        ("{root}-twin/0.png", "leads out of the data set's folder"),
        ("{outside}/0.png", "leads out of the data set's folder"),
        (
            "out/0.png",
            "'out/0.png' leads out of the data set's folder by a link; use a data.root",
        ),
        ("{root}/out/0.png", "leads out of the data set's folder by a link"),
        (r"out\0.png", "leads out of the data set's folder by a link"),
        ("one.png", "'one.png' leads out of the data set's folder by a link"),
        (
            r"C:\data\0.png",
            "is a Windows path with a drive",
        ),
        (r"\\server\share\0.png", "is a Windows path with a drive"),
        ("~/0.png", "begins with ~, which is not expanded"),
        ("https://example.org/0.png", "is a URL; files must be in the data set's folder"),
        ("file:///etc/passwd", "is a URL"),
        ("loop/0.png", "loop/0.png does not exist"),
    ],
)
def test_no_path_leaves_the_root(tmp_path: Path, cell: str, said: str) -> None:
    root, outside = tmp_path / "data", tmp_path / "outside"
    outside.mkdir()
    picture(outside / "0.png", 0)
    settings = table(
        root, ",", cell.replace("{root}", str(root)).replace("{outside}", str(outside))
    )
    (root / "out").symlink_to(outside)
    (root / "one.png").symlink_to("../outside/0.png")
    (root / "loop").symlink_to("loop")
    with pytest.raises(DataError, match=re.escape(said)) as error:
        opened(settings)
    assert "  items.csv:" in str(error.value)


def test_links_inside_the_root_may_be_used(tmp_path: Path) -> None:
    settings = table(tmp_path / "data", ",", "pictures/{n}.png")
    (tmp_path / "data/pictures").symlink_to("img")
    assert opened(settings).classes == ("c0", "c1")
