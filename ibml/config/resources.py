"""Resources of a trial."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ibml.config.base import Config

Backend = Literal["ray", "local"]


class ResourcesConfig(Config):
    """Where trials run, and what is reserved for one of them.

    A fraction of a GPU packs several trials on one; `auto` finds it from the memory that trials take in a short try.
    """

    cpu: Annotated[float, Field(ge=0.01)] = 1.0
    """CPU cores per trial; a fraction lets several trials share a core."""
    gpu: float | Literal["auto"] = 0.0
    """GPUs per trial: a fraction shares one GPU, a whole number reserves as many, `auto` measures the memory that a
    trial needs."""
    backend: Backend = "ray"
    """Where trials are trained: on Ray, or `local`, on this machine without Ray."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Number of processes of the local backend; 1 trains in the process of the command."""

    @property
    def gpus(self) -> float:
        """As a number: one, where the share is yet to be found."""
        return 1.0 if self.gpu == "auto" else self.gpu

    @field_validator("gpu")
    @classmethod
    def _as_ray_counts_them(cls, gpu: float | Literal["auto"]) -> float | Literal["auto"]:
        if gpu == "auto":
            return gpu
        if gpu < 0:
            raise ValueError(f"should be greater than or equal to 0, got {gpu:g}")
        if 0 < gpu < 0.01 or (gpu > 1 and gpu != int(gpu)):
            raise ValueError(
                "a share of one GPU is at least 0.01, and more than one are a whole number"
            )
        return gpu
