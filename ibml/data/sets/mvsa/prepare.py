"""MVSA-Single: data/<id>.jpg, data/<id>.txt and labelResultAll.txt with a label of the text and one of the image.

Niu, Zhu, Pang and El Saddik, "Sentiment Analysis on Multi-View Social Data", MMM 2016; one label out of two as in Xu
and Mao, "MultiSentiNet: A Deep Semantic Network for Multimodal Sentiment Analysis", CIKM 2017.
"""

from __future__ import annotations

from pathlib import Path

from ibml.common.errors import ConfigError, Problem, SourceLocation
from ibml.data.prepare.draws import drawn
from ibml.data.prepare.raw import lines_of, name_of_file, parsed, part_of, text_of
from ibml.data.prepare.work import Work, copy_of, jsonl

LABELS = ("positive", "neutral", "negative")
LAYOUT = "data/<id>.jpg, data/<id>.txt and labelResultAll.txt"


def prepare(work: Work) -> None:
    """Images and, out of labels and texts, train.jsonl, dev.jsonl and test.jsonl: 60, 20 and 20 %."""
    part_of(work.raw, "data", LAYOUT)
    file = part_of(work.raw, "labelResultAll.txt", LAYOUT)
    lines = list(lines_of(file))
    if not lines or lines[0][1].split() != ["ID", "text,image"]:
        raise ConfigError([Problem(SourceLocation(str(file), 1), "the first line must be the header: ID, text,image")])
    pairs = parsed(file, lines[1:], lambda line: _pair(line, work.raw / "data"))
    samples = [sample for sample in pairs if sample["label"]]
    labels = [sample["label"] for sample in samples]
    test = drawn(labels, -(-len(samples) // 5), "mvsa", "test")
    rest = [i for i in range(len(samples)) if i not in test]
    dev = {rest[j] for j in drawn([labels[i] for i in rest], len(samples) // 5, "mvsa", "dev")}
    work.write_files(
        {
            "train.jsonl": jsonl(samples[i] for i in rest if i not in dev),
            "dev.jsonl": jsonl(samples[i] for i in rest if i in dev),
            "test.jsonl": jsonl(samples[i] for i in sorted(test)),
        }
    )
    work.say(
        f"{len(pairs) - len(samples):,} of {len(pairs):,} pairs are left out: of text and image, one is positive and"
        " the other negative."
    )
    work.say(
        f"The split is ibml's: {len(rest) - len(dev):,} / {len(dev):,} / {len(test):,} samples, drawn with a fixed seed"
        " and stratified by label."
    )
    work.make([copy_of(s["img"], work.raw / s["img"], work.root / s["img"]) for s in samples])


def _pair(line: str, data: Path) -> dict[str, str]:
    """A sample; its label is empty where the two contradict each other."""
    name, *given = line.replace(",", " ").split()
    if len(given) != 2 or set(given) - set(LABELS):
        raise ValueError(f"a row has an id and two labels of {', '.join(LABELS)}: ID, text,image")
    name_of_file(name)
    if not (data / f"{name}.txt").is_file():
        raise ValueError(f"{data / f'{name}.txt'} is missing")
    polar = set(given) - {"neutral"}
    label = "" if len(polar) == 2 else next(iter(polar), "neutral")
    return {"id": name, "label": label, "text": text_of(data / f"{name}.txt").strip(), "img": f"data/{name}.jpg"}
