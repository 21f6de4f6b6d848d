"""Triangle meshes in OFF files, and points on their surfaces."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

Points = npt.NDArray[np.float64]
"""Coordinates, shape (n, 3)."""
Triangles = npt.NDArray[np.int64]
"""Indices of the vertices of each triangle, shape (n, 3)."""


def read_off(path: Path) -> tuple[Points, Triangles]:
    """Read a mesh.

    Args:
        path: Path of the OFF file.

    Returns:
        The vertices, and the faces split into triangles.

    Raises:
        ValueError: The file is not a mesh in OFF format.
    """
    text = path.read_text(encoding="latin-1").lstrip()
    if not text.startswith("OFF"):
        raise ValueError(f"{path}: the file does not begin with OFF")
    # In some files of ModelNet40 the counts follow OFF without a space or a new line.
    lines = []
    for line in text[3:].splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            lines.append(line)
    try:
        vertices, faces, *_ = map(int, lines[0].split())
        corners = _parse_numbers(lines[1 : 1 + vertices]).reshape(vertices, 3)
        triangles = _parse_triangles(lines[1 + vertices : 1 + vertices + faces], faces)
    except (ValueError, IndexError) as error:
        raise ValueError(f"{path}: the mesh cannot be read: {error}") from None
    if not np.isfinite(corners).all() or (triangles < 0).any() or (triangles >= vertices).any():
        raise ValueError(f"{path}: faces have corners that are not vertices")
    return corners, triangles


def _parse_numbers(lines: list[str]) -> Points:
    return np.array(" ".join(lines).split(), dtype=np.float64)


def _parse_triangles(lines: list[str], count: int) -> Triangles:
    if len(lines) < count:
        raise ValueError(f"the file has {len(lines)} of {count} faces")
    numbers = _parse_numbers(lines)
    if len(numbers) == 4 * count and (numbers[::4] == 3).all():
        return numbers.reshape(count, 4)[:, 1:].astype(np.int64)
    found: list[tuple[int, int, int]] = []
    for line in lines:  # a color may follow the corners
        corners, *rest = line.split()
        first, *others = map(int, rest[: int(corners)])
        if len(others) + 1 != int(corners):
            raise ValueError(f"a face has fewer corners than declared: {line[:40]!r}")
        found += [(first, *pair) for pair in pairwise(others)]
    return np.array(found, dtype=np.int64).reshape(-1, 3)


def sample_surface(
    corners: Points, triangles: Triangles, count: int, generator: np.random.Generator
) -> Points:
    """Draw points uniformly from the surface of a mesh.

    Source: Osada, Funkhouser, Chazelle and Dobkin, "Shape distributions", ACM TOG 21(4), 2002.

    Args:
        corners: Vertices of the mesh.
        triangles: Triangles of the mesh.
        count: Number of points.
        generator: Source of random numbers.

    Returns:
        Points, shape (count, 3).

    Raises:
        ValueError: The surface has no area.
    """
    first, second, third = (corners[triangles[:, i]] for i in range(3))
    areas = np.linalg.norm(np.cross(second - first, third - first), axis=1)
    total = areas.sum()
    if not total > 0:
        raise ValueError("the surface has no area")
    chosen = generator.choice(len(areas), count, p=areas / total)
    root = np.sqrt(generator.random((count, 1)))
    along = generator.random((count, 1))
    return (
        (1 - root) * first[chosen]
        + root * (1 - along) * second[chosen]
        + root * along * third[chosen]
    )


def scale_to_unit_ball(points: Points) -> Points:
    """Move the mean of points to 0, and scale the farthest point to distance 1."""
    centered = points - points.mean(axis=0)
    scaled: Points = centered / np.linalg.norm(centered, axis=1).max()
    return scaled
