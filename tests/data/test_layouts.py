"""Every layout finds the samples, and reads the media of the right sample."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter

from ibml import data
from ibml.config.data import DataConfig
from ibml.config.datasets import FilesConfig, HoldoutConfig
from ibml.data.base import Dataset, StreamedSplit
from ibml.data.files.transforms import gather_batch
from ibml.inputs import Input, Sequences
from tests.data.miniatures import GREEN, SHAPES, TEST, TRAIN, VAL, WRITERS, miniature


def configuration(settings: dict[str, Any]) -> FilesConfig:
    config = TypeAdapter(DataConfig).validate_python(settings)
    assert isinstance(config, FilesConfig)
    return config


def load(settings: dict[str, Any], seed: int = 1) -> Dataset:
    config = configuration(settings)
    return data.load(config, config.modalities, seed)


def batch(split: data.AnySplit, modality: str) -> Input:
    """All samples of a split, in its order."""
    assert isinstance(split, StreamedSplit)
    column = split.transforms[modality]
    return column.finish(
        gather_batch(split.transforms, split.rows, 0, ("here",))[modality], torch.float32
    )


def tells(split: data.AnySplit, modality: str) -> list[int]:
    """Return the sample numbers that the media of a split encode."""
    found = batch(split, modality)
    if isinstance(found, Sequences):
        words = split.specs[modality].vocabulary
        return [int(words[text[1] - 1].removeprefix("word")) for text in found.values.tolist()]
    if modality == "audio":
        return [int(spectrum.mean(-1).argmax()) // 2 - 1 for spectrum in found[:, 0]]
    if modality == "points":
        return found[:, 0, 0].int().tolist()
    red = found[:, 0].flatten(1).mean(1) * (1 if found.max() > 1 else 255)
    return [round(value / 20) - 1 for value in red.tolist()]


@pytest.mark.parametrize("kind", WRITERS)
def test_a_data_set_is_read_as_it_is_distributed(kind: str, tmp_path: Path) -> None:
    settings = miniature(kind, tmp_path)
    found = load(settings)
    assert found.classes == (("0", "1") if kind == "mnist3d" else ("cat", "dog"))
    assert {name: spec.shape for name, spec in found.test.specs.items()} == SHAPES[kind]
    seen = []
    for split in (found.train, found.val, found.test):
        assert isinstance(split, StreamedSplit)
        told = [
            tells(split, name) for name in split.specs if name != "text" or split is found.train
        ]
        assert all(numbers == told[0] for numbers in told), "the modalities are those of one sample"
        assert split.labels.tolist() == [n % 2 for n in told[0]]
        seen.append(dict(zip(split.rows.tolist(), told[0], strict=True)))
    if isinstance(configuration(settings), HoldoutConfig):
        assert len(seen[1]) == 2
        seen[:2] = [seen[0] | seen[1]]
    # folders of classes come one after another, and all other files have an order of their own
    key = (lambda n: (n % 2, n)) if kind == "avsbench" else None
    listed = [list(TRAIN), list(VAL), list(TEST)] if len(seen) == 3 else [list(TRAIN), list(TEST)]
    assert [[own[row] for row in sorted(own)] for own in seen] == [
        sorted(numbers, key=key) for numbers in listed
    ]


@pytest.mark.parametrize(
    ("kind", "modality"), [("cremad", "video"), ("avsbench", "video"), ("modelnet40", "image")]
)
def test_frames_and_views_come_in_the_order_of_their_numbers(
    kind: str, modality: str, tmp_path: Path
) -> None:
    frames = batch(load(miniature(kind, tmp_path)).test, modality)
    assert isinstance(frames, torch.Tensor)
    greens = 255 * frames[:, 1].mean((-2, -1))
    np.testing.assert_allclose(greens, [GREEN] * len(TEST), atol=3)


def test_a_clip_with_two_events_is_a_sample_of_each(tmp_path: Path) -> None:
    settings = miniature("ave", tmp_path)
    with (tmp_path / "testSet.txt").open("a") as file:
        file.write("cat&-c09&good&3&7\n")
    found = load(settings)
    assert (tells(found.test, "video"), found.test.labels.tolist()) == ([*TEST, 9], [0, 1, 0, 0])


def test_lists_of_the_official_splits_may_lie_in_the_root(tmp_path: Path) -> None:
    settings = miniature("ucf101", tmp_path)
    for path in (tmp_path / "ucfTrainTestlist").iterdir():
        path.rename(tmp_path / path.name)
    assert tells(load(settings).test, "audio") == list(TEST)


def test_a_table_with_another_header_has_the_class_in_its_third_column(tmp_path: Path) -> None:
    settings = miniature("avsbench", tmp_path)
    table = tmp_path / "s4_meta_data.csv"
    table.write_text(
        table.read_text().replace("name,start,category,split", "video,begin,what,where")
    )
    assert load(settings).classes == ("cat", "dog")
    table.write_text("video,begin,what\nx,0,cat\n")
    with pytest.raises(data.DataError, match=r"s4_meta_data\.csv has no class 'dog'"):
        load({**settings, "root": f"{tmp_path}/."})


def test_files_of_other_systems_are_no_samples(tmp_path: Path) -> None:
    settings = miniature("avsbench", tmp_path)
    for folder in (
        tmp_path / "s4_data/audio_wav/train",
        tmp_path / "s4_data/visual_frames/train/cat/-c00",
    ):
        (folder / "._2.png").write_bytes(b"\0\5\x16\7")
        (folder / ".DS_Store").write_bytes(b"\0")
    assert len(load(settings).train) == len(TRAIN)
