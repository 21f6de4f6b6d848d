"""Arrays from untrusted pickle files.

A pickle is a program. This module admits only the names with which an array of numbers is written.
Each of them stands for a function of this module that checks its arguments, and numpy's own
functions are never called by a pickle. A pickle may also set attributes of the objects
that it uses, so none of the stand-ins can be changed.
"""

from __future__ import annotations

import math
import pickle
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

_NUMBERS = re.compile(r"[fiu][1248]")


def load_array(path: Path) -> npt.NDArray[Any]:
    """Load the array of integers or floats that a pickle file consists of.

    Args:
        path: Path of the pickle file.

    Returns:
        The array.

    Raises:
        ValueError: The file has anything else.
        OSError: The file cannot be read.
    """
    with path.open("rb") as file:
        try:
            found = _Unpickler(file).load()
        except _PICKLE_ERRORS as error:
            reason = error or type(error).__name__
            raise ValueError(f"{path}: no pickled array of numbers: {reason}") from None
    if not isinstance(found, _Array) or found.values is None:
        raise ValueError(f"{path}: no pickled array of numbers: it contains something else")
    return found.values


# Errors of damaged pickles; the documentation of pickle gives no complete list.
_PICKLE_ERRORS = (
    pickle.UnpicklingError,
    ArithmeticError,
    AttributeError,
    EOFError,
    ImportError,
    LookupError,
    MemoryError,
    RecursionError,
    TypeError,
    ValueError,
)


class _Array:
    __slots__ = ("values",)

    def __init__(self, values: npt.NDArray[Any] | None = None):
        self.values = values

    def __setstate__(self, state: object) -> None:
        match state:
            case (1, tuple() as shape, _Dtype() as kind, bool() as by_columns, bytes() as content):
                self.values = _build_array(content, kind, shape, "F" if by_columns else "C")
            case _:
                raise pickle.UnpicklingError("its array does not consist of numbers")


class _Dtype:
    __slots__ = ("dtype",)

    def __init__(self, dtype: np.dtype[Any]):
        self.dtype = dtype

    def __setstate__(self, state: object) -> None:
        match state:
            case (3, "<" | ">" | "|" | "=" as order, None, None, None, -1, -1, 0):
                self.dtype = self.dtype.newbyteorder(order)
            case _:
                raise pickle.UnpicklingError("its array has more than numbers")


def _build_array(
    content: bytes | bytearray, kind: _Dtype, shape: tuple[object, ...], order: Any
) -> npt.NDArray[Any]:
    sizes = [size for size in shape if type(size) is int]
    if len(sizes) < len(shape) or math.prod(sizes) * kind.dtype.itemsize != len(content):
        raise pickle.UnpicklingError("its array has another shape than its content")
    return np.ndarray(sizes, kind.dtype, content, order=order).copy(order="K")


class _Admitted:
    """Stand-in for a name that a pickle may use."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes the objects that it uses")


class _ArrayClass(_Admitted):
    """`numpy.ndarray`, which a pickle names but does not call."""

    __slots__ = ()


class _DtypeClass(_Admitted):
    """`numpy.dtype`."""

    __slots__ = ()

    def __call__(self, kind: object, *flags: object) -> _Dtype:
        if not isinstance(kind, str) or not _NUMBERS.fullmatch(kind):
            raise pickle.UnpicklingError(f"its array has elements of kind {str(kind)[:40]!r}")
        return _Dtype(np.dtype(kind))


class _Reconstruct(_Admitted):
    """`_reconstruct`: an array whose content follows with its state."""

    __slots__ = ()

    def __call__(self, kind: object, shape: object, code: object) -> _Array:
        if not isinstance(kind, _ArrayClass):
            raise pickle.UnpicklingError("its array does not consist of numbers")
        return _Array()


class _FromBuffer(_Admitted):
    """`_frombuffer`: the form of contiguous arrays in protocol 5."""

    __slots__ = ()

    def __call__(
        self, content: object, kind: object, shape: object, order: object, axes: object = None
    ) -> _Array:
        match content, kind, shape, order, axes:
            case (
                bytes() | bytearray() as content,
                _Dtype() as kind,
                tuple() as shape,
                "C" | "F" as order,
                None,
            ):
                return _Array(_build_array(content, kind, shape, order))
            case (
                bytes() | bytearray() as content,
                _Dtype() as kind,
                tuple() as shape,
                "K",
                tuple() as axes,
            ):
                return _Array(_build_array(content, kind, shape, "C").transpose(axes))
            case _:
                raise pickle.UnpicklingError("its array does not consist of numbers")


class _Encode(_Admitted):
    """`_codecs.encode`: the form of bytes in protocols before 3."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError("its array does not consist of numbers")
        return text.encode("latin-1")


# numpy 2 has moved the modules that numpy 1 names in pickles.
_ADMITTED: dict[tuple[str, str], _Admitted] = {
    ("numpy", "ndarray"): _ArrayClass(),
    ("numpy", "dtype"): _DtypeClass(),
    ("numpy.core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy._core.multiarray", "_reconstruct"): _Reconstruct(),
    ("numpy.core.numeric", "_frombuffer"): _FromBuffer(),
    ("numpy._core.numeric", "_frombuffer"): _FromBuffer(),
    ("_codecs", "encode"): _Encode(),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it uses {module}.{name}")
        return _ADMITTED[module, name]
