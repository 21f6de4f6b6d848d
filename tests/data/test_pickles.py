"""Pickled arrays come out as they were; whatever else a pickle would do is not done."""

from __future__ import annotations

import os
import pickle
import pickletools
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ibml.data.decoders.pickles import load_array

PLAIN = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    "array",
    [
        PLAIN,
        PLAIN.T,
        PLAIN.transpose(1, 0, 2),
        PLAIN[:, ::2],
        PLAIN.astype(">f8"),
        PLAIN.astype(np.float16),
        PLAIN.astype(np.uint8),
        np.array(2.5),
    ],
    ids=["C", "F", "axes exchanged", "gaps", "big-endian", "half", "bytes", "no axis"],
)
def test_an_array_of_numbers_comes_out_as_it_was(
    tmp_path: Path, array: np.ndarray, protocol: int
) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(array, protocol))
    found = load_array(path)
    assert found.dtype == array.dtype
    assert found.flags.writeable
    np.testing.assert_array_equal(found, array)


def test_an_array_without_elements_keeps_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(np.zeros((0, 3))))
    assert load_array(path).shape == (0, 3)


def test_arrays_that_numpy_1_wrote_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    for protocol in (2, 5):
        path.write_bytes(_of_numpy_1(pickle.dumps(PLAIN, protocol)))
        np.testing.assert_array_equal(load_array(path), PLAIN)


def _of_numpy_1(written: bytes) -> bytes:
    """Return the same pickle with numpy 1's names, and frames and lengths that fit them."""
    if b"\x8c\x13numpy._core.numeric" not in written:
        return written.replace(b"numpy._core.", b"numpy.core.")
    shorter = written.replace(b"\x8c\x13numpy._core.", b"\x8c\x12numpy.core.")
    frame = int.from_bytes(shorter[3:11], "little") - 1
    return shorter[:3] + frame.to_bytes(8, "little") + shorter[11:]


class Call:
    """Object that is pickled as a call of a function."""

    def __init__(self, function: Callable[..., object], *arguments: object, state: object = None):
        self.parts = (function, arguments) if state is None else (function, arguments, state)

    def __reduce__(self) -> Any:
        return self.parts


def hostile(witness: Path) -> dict[str, bytes]:
    """Pickles that would leave a file, or read one, or put something in numpy's way."""
    text, touch = str(witness), f"touch {witness}"
    evaluated = f"open({text!r}, 'w').close()"
    scalar = np.float64(1).__reduce__()[0]  # type: ignore[index]
    inside = np.empty(1, dtype=object)
    inside[0] = Call(os.system, touch)
    reconstruct = PLAIN.__reduce__()[0]  # type: ignore[index]
    from_buffer = PLAIN.__reduce_ex__(5)[0]  # type: ignore[index]
    large = (3, "<", None, None, None, 10**9, 1, 63)
    float_state = (3, "<", None, None, None, -1, -1, 0)
    return {
        "os.system": pickle.dumps(Call(os.system, touch)),
        "posix.system, protocol 0": b"cposix\nsystem\n(V" + touch.encode() + b"\ntR.",
        "builtins.eval": pickle.dumps(Call(eval, evaluated)),
        "builtins.getattr": pickle.dumps(Call(getattr, np.ndarray, "tofile")),
        "in a list": pickle.dumps([PLAIN, [Call(eval, evaluated)]]),
        "in a dict of tuples": pickle.dumps({"a": (PLAIN, {"b": Call(os.system, touch)})}),
        "in an object array": pickle.dumps(inside),
        "in an object array, protocol 2": pickle.dumps(inside, 2),
        "in an array's state": pickle.dumps(
            Call(reconstruct, np.ndarray, (0,), b"b", state=Call(os.system, touch))
        ),
        "an object array": pickle.dumps(np.array([None, "a"], dtype=object)),
        "texts": pickle.dumps(np.array(["a", "b"])),
        "a structured array": pickle.dumps(np.zeros(2, dtype=[("a", "f4"), ("b", "O")])),
        "dates": pickle.dumps(np.array(["2020-01-01"], dtype="M8[D]")),
        "numpy.load": pickle.dumps(Call(np.load, text, None, True)),
        "numpy.fromfile": pickle.dumps(Call(np.fromfile, text)),
        "numpy.memmap": pickle.dumps(Call(np.memmap, text, "uint8", "w+", 0, (3,))),
        "numpy.savetxt": pickle.dumps(Call(np.savetxt, text, [1])),
        "numpy.ndarray.tofile": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
        "numpy.distutils' shell": b"cnumpy.distutils.exec_command\nexec_command\n(V"
        + touch.encode()
        + b"\ntR.",
        "a scalar": pickle.dumps(np.float64(1)),
        "a scalar of another type": pickle.dumps(Call(scalar, np.dtype("O"), b"12345678")),
        "an array's subclass": pickle.dumps(np.zeros(2).view(np.recarray)),
        "another codec": pickle.dumps(PLAIN, 2).replace(b"latin1", b"cp1252"),
        "another shape": pickle.dumps(
            Call(reconstruct, np.ndarray, (0,), b"b", state=(1, (9,), PLAIN.dtype, False, b""))
        ),
        "more content than the shape has": pickle.dumps(
            Call(reconstruct, np.ndarray, (0,), b"b", state=(1, (1,), np.dtype("u1"), False, b"ab"))
        ),
        "a negative shape": pickle.dumps(
            Call(
                reconstruct,
                np.ndarray,
                (0,),
                b"b",
                state=(1, (-1, -1), np.dtype("u1"), False, b"a"),
            )
        ),
        "a dtype of another size": pickle.dumps(
            Call(
                from_buffer, b"12345678", Call(np.dtype, "f8", False, True, state=large), (1,), "C"
            )
        ),
        "texts from bytes": pickle.dumps(
            Call(from_buffer, b"12345678", Call(np.dtype, "S8", False, True), (1,), "C")
        ),
        "a dtype": pickle.dumps(Call(np.dtype, "f8", False, True, state=float_state)),
        "a name's attributes": b"c_codecs\nencode\n}Vcall\nc_codecs\nencode\nsb.",
        "a class": b"cnumpy\nndarray\n.",
        "a persistent name": b"Pname\n.",
        "an extension": b"\x80\x02\x82\x01.",
        "a number": pickle.dumps(1.0),
        "a list of numbers": pickle.dumps([1.0]),
        "nothing": b"",
        "no pickle": b"RIFF....WAVE",
        "an array that is cut off": pickle.dumps(PLAIN)[:-20],
        "more bytes than there are": b"\x80\x04\x8e" + (2**62).to_bytes(8, "little") + b".",
        "deep": b"(" * 100_000 + b"t" * 100_000 + b".",
    }


@pytest.mark.parametrize("name", hostile(Path("/witness")))
def test_a_hostile_pickle_is_refused_and_does_nothing(tmp_path: Path, name: str) -> None:
    witness, path = tmp_path / "witness", tmp_path / "a.pkl"
    path.write_bytes(hostile(witness)[name])
    with pytest.raises(ValueError, match="no pickled array of numbers") as refused:
        load_array(path)
    assert str(path) in str(refused.value)
    assert not witness.exists()


def test_the_hostile_pickles_would_do_what_they_are_here_for(tmp_path: Path) -> None:
    witness = tmp_path / "witness"
    for name, content in hostile(witness).items():
        if name.startswith(
            ("os.", "posix", "builtins.eval", "in a", "numpy.memmap", "numpy.savetxt")
        ):
            with suppress(TypeError):  # numpy validates the state after the call
                pickle.loads(content)
            assert witness.exists(), name
            witness.unlink()


def test_a_refused_pickle_says_what_it_asks_for(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(pickle.dumps(Call(os.system, "true")))
    with pytest.raises(ValueError, match=r"it uses posix\.system"):
        load_array(path)


def test_no_pickle_changes_what_the_next_one_is_read_with(tmp_path: Path) -> None:
    path, array = tmp_path / "a.pkl", tmp_path / "b.pkl"
    array.write_bytes(pickle.dumps(PLAIN))
    names = {
        (op.name, argument)
        for op, argument, _ in pickletools.genops(pickle.dumps(PLAIN, 0))
        if op.name == "GLOBAL"
    }
    assert len(names) == 4
    for _, argument in names:
        module, name = str(argument).split()
        for state in (b"}V__call__\nNs", b"N}V__call__\nNs\x86", b"}V__setstate__\nNs"):
            path.write_bytes(f"c{module}\n{name}\n".encode() + state + b"b.")
            with pytest.raises(ValueError, match="changes the objects"):
                load_array(path)
    np.testing.assert_array_equal(load_array(array), PLAIN)
