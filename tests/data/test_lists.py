"""Split lists with headers, other orders of columns and labels with commas: read or refused."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from ibml.common.imports import load_object
from ibml.data.listing import SampleListing
from tests.data.miniatures import TEST, TRAIN, VAL, clip, label, miniature
from tests.data.test_layouts import configuration

LISTS = {"cremad": "{}.csv", "vggsound": "{}.txt", "kinetics_sounds": "{}.txt", "ave": "{}Set.txt"}
SPLITS = {"train": TRAIN, "val": VAL, "test": TEST}


def listed(
    kind: str, root: Path, row: Callable[[int, str], str], header: str = ""
) -> SampleListing:
    """Return the listing of a miniature whose lists have these rows, by sample number and split."""
    config = configuration(miniature(kind, root))
    for split, chosen in SPLITS.items():
        file = root / LISTS[kind].format(split)
        if file.exists():
            rows = [*([header] if header else []), *(row(n, split) for n in chosen)]
            file.write_text("".join(f"{line}\n" for line in rows))
    listing = SampleListing(root, ("train", "val", "test") if kind == "ave" else ("train", "test"))
    load_object(config.layout)(config, listing)
    return listing


def said(listing: SampleListing) -> list[str]:
    return [str(issue) for issue in listing.issues]


def found(listing: SampleListing) -> dict[str, list[tuple[str, str]]]:
    return {
        split: [(row.name, row.label) for row in rows] for split, rows in listing.samples.items()
    }


def expected(kind: str, name: Callable[[int], str] = clip) -> dict[str, list[tuple[str, str]]]:
    splits: Iterable[str] = SPLITS if kind == "ave" else ("train", "test")
    return {split: [(name(n), label(n)) for n in SPLITS[split]] for split in splits}


@pytest.mark.parametrize(
    ("kind", "header", "row"),
    [
        ("cremad", "clip,label", lambda n, split: f"{clip(n)},{label(n)}"),
        ("cremad", "Emotion,Level,FileName", lambda n, split: f"{label(n)},XX,{clip(n)}"),
        ("vggsound", "", lambda n, split: f"{clip(n)}.mp4,{label(n)}"),
        (
            "vggsound",
            "",
            lambda n, split: f"{clip(n)}.mp4,{label(n)},{n},{split},clips/{clip(n)}.mp4,",
        ),
        ("vggsound", "", lambda n, split: f"{clip(n)},30,{label(n)},{split}"),
        ("vggsound", "", lambda n, split: f'"{clip(n)}","30","{label(n)}","{split}"'),
        ("vggsound", "", lambda n, split: f"{clip(n)}, 30, {label(n)}"),
        (
            "vggsound",
            "# YouTube ID, start seconds, label, train/test split.",
            lambda n, split: f"{clip(n)},30,{label(n)},{split}",
        ),
        ("vggsound", "label,video_id", lambda n, split: f"{label(n)},{clip(n)}.mp4"),
        (
            "ave",
            "Category&VideoID&Quality&StartTime&EndTime",
            lambda n, split: f"{label(n)}&{clip(n)}&good&0&10",
        ),
    ],
)
def test_a_list_is_read_by_its_header_or_its_content(
    kind: str, header: str, row: Callable[[int, str], str], tmp_path: Path
) -> None:
    listing = listed(kind, tmp_path, row, header)
    assert said(listing) == []
    assert found(listing) == expected(kind)


def test_kinetics_sounds_has_a_header_in_any_order(tmp_path: Path) -> None:
    listing = listed(
        "kinetics_sounds",
        tmp_path,
        lambda n, _: f"{label(n)},{clip(n)},{clip(n)}.wav",
        "label,frames,wav",
    )
    assert found(listing) == expected("kinetics_sounds", lambda n: f"{clip(n)}.wav")


@pytest.mark.parametrize("name", ["{}_000030", "{}_30"])
def test_a_clip_of_the_official_list_is_called_as_its_files_are(name: str, tmp_path: Path) -> None:
    miniature("vggsound", tmp_path)
    for n in (*TRAIN, *TEST):
        (tmp_path / f"audios/{clip(n)}.wav").rename(tmp_path / f"audios/{name.format(clip(n))}.wav")
        (tmp_path / f"Image-01-FPS/{clip(n)}").rename(
            tmp_path / f"Image-01-FPS/{name.format(clip(n))}"
        )
    for split in ("train", "test"):
        rows = [f"{clip(n)},30,{label(n)},{split}\n" for n in SPLITS[split]]
        (tmp_path / f"{split}.txt").write_text("".join(rows))
    listing = SampleListing(tmp_path)
    config = configuration({"type": "vggsound", "root": str(tmp_path)})
    load_object(config.layout)(config, listing)
    assert said(listing) == []
    assert found(listing) == expected("vggsound", lambda n: name.format(clip(n)))


def test_a_class_that_is_a_number_is_no_start(tmp_path: Path) -> None:
    listing = listed("vggsound", tmp_path, lambda n, split: f"{clip(n)},{n % 2},{split}")
    assert said(listing) == []
    assert {row.label for row in listing.samples["train"]} == {"0", "1"}


def test_the_whole_official_list_is_of_two_splits(tmp_path: Path) -> None:
    listing = listed(
        "vggsound",
        tmp_path,
        lambda n, split: f"{clip(n)},30,{label(n)},{'test' if n == 3 else split}",
    )
    assert said(listing) == ["train.txt:4: its split is 'test', but the list is of train"]
    assert len(listing.samples["train"]) == len(TRAIN) - 1


def commas(n: int) -> str:
    return "engine, revving" if n % 2 else "dog"


@pytest.mark.parametrize(
    ("kind", "row", "message"),
    [
        (
            "vggsound",
            lambda n, split: f"{clip(n)}.mp4,{commas(n)},{split}",
            "train.txt:2: has 4 cells; a label with commas needs quotes",
        ),
        (
            "vggsound",
            lambda n, split: f"{clip(n)}.mp4,engine,revving",
            "train.txt:1: has 3 cells; a label with commas",
        ),
        (
            "vggsound",
            lambda n, split: f'{clip(n)}.mp4, "engine, revving"',
            "train.txt:1: has 3 cells; a label with",
        ),
        (
            "vggsound",
            lambda n, split: f"{clip(n)},30,{commas(n)},{split}",
            "train.txt:2: has 5 cells; a label with",
        ),
        (
            "cremad",
            lambda n, split: f"{clip(n)},{commas(n)}",
            "train.csv:2: has 3 cells; a label with commas needs",
        ),
        (
            "kinetics_sounds",
            lambda n, split: f"{clip(n)}.wav,{clip(n)},{commas(n)}",
            "train.txt:2: has 4 cells; a label with commas needs quotes; expected wav,frames,label",
        ),
        (
            "ave",
            lambda n, split: f"R&B&{clip(n)}&good&0&10",
            "trainSet.txt:1: expected label&id&quality&start&end",
        ),
        (
            "ave",
            lambda n, split: f"cat&{clip(n)}&good&0&10&more words",
            "trainSet.txt:1: has 6 cells; expected label&id",
        ),
        (
            "cremad",
            lambda n, split: f"{label(n)},{clip(n)}",
            "train.csv:1: has the columns label,clip",
        ),
        (
            "kinetics_sounds",
            lambda n, split: f"{label(n)},{clip(n)}.wav,{clip(n)}",
            "train.txt:1: has the columns label,wav,frames",
        ),
        (
            "vggsound",
            lambda n, split: f"{label(n)},{clip(n)}.mp4",
            "train.txt:1: has the columns label,clip",
        ),
        (
            "ave",
            lambda n, split: f"{clip(n)}&{label(n)}&good&0&10",
            "trainSet.txt:1: has the columns id,label,quality,start,end",
        ),
        ("cremad", lambda n, split: f"{clip(n)};{label(n)}", "train.csv:1: expected clip,LABEL"),
    ],
)
def test_a_list_that_cannot_be_read_right_is_refused_by_its_line(
    kind: str, row: Callable[[int, str], str], message: str, tmp_path: Path
) -> None:
    listing = listed(kind, tmp_path, row)
    assert any(line.startswith(message) for line in said(listing)), said(listing)


def test_a_column_that_a_header_does_not_have_is_named(tmp_path: Path) -> None:
    listing = listed("vggsound", tmp_path, lambda n, split: f"{clip(n)},{n}", "id,start")
    assert said(listing)[0].startswith("train.txt:1: its header has no column label")


def test_rows_that_are_longer_than_their_header_are_refused(tmp_path: Path) -> None:
    listing = listed("vggsound", tmp_path, lambda n, split: f"{clip(n)},{commas(n)}", "video,label")
    assert said(listing)[0].startswith("train.txt:3: has 3 cells; a label with commas needs quotes")


def test_a_list_of_ucf101_has_nothing_after_its_number(tmp_path: Path) -> None:
    config = configuration(miniature("ucf101", tmp_path))
    file = tmp_path / "ucfTrainTestlist/trainlist02.txt"
    file.write_text(file.read_text().replace("dog/-c01.avi 2", "dog/-c01.avi a b", 1))
    listing = SampleListing(tmp_path)
    load_object(config.layout)(config, listing)
    [message] = said(listing)
    assert message.startswith("ucfTrainTestlist/trainlist02.txt:2: expected CLASS/CLIP.avi")


def test_a_table_of_avsbench_without_a_header_is_refused(tmp_path: Path) -> None:
    config = configuration(miniature("avsbench", tmp_path))
    file = tmp_path / "s4_meta_data.csv"
    file.write_text(file.read_text().partition("\n")[2])
    listing = SampleListing(tmp_path, ("train", "val", "test"))
    load_object(config.layout)(config, listing)
    assert "s4_meta_data.csv:1: has no header; expected one with name, category and split" in said(
        listing
    )
