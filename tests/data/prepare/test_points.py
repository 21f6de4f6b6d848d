"""ModelNet40 and 3D MNIST: points on meshes, and points with images."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from scipy import stats

from ibml.data.sets.modelnet40.meshes import read_off, sample_surface, scale_to_unit_ball
from tests.data.prepare.conftest import CUBE, Raw, off


def write(folder: Path, text: str) -> Path:
    path = folder / "mesh.off"
    path.write_text(text)
    return path


@pytest.mark.parametrize("squares", [True, False])
def test_points_of_a_cube_are_uniform_on_its_six_sides(tmp_path: Path, squares: bool) -> None:
    mesh = read_off(write(tmp_path, off(squares)))
    points = sample_surface(*mesh, 6_000, np.random.default_rng(0))
    assert points.min() > -1e-12
    assert points.max() < 1 + 1e-12
    sides = (abs(points) < 1e-12).astype(int) + 2 * (abs(points - 1) < 1e-12)
    assert (np.count_nonzero(sides, axis=1) == 1).all()  # on a side, and on no edge
    axis = sides.argmax(axis=1)
    side = 2 * axis + sides.max(axis=1) - 1
    across = np.array([np.delete(point, a) for point, a in zip(points, axis, strict=True)])
    cells = 16 * side + 4 * (across[:, 0] * 4).astype(int) + (across[:, 1] * 4).astype(int)
    assert stats.chisquare(np.bincount(cells, minlength=96)).pvalue > 0.01


def test_a_side_with_more_area_has_more_points() -> None:
    corners = np.array(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 5], [3, 0, 5], [0, 1, 5]], dtype=float
    )
    points = sample_surface(
        corners, np.array([[0, 1, 2], [3, 4, 5]]), 4_000, np.random.default_rng(0)
    )
    assert np.mean(points[:, 2] > 4) == pytest.approx(0.75, abs=0.02)


def test_points_are_centred_and_in_the_unit_ball() -> None:
    points = scale_to_unit_ball(np.random.default_rng(0).normal(5, 3, (100, 3)))
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-12)
    assert np.linalg.norm(points, axis=1).max() == pytest.approx(1)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("OFF\n", "OFF"),
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.replace("OFF\n", "OFF\n# made by hand\n\n"),
        lambda text: "".join(
            f"{line} 255 0 0\n" if line[0] in "34" and " " in line[2:] else f"{line}\n"
            for line in text.split("\n")
            if line
        ),
    ],
    ids=["plain", "counts behind OFF", "CRLF", "a comment", "colours"],
)
def test_off_files_are_read_in_the_ways_that_they_are_written(
    tmp_path: Path, change: Callable[[str], str]
) -> None:
    corners, triangles = read_off(write(tmp_path, change(off())))
    np.testing.assert_array_equal(corners, CUBE)
    assert triangles[:2].tolist() == [[0, 1, 3], [0, 3, 2]]
    assert len(triangles) == 12


@pytest.mark.parametrize(
    "text",
    [
        "",
        "PLY\n",
        "OFF\n",
        "OFF\n1 1\n",
        "OFF\n3 1 0\n0 0 0\n1 0 0\n",
        "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n",
        "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 3\n",
        "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n3 0 1 -1\n",
        "OFF\n3 1 0\n0 0 0\n1 0 0\n0 1 0\n4 0 1 2\n",
        "OFF\n3 1 0\n0 0 0\n1 0 x\n0 1 0\n3 0 1 2\n",
        "OFF\n3 1 0\n0 0 0\n1 0 nan\n0 1 0\n3 0 1 2\n",
    ],
)
def test_a_file_that_is_no_mesh_is_refused_by_its_name(tmp_path: Path, text: str) -> None:
    with pytest.raises(ValueError, match=r"mesh\.off: "):
        sample_surface(*read_off(write(tmp_path, text)), 3, np.random.default_rng(0))


def test_a_mesh_without_area_is_refused(tmp_path: Path) -> None:
    flat = read_off(write(tmp_path, "OFF\n3 1 0\n0 0 0\n1 0 0\n2 0 0\n3 0 1 2\n"))
    with pytest.raises(ValueError, match="no area"):
        sample_surface(*flat, 3, np.random.default_rng(0))


def points_of(root: Path, split: str) -> tuple[np.ndarray, np.ndarray, list[str]]:
    layout = root / "modelnet40_ply_hdf5_2048"
    with h5py.File(layout / f"ply_data_{split}0.h5") as file:
        data, label = file["data"][()], file["label"][()]
    return data, label, json.loads((layout / f"ply_data_{split}_0_id2file.json").read_text())


def test_modelnet40_has_points_names_labels_and_views(modelnet40: Raw) -> None:
    answer = modelnet40.prepare()
    assert answer.code == 0, answer.err
    data, label, names = points_of(modelnet40.out, "train")
    assert (data.shape, data.dtype, label.shape, label.dtype) == (
        (4, 2048, 3),
        np.float32,
        (4, 1),
        np.uint8,
    )
    assert names == [
        "bed/bed_0000.ply",
        "bed/bed_0001.ply",
        "night_stand/night_stand_0000.ply",
        "night_stand/night_stand_0001.ply",
    ]
    assert label[:, 0].tolist() == [0, 0, 1, 1]
    np.testing.assert_allclose(np.linalg.norm(data, axis=2).max(axis=1), 1, atol=1e-6)
    assert not np.array_equal(data[0], data[2])  # the same cube, other points
    assert points_of(modelnet40.out, "test")[2] == [
        "bed/bed_0002.ply",
        "night_stand/night_stand_0002.ply",
    ]
    layout = modelnet40.out / "modelnet40_ply_hdf5_2048"
    assert (layout / "shape_names.txt").read_text() == "bed\nnight_stand\n"
    assert len(list(layout.iterdir())) == 5
    views = modelnet40.out / "ModelNet40-Images-180/bed/bed_0002"
    assert sorted(path.name for path in views.iterdir()) == ["bed_0002.0.png", "bed_0002.1.png"]


def test_a_broken_mesh_is_listed_and_joins_the_others_when_it_is_repaired(modelnet40: Raw) -> None:
    broken = "ModelNet40/bed/train/bed_0001.off"
    modelnet40.write(broken, "OFF\n8 6")
    answer = modelnet40.prepare()
    assert answer.code == 1
    assert answer.err.startswith("1 could not be prepared:\n  bed/bed_0001: ")
    data, label, names = points_of(modelnet40.out, "train")
    assert len(data) == len(label) == len(names) == 3
    modelnet40.write(broken, off())
    assert modelnet40.prepare().code == 0
    repaired, _, names = points_of(modelnet40.out, "train")
    assert len(names) == 4
    np.testing.assert_array_equal(repaired[[0, 2, 3]], data)
    assert len(list((modelnet40.out / "modelnet40_ply_hdf5_2048").iterdir())) == 5


def test_modelnet40_without_images_of_views_says_so(modelnet40: Raw) -> None:
    (modelnet40.folder / "ModelNet40-Images-180").rename(modelnet40.cli.folder / "views")
    answer = modelnet40.prepare()
    assert answer.code == 0, answer.err
    assert "has no ModelNet40-Images-180" in answer.out


def test_points_that_were_downloaded_are_not_mixed_with_those_made(modelnet40: Raw) -> None:
    layout = modelnet40.out / "modelnet40_ply_hdf5_2048"
    layout.mkdir(parents=True)
    (layout / "ply_data_train4.h5").write_bytes(b"")
    answer = modelnet40.prepare()
    assert answer.code == 1
    assert "has ply_data_train4.h5 of another preparation" in answer.err


def test_mnist3d_has_the_same_digits_with_images_in_three_channels(mnist3d: Raw) -> None:
    answer = mnist3d.prepare()
    assert answer.code == 0, answer.err
    for split, count in (("train", 11), ("test", 2)):
        name = f"{split}_point_clouds.h5"
        with h5py.File(mnist3d.folder / name) as raw, h5py.File(mnist3d.out / name) as made:
            assert len(made) == count
            for i, group in made.items():
                assert set(group) == {"img", "points"}
                assert group.attrs["label"] == int(i) % 10
                np.testing.assert_array_equal(group["img"], np.stack(3 * [raw[i]["img"]]))
                np.testing.assert_array_equal(group["points"], raw[i]["points"])


def test_digits_that_cannot_be_read_are_listed_and_made_when_they_can(mnist3d: Raw) -> None:
    path = mnist3d.folder / "train_point_clouds.h5"
    with h5py.File(path, "a") as file:
        del file["3/img"]
        image = file["4/img"][()]
        del file["4/img"]
        file["4/img"] = image[:9]
    answer = mnist3d.prepare()
    assert answer.code == 1
    assert answer.err.startswith("2 could not be prepared:\n  train_point_clouds.h5/3: ")
    assert "train_point_clouds.h5/4: its image has shape (9, 30), not (30, 30)" in answer.err
    with h5py.File(path, "a") as file:
        del file["4/img"]
        file["3/img"] = file["4/img"] = image
    assert mnist3d.prepare().code == 0
    with h5py.File(mnist3d.out / path.name) as made:
        assert len(made) == 11


def test_a_file_that_is_no_hdf5_is_listed_and_the_other_is_made(mnist3d: Raw) -> None:
    mnist3d.write("train_point_clouds.h5", "none")
    answer = mnist3d.prepare()
    assert answer.code == 1
    assert answer.err.startswith("1 could not be prepared:\n  train_point_clouds.h5: ")
    assert [path.name for path in mnist3d.out.iterdir()] == ["test_point_clouds.h5"]
