"""MVSA-Single: data/<id>.jpg, data/<id>.txt and labelResultAll.txt with a label of the text and one of the image.

Niu, Zhu, Pang and El Saddik, "Sentiment Analysis on Multi-View Social Data", MMM 2016; one label out of two as in Xu
and Mao, "MultiSentiNet: A Deep Semantic Network for Multimodal Sentiment Analysis", CIKM 2017.
"""

from __future__ import annotations

from pathlib import Path

from ibml.common.errors import ConfigError, Problem, SourceLocation
from ibml.data.prepare.preparation import Preparation, build_copy_task, format_jsonl
from ibml.data.prepare.raw_files import (
    parse_lines,
    read_lines,
    read_text,
    require_path,
    validate_file_name,
)
from ibml.data.prepare.stratified import draw_stratified

LABELS = ("positive", "neutral", "negative")
LAYOUT = "data/<id>.jpg, data/<id>.txt and labelResultAll.txt"


def prepare(work: Preparation) -> None:
    """Images and, out of labels and texts, train.jsonl, dev.jsonl and test.jsonl: 60, 20 and 20 %."""
    require_path(work.raw, "data", LAYOUT)
    file = require_path(work.raw, "labelResultAll.txt", LAYOUT)
    lines = list(read_lines(file))
    if not lines or lines[0][1].split() != ["ID", "text,image"]:
        raise ConfigError(
            [
                Problem(
                    SourceLocation(str(file), 1),
                    "the first line must be the header: ID, text,image",
                )
            ]
        )
    pairs = parse_lines(file, lines[1:], lambda line: _parse_pair(line, work.raw / "data"))
    samples = [sample for sample in pairs if sample["label"]]
    labels = [sample["label"] for sample in samples]
    test = draw_stratified(labels, -(-len(samples) // 5), "mvsa", "test")
    rest = [i for i in range(len(samples)) if i not in test]
    dev = {
        rest[j]
        for j in draw_stratified([labels[i] for i in rest], len(samples) // 5, "mvsa", "dev")
    }
    work.write_files(
        {
            "train.jsonl": format_jsonl(samples[i] for i in rest if i not in dev),
            "dev.jsonl": format_jsonl(samples[i] for i in rest if i in dev),
            "test.jsonl": format_jsonl(samples[i] for i in sorted(test)),
        }
    )
    work.report(
        f"{len(pairs) - len(samples):,} of {len(pairs):,} pairs are left out: of text and image, one is positive and"
        " the other negative."
    )
    work.report(
        f"The split is ibml's: {len(rest) - len(dev):,} / {len(dev):,} / {len(test):,} samples, drawn with a fixed seed"
        " and stratified by label."
    )
    work.make(
        [build_copy_task(s["img"], work.raw / s["img"], work.root / s["img"]) for s in samples]
    )


def _parse_pair(line: str, data: Path) -> dict[str, str]:
    """A sample; its label is empty where the two contradict each other."""
    name, *given = line.replace(",", " ").split()
    if len(given) != 2 or set(given) - set(LABELS):
        raise ValueError(f"a row has an id and two labels of {', '.join(LABELS)}: ID, text,image")
    validate_file_name(name)
    if not (data / f"{name}.txt").is_file():
        raise ValueError(f"{data / f'{name}.txt'} is missing")
    polar = set(given) - {"neutral"}
    label = "" if len(polar) == 2 else next(iter(polar), "neutral")
    return {
        "id": name,
        "label": label,
        "text": read_text(data / f"{name}.txt").strip(),
        "img": f"data/{name}.jpg",
    }
