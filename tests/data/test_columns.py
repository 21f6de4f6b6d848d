"""Batch transforms: within their bounds, reproducible, and different in every epoch."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Pillow

from ibml import data
from ibml.config.preprocessing import ImageConfig, PointsConfig, ViewsConfig
from ibml.data.files.transforms import (
    ImageTransform,
    PointCloudTransform,
    RandomCropTransform,
    RandomViewTransform,
    augment_clouds,
    crop_box,
    make_batch_generator,
)
from ibml.data.files.vector_file import load_word_vectors
from ibml.data.sets.folder.config import FolderConfig
from ibml.data.stores.store import Store, StoreWriter
from ibml.inputs import Sequences


def stored(folder: Path, samples: list[list[np.ndarray]]) -> Store:
    writer = StoreWriter(folder / "unfinished", samples[0][0].dtype.type)
    for arrays in samples:
        writer.append(arrays)
    writer.finish(folder / "store", ())
    return Store(folder / "store")


def draws(*where: object) -> np.random.Generator:
    return make_batch_generator(3, *where)


def test_random_parts_have_their_share_of_the_area_and_lie_inside() -> None:
    generator, shares, aspects = np.random.default_rng(0), [], []
    for _ in range(2000):
        top, left, height, width = crop_box(90, 120, generator.random(22))
        assert 0 <= top <= 90 - height
        assert 0 <= left <= 120 - width
        shares.append(height * width / (90 * 120))
        aspects.append(width / height)
    assert 0.07 < min(shares) < 0.1
    assert 0.85 < max(shares) <= 1
    assert 0.7 < min(aspects) < 0.8
    assert 1.25 < max(aspects) < 1.4


@pytest.mark.parametrize("size", [(1, 1), (2, 50), (50, 2), (1, 400)])
def test_narrow_pictures_have_parts_too(size: tuple[int, int]) -> None:
    for seed in range(50):
        top, left, height, width = crop_box(*size, np.random.default_rng(seed).random(22))
        assert height >= 1
        assert width >= 1
        assert top + height <= size[0]
        assert left + width <= size[1]


def test_a_random_part_is_what_pillow_makes_of_it(tmp_path: Path) -> None:
    picture = np.random.default_rng(5).integers(0, 255, (60, 80, 3), np.uint8)
    store = stored(tmp_path, [[picture]])
    numbers = draws("a").random((1, 1, 24))[0, 0]
    top, left, height, width = crop_box(60, 80, numbers[1:-1])
    made = RandomCropTransform(store, ImageConfig(size=24)).gather(np.array([0]), draws("a"))
    part = Pillow.fromarray(picture[top : top + height, left : left + width])
    expected = np.asarray(part.resize((24, 24), Pillow.Resampling.BILINEAR)).astype(int)
    expected = expected[:, ::-1] if numbers[-1] < 0.5 else expected
    assert np.abs(made[0].numpy().astype(int) - expected).max() <= 1


def test_pixels_are_normalised_channel_by_channel(tmp_path: Path) -> None:
    pictures = np.random.default_rng(5).integers(0, 255, (4, 2, 6, 5, 3), np.uint8)
    column = ImageTransform(
        stored(tmp_path, [[picture] for picture in pictures]), ImageConfig(size=6)
    )
    made = column.finish(column.gather(np.array([2, 0]), draws()), torch.float32)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    expected = np.moveaxis((pictures[[2, 0]] / 255 - mean) / std, -1, 1)
    np.testing.assert_allclose(made.numpy(), expected, atol=1e-5)
    assert column.spec.shape == (3, 2, 6, 5) == tuple(made.shape[1:])


def test_views_are_distinct_and_come_in_every_place(tmp_path: Path) -> None:
    views = np.arange(20, dtype=np.uint8)[:, None, None, None] * np.ones((1, 2, 2, 3), np.uint8)
    column = RandomViewTransform(stored(tmp_path, [[views]]), ViewsConfig(count=4, of=20))
    made = column.gather(np.zeros(300, int), draws())[..., 0, 0, 0].numpy()
    assert made.shape == (300, 4)
    assert all(len(set(row)) == 4 for row in made)
    counts = np.bincount(made.ravel(), minlength=20)
    assert counts.min() > 30  # 60 are expected of each


def test_points_are_drawn_without_replacement_and_stay_in_evaluation(tmp_path: Path) -> None:
    clouds = [[np.arange(3 * n, dtype=np.float32).reshape(n, 3)] for n in (50, 20, 4)]
    store, rows = stored(tmp_path, clouds), np.array([0, 1, 2])
    training, fixed = (
        PointCloudTransform(store, PointsConfig(count=16), None),
        PointCloudTransform(store, PointsConfig(count=16), 7),
    )
    first, second = (training.gather(rows, draws(epoch)).numpy() for epoch in (0, 1))
    for cloud in first[:2]:
        assert len(np.unique(cloud, axis=0)) == 16
    assert len(np.unique(first[2], axis=0)) <= 4
    assert not np.array_equal(first, second)
    there = fixed.gather(rows, draws(0)).numpy()
    assert np.array_equal(there, fixed.gather(rows, draws(1)).numpy())
    assert np.array_equal(there[1:], fixed.gather(rows[1:], draws(2)).numpy()), (
        "a draw depends on the rest of the batch"
    )


def test_moved_clouds_keep_the_vertical_axis_and_their_bounds() -> None:
    clouds = np.zeros((500, 2, 3), np.float32)
    clouds[:, 1] = [0, 1, 0]
    made = augment_clouds(clouds, np.random.default_rng(0))
    axis = made[:, 1] - made[:, 0]
    assert np.abs(axis[:, [0, 2]]).max() <= 0.0401, "the vertical axis was turned"
    assert 2 / 3 - 0.041 <= axis[:, 1].min() < 0.72
    assert 1.43 < axis[:, 1].max() <= 3 / 2 + 0.041
    clouds[:, 1] = [1, 0, 0]
    turned = augment_clouds(clouds, np.random.default_rng(0))
    angles = np.arctan2(*(turned[:, 1] - turned[:, 0])[:, [2, 0]].T)
    assert np.histogram(angles, 4, (-np.pi, np.pi))[0].min() > 80


def texts(tmp_path: Path, **column: object) -> data.Dataset:
    rows = [
        "split,text,label",
        "train,the Red hat,a",
        "train,a blue hat,b",
        "train,green red,a",
        "train,hat hat,b",
    ]
    rows += ["val,purple hat,a", "test,red unseen,a", "test,,b"]
    (tmp_path / "t.csv").write_text("\n".join(rows))
    config = FolderConfig.model_validate(
        {
            "root": str(tmp_path),
            "tables": "t.csv",
            "columns": {"t": {"kind": "text", "column": "text", **column}},
        }
    )
    data.prepare_datasets([config])
    return data.load(config, ("t",), 0)


def test_words_that_training_does_not_have_are_unknown(tmp_path: Path) -> None:
    dataset = texts(tmp_path)
    spec = dataset.train.specs["t"]
    assert spec.vocabulary == ("a", "blue", "green", "hat", "red", "the")
    test = dataset.test.transforms["t"].gather(dataset.test.rows, draws())
    assert isinstance(test, Sequences)
    assert test.values.tolist() == [[5, 0], [0, 0]]
    assert test.lengths.tolist() == [2, 1]
    assert dataset.val.transforms["t"].gather(dataset.val.rows, draws()).values.tolist() == [[0, 4]]


def test_given_word_vectors_are_read_once_and_unknown_words_are_zero(tmp_path: Path) -> None:
    glove = tmp_path / "glove.txt"
    glove.write_text("hat 1 2 3\npurple 4 5 6\nelsewhere 7 8 9\nred -1 0.5 1e-2\n")
    dataset = texts(tmp_path, vectors=str(glove))
    spec = dataset.train.specs["t"]
    assert spec.vocabulary == ("hat", "purple", "red")
    expected = np.array([[0, 0, 0], [1, 2, 3], [4, 5, 6], [-1, 0.5, 0.01]], np.float32)
    np.testing.assert_array_equal(spec.vectors.numpy(), expected)
    glove.write_text("hat 1 2 3\nred 4 5\n")
    with pytest.raises(data.DataError, match=r"glove.txt:2: 'red' has 2 numbers, not 3"):
        texts(tmp_path, vectors=str(glove))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "has no vector for any word"),
        (b"hat 1 2\n\xff 3 4\n", ":2: expected a word and its vector"),
        (b"hat 1 2\nred 3 inf\n", ":2: 'red' has values that are not finite numbers"),
        (b"a hat is no vector\n", ":1: expected a word and its vector"),
    ],
)
def test_a_file_that_is_none_of_word_vectors_is_refused(
    tmp_path: Path, content: bytes, words: str
) -> None:
    glove = tmp_path / "glove.txt"
    glove.write_bytes(content)
    with pytest.raises(data.DataError, match=words):
        texts(tmp_path, vectors=str(glove))


def test_word_vectors_may_have_words_of_several_parts_and_empty_lines(tmp_path: Path) -> None:
    glove = tmp_path / "glove.txt"
    glove.write_text("hat 1 2 3\nat name@domain.com 4 5 6\n. . . 7 8 9\n\nred 10 11 12\n")
    vectors = texts(tmp_path, vectors=str(glove)).train.specs["t"].vectors
    assert vectors is not None
    assert vectors.tolist() == [[0, 0, 0], [1, 2, 3], [10, 11, 12]]


def test_word_vectors_that_cannot_be_cached_are_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    glove = tmp_path / "glove.txt"
    glove.write_text("hat 1 2 3\n")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("IBML_CACHE", str(tmp_path / "file"))
    with pytest.raises(data.DataError, match=r"could not be cached: .*set IBML_CACHE"):
        load_word_vectors(str(glove), ["hat"])
