"""Triangle meshes in OFF files, and points on them."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
"""Of shape (n, 3)."""
Triangles = npt.NDArray[np.int64]
"""Of shape (n, 3): positions of vertices."""


def read_off(path: Path) -> tuple[Points, Triangles]:
    """The vertices of a mesh and its faces, those with more corners split into triangles. Raises `ValueError`."""
    text = path.read_text(encoding="latin-1").lstrip()
    if not text.startswith("OFF"):
        raise ValueError(f"{path}: it does not begin with OFF")
    # In some files of ModelNet40 the counts follow OFF without a space or a new line.
    lines = [
        line for line in text[3:].splitlines() if line.strip() and not line.lstrip().startswith("#")
    ]
    try:
        vertices, faces, *_ = map(int, lines[0].split())
        corners = _parse_numbers(lines[1 : 1 + vertices]).reshape(vertices, 3)
        triangles = _parse_triangles(lines[1 + vertices : 1 + vertices + faces], faces)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: no mesh can be read from it: {error}") from None
    if not np.isfinite(corners).all() or (triangles < 0).any() or (triangles >= vertices).any():
        raise ValueError(f"{path}: its faces have corners that are no points")
    return corners, triangles


def _parse_numbers(lines: list[str]) -> Points:
    return np.array(" ".join(lines).split(), dtype=np.float64)


def _parse_triangles(lines: list[str], count: int) -> Triangles:
    if len(lines) < count:
        raise ValueError(f"{len(lines)} of {count} faces are there")
    numbers = _parse_numbers(lines)
    if len(numbers) == 4 * count and (numbers[::4] == 3).all():
        return numbers.reshape(count, 4)[:, 1:].astype(np.int64)
    found = list[tuple[int, int, int]]()
    for line in lines:  # a colour may follow the corners
        corners, *rest = line.split()
        first, *others = map(int, rest[: int(corners)])
        if len(others) + 1 != int(corners):
            raise ValueError(f"a face has fewer corners than it says: {line[:40]!r}")
        found += [(first, *pair) for pair in pairwise(others)]
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def sample_surface(
    corners: Points, triangles: Triangles, count: int, generator: np.random.Generator
) -> Points:
    """Points drawn uniformly from the surface. Raises `ValueError` where it has no area."""
    first, second, third = (corners[triangles[:, i]] for i in range(3))
    areas = np.linalg.norm(np.cross(second - first, third - first), axis=1)
    total = areas.sum()
    if not total > 0:
        raise ValueError("its surface has no area")
    chosen = generator.choice(len(areas), count, p=areas / total)
    # Uniform in the triangle: Osada, Funkhouser, Chazelle and Dobkin, "Shape distributions", ACM TOG 21(4), 2002.
    root, along = np.sqrt(generator.random((count, 1))), generator.random((count, 1))
    return (
        (1 - root) * first[chosen]
        + root * (1 - along) * second[chosen]
        + root * along * third[chosen]
    )


def scale_to_unit_ball(points: Points) -> Points:
    """The points with their mean at 0 and the farthest at distance 1."""
    centred = points - points.mean(axis=0)
    scaled: Points = centred / np.linalg.norm(centred, axis=1).max()
    return scaled
