"""Preparation of 3D MNIST: {train,test}_point_clouds.h5, a group per digit with points and image.

De la Iglesia Castro, "3D MNIST: A 3D version of the MNIST database of handwritten digits",
Kaggle 2016.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ibml.common.optional_deps import import_optional
from ibml.data.prepare.preparation import Preparation, PreparationTask
from ibml.data.prepare.raw_files import require_path

FILES = ("train_point_clouds.h5", "test_point_clouds.h5")
SIDE = 30


def prepare(work: Preparation) -> None:
    """Copy the groups, with the image in three channels and without normals."""
    import_optional("h5py", "points")
    sources = [require_path(work.raw, name, " and ".join(FILES)) for name in FILES]
    work.make([_build_task(work, source) for source in sources])


def _build_task(work: Preparation, source: Path) -> PreparationTask:
    target = work.root / source.name
    return PreparationTask(
        source.name, target, partial(_convert, work, source), partial(_has_all_of, source)
    )


def _has_all_of(source: Path, target: Path) -> bool:
    """Return True if a file has every group of the distribution.

    Groups that could not be read before may have been repaired in the meantime.
    """
    h5py = import_optional("h5py", "points")
    if not target.is_file():
        return False
    try:
        with h5py.File(source) as raw, h5py.File(target) as made:
            return set(raw) == set(made)
    except OSError:
        return False


def _convert(work: Preparation, source: Path, place: Path) -> None:
    h5py = import_optional("h5py", "points")
    with h5py.File(source) as raw, h5py.File(place, "w") as made:
        for name in raw:
            try:
                image, points, label = _read_digit(raw[name])
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                work.fail(f"{source.name}/{name}", str(error))
                continue
            group = made.create_group(name)
            group.attrs["label"] = label
            group.create_dataset("img", data=image, track_times=False)
            group.create_dataset("points", data=points, track_times=False)


def _read_digit(group: Any) -> tuple[npt.NDArray[Any], npt.NDArray[Any], int]:
    image = group["img"][()]
    points = group["points"][()]
    if image.shape == (SIDE, SIDE):
        image = np.repeat(image[None], 3, axis=0)
    if image.shape != (3, SIDE, SIDE):
        raise ValueError(f"its image has shape {image.shape}, not {(SIDE, SIDE)}")
    if points.ndim != 2 or points.shape[1] != 3 or len(points) == 0:
        raise ValueError(f"its points have shape {points.shape}, not (N, 3)")
    return image, points, int(group.attrs["label"])
