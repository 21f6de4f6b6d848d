"""ModelNet40: meshes ModelNet40/<class>/{train,test}/<name>.off and, made by others, images of 180 views.

Wu, Song, Khosla, Yu, Zhang, Tang and Xiao, "3D ShapeNets: A Deep Representation for Volumetric Shapes", CVPR 2015;
points laid out as in Qi, Su, Mo and Guibas, "PointNet", CVPR 2017.
"""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ibml.common.atomic_files import remove_unfinished, replace_atomically
from ibml.common.errors import IbmlError
from ibml.common.optional_deps import import_optional
from ibml.common.rng import stream_seed
from ibml.data.prepare.preparation import Preparation, PreparationTask
from ibml.data.prepare.raw_files import list_matching, require_path
from ibml.data.sets.modelnet40.meshes import read_off, sample_surface, scale_to_unit_ball

POINTS = 2_048
SPLITS = ("train", "test")
VIEWS = "ModelNet40-Images-180"
LAYOUT = "ModelNet40/<class>/{train,test}/*.off"


class Mesh(NamedTuple):
    """A mesh by the class and the name that it has everywhere."""

    label: str
    path: Path

    @property
    def name(self) -> str:
        return f"{self.label}/{self.path.stem}"


def prepare(work: Preparation) -> None:
    """Points on every mesh, a file of them for each split, and the images where they are."""
    import_optional("h5py", "points")
    meshes = require_path(work.raw, "ModelNet40", LAYOUT)
    classes = [path.name for path in list_matching(meshes, "*/")]
    splits = {split: _find_meshes(meshes, classes, split) for split in SPLITS}
    if not all(splits.values()):
        raise IbmlError(f"{meshes} has no meshes; it must be a folder with {LAYOUT}")
    layout = work.root / "modelnet40_ply_hdf5_2048"
    others = sorted(path.name for path in layout.glob("ply_data_*[1-9]*.h5"))
    if others:
        raise IbmlError(
            f"{layout} has {others[0]} of another preparation; move it away to have points made"
        )
    work.write_files(
        {f"{layout.name}/shape_names.txt": "".join(f"{label}\n" for label in classes).encode()}
    )
    for split, listed in splits.items():
        _make_points(work, layout, split, listed, classes)
    _copy_views(work, [mesh for listed in splits.values() for mesh in listed])


def _find_meshes(folder: Path, classes: list[str], split: str) -> list[Mesh]:
    places = [(label, folder / label / split) for label in classes]
    return [
        Mesh(label, path)
        for label, place in places
        if place.is_dir()
        for path in list_matching(place, "*.off")
    ]


def _make_points(
    work: Preparation, layout: Path, split: str, meshes: list[Mesh], classes: list[str]
) -> None:
    """The list beside the points is written last, so where it names all meshes, the points are there."""
    points, names = layout / f"ply_data_{split}0.h5", layout / f"ply_data_{split}_0_id2file.json"
    parts = layout / f"points.{split}"
    remove_unfinished(layout)
    if (
        points.is_file()
        and names.is_file()
        and names.read_text(encoding="utf-8") == _format_names(meshes)
    ):
        work.reused += len(meshes)
    else:
        work.make(
            [
                PreparationTask(m.name, parts / f"{m.name}.npy", partial(_write_points, m))
                for m in meshes
            ]
        )
        meshes = [mesh for mesh in meshes if mesh.name not in work.failed]
        with replace_atomically(points) as place:
            _join(
                place,
                [parts / f"{m.name}.npy" for m in meshes],
                [classes.index(m.label) for m in meshes],
            )
        with replace_atomically(names) as place:
            place.write_text(_format_names(meshes), encoding="utf-8")
    if not work.failed:
        _remove_parts(parts, meshes)


def _remove_parts(parts: Path, meshes: list[Mesh]) -> None:
    """Remove the files that were joined, and their folder if nothing else is in it."""
    with suppress(OSError):
        for mesh in meshes:
            (parts / f"{mesh.name}.npy").unlink(missing_ok=True)
        for folder in (*(parts / label for label in {mesh.label for mesh in meshes}), parts):
            folder.rmdir()


def _format_names(meshes: list[Mesh]) -> str:
    return json.dumps([f"{mesh.name}.ply" for mesh in meshes])


def _write_points(mesh: Mesh, place: Path) -> None:
    # By its name, so that a mesh has the same points whatever was made before it.
    generator = np.random.default_rng(stream_seed(0, "noise", "modelnet40", mesh.name))
    points = scale_to_unit_ball(sample_surface(*read_off(mesh.path), POINTS, generator))
    with place.open("wb") as file:
        np.save(file, points.astype(np.float32), allow_pickle=False)


def _join(place: Path, parts: list[Path], labels: list[int]) -> None:
    h5py = import_optional("h5py", "points")
    with h5py.File(place, "w") as file:
        data = file.create_dataset("data", (len(parts), POINTS, 3), "f4", track_times=False)
        for row, part in enumerate(parts):
            data[row] = np.load(part, allow_pickle=False)
        file.create_dataset(
            "label", data=np.array(labels, np.uint8).reshape(-1, 1), track_times=False
        )


def _copy_views(work: Preparation, meshes: list[Mesh]) -> None:
    if not (work.raw / VIEWS).is_dir():
        work.report(f"{work.raw} has no {VIEWS}: there are points, and no images of the views.")
        return
    copied = partial(shutil.copytree, copy_function=shutil.copyfile)
    work.make(
        [
            PreparationTask(
                m.name, work.root / VIEWS / m.name, partial(copied, work.raw / VIEWS / m.name)
            )
            for m in meshes
        ]
    )
