"""UPMC Food-101: images/{train,test}/<class>/<file>.jpg and texts/{train,test}_titles.csv.

Wang, Kumar, Thome, Cord and Precioso, "Recipe recognition with large multimodal food dataset", ICMEW 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ibml.data.prepare.draws import drawn
from ibml.data.prepare.raw import csv_of, name_of_file, parsed, part_of
from ibml.data.prepare.work import Work, copy_of, jsonl

DEV, FROM = 5_000, 67_971
"""Samples for validation, and how many there are to take them from."""
LAYOUT = "images/{train,test}/<class>/*.jpg and texts/{train_titles.csv,test_titles.csv}"
Sample = dict[str, str]


def prepare(work: Work) -> None:
    """Images and, out of the titles, train.jsonl, dev.jsonl and test.jsonl."""
    part_of(work.raw, "images", LAYOUT)
    train, test = _samples(work.raw, "train"), _samples(work.raw, "test")
    dev = validation([sample["label"] for sample in train])
    work.write_files(
        {
            "train.jsonl": jsonl(sample for i, sample in enumerate(train) if i not in dev),
            "dev.jsonl": jsonl(sample for i, sample in enumerate(train) if i in dev),
            "test.jsonl": jsonl(test),
        }
    )
    work.say(
        f"The validation part is ibml's: {len(dev):,} of {len(train):,} training samples, drawn with a fixed seed and"
        " stratified by class."
    )
    images = [sample["img"] for sample in (*train, *test)]
    work.make([copy_of(image, work.raw / image, work.root / image) for image in dict.fromkeys(images)])


def validation(labels: Sequence[str]) -> set[int]:
    """Positions of the training samples that are for validation; in proportion where there are fewer."""
    return drawn(labels, min(DEV, round(len(labels) * DEV / FROM)), "food101")


def _samples(raw: Path, split: Literal["train", "test"]) -> list[Sample]:
    titles = part_of(raw, f"texts/{split}_titles.csv", LAYOUT)

    def sample(row: list[str]) -> Sample:
        if len(row) < 3:
            raise ValueError("a row has an image, a title and a class: apple_pie_0.jpg,Apple pie,apple_pie")
        image, *title, label = row[0], *row[1:-1], row[-1].strip()
        name_of_file(image), name_of_file(label)
        text = ",".join(title).strip()
        return {
            "id": Path(image).stem,
            "label": label,
            "text": text,
            "img": f"images/{split}/{label}/{image}",
        }

    return parsed(titles, csv_of(titles), sample)
