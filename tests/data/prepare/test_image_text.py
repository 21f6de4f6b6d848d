"""UPMC Food-101 and MVSA-Single: lists of images with texts and labels."""

from __future__ import annotations

from collections import Counter

import pytest

from ibml.data.sets.food101.prepare import draw_validation
from tests.data.prepare.conftest import PAIRS, Raw, jsonl


def test_food101_has_its_titles_and_a_validation_part_out_of_training(food101: Raw) -> None:
    answer = food101.prepare()
    assert answer.code == 0, answer.err
    train, dev, test = (jsonl(food101.out / f"{split}.jsonl") for split in ("train", "dev", "test"))
    assert (len(train), len(dev), len(test)) == (37, 3, 10)  # 40 * 5000 / 67971 = 2.9
    assert "3 of 40 training samples" in answer.out
    assert test[0] == {
        "id": "apple_pie_20",
        "label": "apple_pie",
        "text": 'Pie, "best" of 20 | É',
        "img": "images/test/apple_pie/apple_pie_20.jpg",
    }
    assert {sample["id"] for sample in train + dev} == {
        f"{c}_{i}" for c in ("apple_pie", "baklava") for i in range(20)
    }
    for sample in (*train, *dev, *test):
        assert (food101.out / sample["img"]).read_bytes() == (
            food101.folder / sample["img"]
        ).read_bytes()


@pytest.mark.parametrize(("samples", "expected"), [(67_971, 5_000), (67_988, 5_000), (6_797, 500)])
def test_food101_as_distributed_gives_the_papers_numbers(samples: int, expected: int) -> None:
    labels = [str(i % 101) for i in range(samples)]
    dev = draw_validation(labels)
    assert len(dev) == expected
    counts = Counter(labels[i] for i in dev).values()
    assert len(counts) == 101
    assert max(counts) - min(counts) <= 1


def test_an_image_that_is_missing_or_was_cut_off_is_seen(food101: Raw) -> None:
    gone, whole = "images/test/baklava/baklava_20.jpg", "images/test/baklava/baklava_21.jpg"
    (food101.folder / gone).unlink()
    content = (food101.folder / whole).read_bytes()
    (food101.folder / whole).write_bytes(content[:99])
    answer = food101.prepare()
    assert answer.code == 1
    assert answer.err == f"1 could not be prepared:\n  {gone}: {food101.folder / gone} is missing\n"
    assert len(jsonl(food101.out / "test.jsonl")) == 10
    (food101.folder / gone).write_bytes(content)
    (food101.folder / whole).write_bytes(content)
    again = food101.prepare()
    assert again.code == 0, again.err
    assert "2 files and folders created, 48 existed" in again.out
    assert (food101.out / whole).read_bytes() == content


def test_rows_that_lead_elsewhere_or_have_too_little_are_refused(food101: Raw) -> None:
    titles = food101.write(
        "texts/test_titles.csv", 'a.jpg,"two\nlines",x\n../a.jpg,t,x\na.jpg,t,..\na.jpg,t\n'
    )
    answer = food101.prepare()
    assert answer.code == 2
    assert answer.err.splitlines() == [
        f"{titles}:3: '../a.jpg' is not a file name",
        f"{titles}:4: '..' is not a file name",
        f"{titles}:5: expected an image, a title and a class: apple_pie_0.jpg,Apple pie,apple_pie",
    ]
    assert not food101.out.exists()


def test_mvsa_has_one_label_out_of_two_and_leaves_out_what_contradicts_itself(mvsa: Raw) -> None:
    answer = mvsa.prepare()
    assert answer.code == 0, answer.err
    assert "10 of 45 pairs are left out" in answer.out
    splits = {split: jsonl(mvsa.out / f"{split}.jsonl") for split in ("train", "dev", "test")}
    assert {split: len(samples) for split, samples in splits.items()} == {
        "train": 21,
        "dev": 7,
        "test": 7,
    }
    samples = {int(sample["id"]): sample for part in splits.values() for sample in part}
    expected = dict(enumerate(5 * list(PAIRS.values()), 1))
    assert {number: sample["label"] for number, sample in samples.items()} == {
        number: label for number, label in expected.items() if label
    }
    for number, sample in samples.items():
        assert sample["text"] == f"RT @user: café {number}"
        assert sample["img"] == f"data/{number}.jpg"
        assert (mvsa.out / sample["img"]).read_bytes() == (mvsa.folder / sample["img"]).read_bytes()
    assert Counter(sample["label"] for sample in splits["test"]) == {
        "positive": 3,
        "negative": 3,
        "neutral": 1,
    }


@pytest.mark.parametrize(
    ("rows", "line", "said"),
    [
        ("1\tpositive,positive\n", 1, "ID, text,image"),
        ("", 1, "ID, text,image"),
        ("ID\ttext,image\n1\tpositive,happy\n", 2, "two labels"),
        ("ID\ttext,image\n1\tpositive\n", 2, "two labels"),
        ("ID\ttext,image\n../1\tpositive,positive\n", 2, "'../1' is not a file name"),
        ("ID\ttext,image\n999\tpositive,positive\n", 2, "999.txt is missing"),
    ],
)
def test_a_wrong_list_is_refused_with_its_line(mvsa: Raw, rows: str, line: int, said: str) -> None:
    listed = mvsa.write("labelResultAll.txt", rows)
    answer = mvsa.prepare()
    assert answer.code == 2
    assert answer.err.startswith(f"{listed}:{line}: ")
    assert said in answer.err
    assert not mvsa.out.exists()
