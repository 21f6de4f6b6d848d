"""Preparation of MVSA-Single: data/<id>.jpg, data/<id>.txt and labelResultAll.txt.

The last file has a label of the text and one of the image of each pair.

Niu, Zhu, Pang and El Saddik, "Sentiment Analysis on Multi-View Social Data", MMM 2016. The two
labels are combined as in Xu and Mao, "MultiSentiNet: A Deep Semantic Network for Multimodal
Sentiment Analysis", CIKM 2017.
"""

from __future__ import annotations

from pathlib import Path

from ibml.common.errors import ConfigError, Problem, SourceLocation
from ibml.data.prepare.preparation import Preparation, build_copy_task, format_jsonl
from ibml.data.prepare.raw_files import (
    parse_lines,
    read_lines,
    read_utf8,
    require_path,
    validate_file_name,
)
from ibml.data.prepare.stratified import draw_stratified

LABELS = ("positive", "neutral", "negative")
LAYOUT = "data/<id>.jpg, data/<id>.txt and labelResultAll.txt"


def prepare(work: Preparation) -> None:
    """Copy the images, and write train.jsonl, dev.jsonl and test.jsonl: 60, 20 and 20 %."""
    require_path(work.raw, "data", LAYOUT)
    file = require_path(work.raw, "labelResultAll.txt", LAYOUT)
    lines = list(read_lines(file))
    if not lines or lines[0][1].split() != ["ID", "text,image"]:
        message = "the first line must be the header: ID, text,image"
        raise ConfigError([Problem(SourceLocation(str(file), 1), message)])
    pairs = parse_lines(file, lines[1:], lambda line: _parse_pair(line, work.raw / "data"))
    samples = [sample for sample in pairs if sample["label"]]
    labels = [sample["label"] for sample in samples]
    test = draw_stratified(labels, -(-len(samples) // 5), "mvsa", "test")
    rest = [i for i in range(len(samples)) if i not in test]
    rest_labels = [labels[i] for i in rest]
    drawn = draw_stratified(rest_labels, len(samples) // 5, "mvsa", "dev")
    dev = {rest[position] for position in drawn}
    work.write_files(
        {
            "train.jsonl": format_jsonl(samples[i] for i in rest if i not in dev),
            "dev.jsonl": format_jsonl(samples[i] for i in rest if i in dev),
            "test.jsonl": format_jsonl(samples[i] for i in sorted(test)),
        }
    )
    work.report(
        f"{len(pairs) - len(samples):,} of {len(pairs):,} pairs are left out, since either the text"
        " or the image is positive and the other is negative."
    )
    work.report(
        f"The split is defined by ibml: {len(rest) - len(dev):,} / {len(dev):,} / {len(test):,}"
        " samples, drawn with a fixed seed and stratified by label."
    )
    images = [sample["img"] for sample in samples]
    work.make([build_copy_task(image, work.raw / image, work.root / image) for image in images])


def _parse_pair(line: str, data: Path) -> dict[str, str]:
    """Parse the row of a pair; its label is empty if the two labels contradict each other."""
    name, *given = line.replace(",", " ").split()
    if len(given) != 2 or set(given) - set(LABELS):
        choices = ", ".join(LABELS)
        raise ValueError(f"expected an id and two labels of {choices}: ID, text,image")
    text_file = data / f"{validate_file_name(name)}.txt"
    if not text_file.is_file():
        raise ValueError(f"{text_file} is missing")
    polar = set(given) - {"neutral"}
    label = "" if len(polar) == 2 else next(iter(polar), "neutral")
    return {
        "id": name,
        "label": label,
        "text": read_utf8(text_file).strip(),
        "img": f"data/{name}.jpg",
    }
