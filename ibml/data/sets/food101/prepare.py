"""Preparation of UPMC Food-101: images/{train,test}/<class>/*.jpg, texts/{train,test}_titles.csv.

Wang, Kumar, Thome, Cord and Precioso, "Recipe recognition with large multimodal food dataset",
ICMEW 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ibml.data.prepare.preparation import Preparation, build_copy_task, format_jsonl
from ibml.data.prepare.raw_files import parse_lines, read_csv, require_path, validate_file_name
from ibml.data.prepare.stratified import draw_stratified

DEV = 5_000
"""Number of validation samples in the complete data set."""
TRAIN = 67_971
"""Number of samples in the complete data set from which they are drawn."""
LAYOUT = "images/{train,test}/<class>/*.jpg and texts/{train_titles.csv,test_titles.csv}"
JsonSample = dict[str, str]


def prepare(work: Preparation) -> None:
    """Copy the images, and write train.jsonl, dev.jsonl and test.jsonl from the titles."""
    require_path(work.raw, "images", LAYOUT)
    train = _read_samples(work.raw, "train")
    test = _read_samples(work.raw, "test")
    dev = draw_validation([sample["label"] for sample in train])
    work.write_files(
        {
            "train.jsonl": format_jsonl(sample for i, sample in enumerate(train) if i not in dev),
            "dev.jsonl": format_jsonl(sample for i, sample in enumerate(train) if i in dev),
            "test.jsonl": format_jsonl(test),
        }
    )
    work.report(
        f"The validation split is defined by ibml: {len(dev):,} of {len(train):,} training samples,"
        " drawn with a fixed seed and stratified by class."
    )
    images = dict.fromkeys(sample["img"] for sample in (*train, *test))
    work.make([build_copy_task(image, work.raw / image, work.root / image) for image in images])


def draw_validation(labels: Sequence[str]) -> set[int]:
    """Draw the validation samples from those of train, fewer if train is not complete.

    Args:
        labels: Labels of the training samples.

    Returns:
        Positions of the validation samples.
    """
    return draw_stratified(labels, min(DEV, round(len(labels) * DEV / TRAIN)), "food101")


def _read_samples(raw: Path, split: Literal["train", "test"]) -> list[JsonSample]:
    titles = require_path(raw, f"texts/{split}_titles.csv", LAYOUT)

    def parse_row(row: list[str]) -> JsonSample:
        if len(row) < 3:
            raise ValueError(
                "expected an image, a title and a class: apple_pie_0.jpg,Apple pie,apple_pie"
            )
        image = validate_file_name(row[0])
        label = validate_file_name(row[-1].strip())
        return {
            "id": Path(image).stem,
            "label": label,
            "text": ",".join(row[1:-1]).strip(),
            "img": f"images/{split}/{label}/{image}",
        }

    return parse_lines(titles, read_csv(titles), parse_row)
