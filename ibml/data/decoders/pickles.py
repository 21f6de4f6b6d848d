"""Arrays out of pickles that anybody may have made.

A pickle is a program. Here the names that it may use are those that an array of numbers is written with, and each
stands for a function of this module that checks what it gets: numpy's own never see what the pickle says. None of the
stand-ins can be changed, since a pickle may also set the attributes of what it has got hold of.
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
    """The array of integers or floats that a pickle file has, and nothing else. Raises `ValueError`, or `OSError`."""
    with path.open("rb") as file:
        try:
            found = _Unpickler(file).load()
        except _WRONG as error:
            raise ValueError(
                f"{path}: no pickled array of numbers: {error or type(error).__name__}"
            ) from None
    if not isinstance(found, _Array) or found.values is None:
        raise ValueError(f"{path}: no pickled array of numbers: it has something else")
    return found.values


# What a pickle that is cut off or wrong ends with; the documentation of pickle gives no complete list.
_WRONG = (
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
                raise pickle.UnpicklingError("its array is none of numbers")


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
    """A name that a pickle may use."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it changes what it uses")


class _ArrayClass(_Admitted):
    """`numpy.ndarray`, which is only mentioned."""

    __slots__ = ()


class _DtypeClass(_Admitted):
    """`numpy.dtype`."""

    __slots__ = ()

    def __call__(self, kind: object, *flags: object) -> _Dtype:
        if not isinstance(kind, str) or not _NUMBERS.fullmatch(kind):
            raise pickle.UnpicklingError(f"its array has elements of kind {str(kind)[:40]!r}")
        return _Dtype(np.dtype(kind))


class _Reconstruct(_Admitted):
    """`_reconstruct`: an array without content, which comes with the state."""

    __slots__ = ()

    def __call__(self, kind: object, shape: object, code: object) -> _Array:
        if not isinstance(kind, _ArrayClass):
            raise pickle.UnpicklingError("its array is none of numbers")
        return _Array()


class _FromBuffer(_Admitted):
    """`_frombuffer`: how protocol 5 writes arrays without gaps."""

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
                raise pickle.UnpicklingError("its array is none of numbers")


class _Encode(_Admitted):
    """`_codecs.encode`: how protocols before 3 write bytes."""

    __slots__ = ()

    def __call__(self, text: object, encoding: object) -> bytes:
        if not isinstance(text, str) or encoding != "latin1":
            raise pickle.UnpicklingError("its array is none of numbers")
        return text.encode("latin-1")


# numpy 2 has moved what numpy 1 wrote into pickles.
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
            raise pickle.UnpicklingError(f"it asks for {module}.{name}")
        return _ADMITTED[module, name]
