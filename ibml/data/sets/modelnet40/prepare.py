"""Preparation of ModelNet40: meshes ModelNet40/<class>/{train,test}/<name>.off.

Images of 180 views, which others have rendered, are copied if present.

Wu, Song, Khosla, Yu, Zhang, Tang and Xiao, "3D ShapeNets: A Deep Representation for Volumetric
Shapes", CVPR 2015. The layout of the points is that of Qi, Su, Mo and Guibas, "PointNet", CVPR
2017.
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
    """Mesh of an object.

    Attributes:
        label: Class of the object.
        path: OFF file.
    """

    label: str
    path: Path

    @property
    def name(self) -> str:
        """Name of the object in all its files, class/name."""
        return f"{self.label}/{self.path.stem}"


def prepare(work: Preparation) -> None:
    """Sample points on every mesh into one file per split, and copy the views if present."""
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
            f"{layout} has {others[0]} of another preparation; move it away to create new points"
        )
    class_lines = "".join(f"{label}\n" for label in classes)
    work.write_files({f"{layout.name}/shape_names.txt": class_lines.encode()})
    for split, listed in splits.items():
        _make_points(work, layout, split, listed, classes)
    _copy_views(work, [*splits["train"], *splits["test"]])


def _find_meshes(folder: Path, classes: list[str], split: str) -> list[Mesh]:
    meshes = []
    for label in classes:
        place = folder / label / split
        if place.is_dir():
            meshes += [Mesh(label, path) for path in list_matching(place, "*.off")]
    return meshes


def _make_points(
    work: Preparation, layout: Path, split: str, meshes: list[Mesh], classes: list[str]
) -> None:
    """Create the file of a split's points and the list of their names.

    The list is written last. If it names all meshes, the points are complete.
    """
    points = layout / f"ply_data_{split}0.h5"
    names = layout / f"ply_data_{split}_0_id2file.json"
    parts = layout / f"points.{split}"
    remove_unfinished(layout)
    if points.is_file() and _has_content(names, _format_names(meshes)):
        work.reused += len(meshes)
    else:
        tasks = []
        for mesh in meshes:
            part = parts / f"{mesh.name}.npy"
            tasks.append(PreparationTask(mesh.name, part, partial(_write_points, mesh)))
        work.make(tasks)
        meshes = [mesh for mesh in meshes if mesh.name not in work.failed]
        part_files = [parts / f"{mesh.name}.npy" for mesh in meshes]
        labels = [classes.index(mesh.label) for mesh in meshes]
        with replace_atomically(points) as place:
            _join(place, part_files, labels)
        with replace_atomically(names) as place:
            place.write_text(_format_names(meshes), encoding="utf-8")
    if not work.failed:
        _remove_parts(parts, meshes)


def _has_content(path: Path, content: str) -> bool:
    return path.is_file() and path.read_text(encoding="utf-8") == content


def _remove_parts(parts: Path, meshes: list[Mesh]) -> None:
    """Remove the files that were joined, and their folders if these are empty then."""
    labels = {mesh.label for mesh in meshes}
    with suppress(OSError):
        for mesh in meshes:
            (parts / f"{mesh.name}.npy").unlink(missing_ok=True)
        for folder in (*(parts / label for label in labels), parts):
            folder.rmdir()


def _format_names(meshes: list[Mesh]) -> str:
    return json.dumps([f"{mesh.name}.ply" for mesh in meshes])


def _write_points(mesh: Mesh, place: Path) -> None:
    # Seeded by its name, so that the points of a mesh do not depend on the other meshes.
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
        column = np.array(labels, np.uint8).reshape(-1, 1)
        file.create_dataset("label", data=column, track_times=False)


def _copy_views(work: Preparation, meshes: list[Mesh]) -> None:
    if not (work.raw / VIEWS).is_dir():
        work.report(f"{work.raw} has no {VIEWS}, so only points were prepared.")
        return
    tasks = []
    for mesh in meshes:
        source = work.raw / VIEWS / mesh.name
        copy = partial(shutil.copytree, source, copy_function=shutil.copyfile)
        tasks.append(PreparationTask(mesh.name, work.root / VIEWS / mesh.name, copy))
    work.make(tasks)
