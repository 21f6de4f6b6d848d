"""Where a trial computes, and how it does so repeatably."""

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
"""glibc's M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD, and M_ARENA_MAX, so that threads use what others freed."""


class DeviceError(IbmlError):
    """The process does not have the device that the configuration names."""


def choose_device(name: Literal["auto", "cpu", "cuda", "mps"]) -> torch.device:
    """The device of that name, or the best there is; raises `DeviceError` where it is not there."""
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
    """Raises `DeviceError` where torch cannot compile for a device. It takes seconds, once in a process."""
    try:
        torch.compile(torch.sin)(torch.ones(2, device=device))
    except Exception as error:  # torch's own, and what compilers raise
        reason = str(error).strip().partition("\n")[0]
        raise DeviceError(
            f"trainer.compile needs a compiler (C++ for a CPU, Triton for a GPU), which does not work here: {reason}"
        ) from error


def platform(device: torch.device) -> str:
    """What the numbers were computed on: results are the same bit for bit only on the same kind."""
    return f"{device.type}, torch {torch.__version__}"


@cache
def keep_freed_memory() -> None:
    """Let this process use freed memory again. The C library gives large blocks back to the system at once, which then
    clears them anew for each layer of each step: a third of the time of a convolution's training on a CPU."""
    if sys.platform != "linux":
        return
    with suppress(OSError, AttributeError):  # a C library without it
        mallopt = ctypes.CDLL(None).mallopt
        for parameter, value in _MALLOC.items():
            mallopt(parameter, value)


@contextmanager
def use_deterministic_settings(device: torch.device, threads: int) -> Iterator[None]:
    """A fixed number of CPU threads, on which results on CPU depend, and deterministic kernels on a GPU."""
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
