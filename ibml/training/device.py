"""Device of a trial, and the settings that make its results reproducible."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from typing import Literal

import torch

from ibml.common.errors import IbmlError

_MALLOC = {-4: 0, -1: 2**31 - 1, -2: 2**26, -8: 1}
"""Parameters of glibc's mallopt: M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD and M_ARENA_MAX.

With one arena, threads reuse memory that other threads freed.
"""


class DeviceError(IbmlError):
    """The process does not have the device that the configuration names."""


def choose_device(name: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """Return a device of this process.

    Args:
        name: Type of the device; `auto` is the first available one of cuda, mps and cpu.

    Returns:
        The device.

    Raises:
        DeviceError: The process does not have such a device.
    """
    available = {
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
        "cpu": True,
    }
    if name == "auto":
        name = next(kind for kind in ("cuda", "mps", "cpu") if available[kind])
    if not available[name]:
        raise DeviceError(f"trainer.device is {name!r}, but this process sees no such device")
    return torch.device(name)


@cache
def check_compiler(device: torch.device) -> None:
    """Check that torch can compile for a device. Takes seconds, once per process.

    Args:
        device: The device.

    Raises:
        DeviceError: There is no working compiler.
    """
    try:
        torch.compile(torch.sin)(torch.ones(2, device=device))
    except Exception as error:  # errors of torch and of compilers have no common class
        reason = str(error).strip().partition("\n")[0]
        raise DeviceError(
            "trainer.compile needs a compiler (C++ for a CPU, Triton for a GPU), which does not "
            f"work here: {reason}"
        ) from error


def platform(device: torch.device) -> str:
    """Return the kind of machine: results are equal bit for bit only on the same kind."""
    return f"{device.type}, torch {torch.__version__}"


@cache
def keep_freed_memory() -> None:
    """Let the C library reuse large freed blocks instead of returning them to the system.

    The system clears every block that it hands out. Without this setting it does so for each layer
    of each step, which takes a third of the time of training convolutions on a CPU.
    """
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # C library without mallopt
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC.items():
            mallopt(parameter, value)


@contextmanager
def use_deterministic_settings(device: torch.device, threads: int) -> Iterator[None]:
    """Use settings under which results are reproducible; restore the previous ones on exit.

    Args:
        device: Device of the trial; a GPU gets deterministic kernels.
        threads: Number of CPU threads, on which results on a CPU depend.

    Yields:
        Nothing.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        if device.type == "cpu":
            yield
        else:
            with _use_deterministic_kernels():
                yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def _use_deterministic_kernels() -> Iterator[None]:
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    before = torch.are_deterministic_algorithms_enabled()
    torch.use_deterministic_algorithms(True, warn_only=True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
