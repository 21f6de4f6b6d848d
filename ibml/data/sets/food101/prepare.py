"""UPMC Food-101: images/{train,test}/<class>/<file>.jpg and texts/{train,test}_titles.csv.

Wang, Kumar, Thome, Cord and Precioso, "Recipe recognition with large multimodal food dataset", ICMEW 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ibml.data.prepare.preparation import Preparation, build_copy_task, format_jsonl
from ibml.data.prepare.raw_files import parse_lines, read_csv, require_path, validate_file_name
from ibml.data.prepare.stratified import draw_stratified

DEV, FROM = 5_000, 67_971
"""Samples for validation, and how many there are to take them from."""
LAYOUT = "images/{train,test}/<class>/*.jpg and texts/{train_titles.csv,test_titles.csv}"
Sample = dict[str, str]


def prepare(work: Preparation) -> None:
    """Images and, out of the titles, train.jsonl, dev.jsonl and test.jsonl."""
    require_path(work.raw, "images", LAYOUT)
    train, test = _read_samples(work.raw, "train"), _read_samples(work.raw, "test")
    dev = draw_validation([sample["label"] for sample in train])
    work.write_files(
        {
            "train.jsonl": format_jsonl(sample for i, sample in enumerate(train) if i not in dev),
            "dev.jsonl": format_jsonl(sample for i, sample in enumerate(train) if i in dev),
            "test.jsonl": format_jsonl(test),
        }
    )
    work.report(
        f"The validation part is ibml's: {len(dev):,} of {len(train):,} training samples, drawn with a fixed seed and"
        " stratified by class."
    )
    images = [sample["img"] for sample in (*train, *test)]
    work.make(
        [
            build_copy_task(image, work.raw / image, work.root / image)
            for image in dict.fromkeys(images)
        ]
    )


def draw_validation(labels: Sequence[str]) -> set[int]:
    """Positions of the training samples that are for validation; in proportion where there are fewer."""
    return draw_stratified(labels, min(DEV, round(len(labels) * DEV / FROM)), "food101")


def _read_samples(raw: Path, split: Literal["train", "test"]) -> list[Sample]:
    titles = require_path(raw, f"texts/{split}_titles.csv", LAYOUT)

    def sample(row: list[str]) -> Sample:
        if len(row) < 3:
            raise ValueError(
                "a row has an image, a title and a class: apple_pie_0.jpg,Apple pie,apple_pie"
            )
        image, *title, label = row[0], *row[1:-1], row[-1].strip()
        validate_file_name(image), validate_file_name(label)
        text = ",".join(title).strip()
        return {
            "id": Path(image).stem,
            "label": label,
            "text": text,
            "img": f"images/{split}/{label}/{image}",
        }

    return parse_lines(titles, read_csv(titles), sample)
