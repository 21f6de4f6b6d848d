"""Configuration of the backend and of the resources of a trial."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from ibml.config.base import Config

Backend = Literal["ray", "local"]


class ResourcesConfig(Config):
    """Backend of a study, and the resources reserved for one trial.

    With a fraction of a GPU, several trials share one. `auto` chooses the fraction from the memory
    use of trials in a short probe.
    """

    cpu: Annotated[float, Field(ge=0.01)] = 1.0
    """CPU cores per trial; a fraction lets several trials share a core."""
    gpu: float | Literal["auto"] = 0.0
    """GPUs per trial: a fraction shares one GPU, a whole number reserves that many, `auto` measures
    the memory that a trial needs."""
    backend: Backend = "ray"
    """Backend that trains the trials: `ray`, or `local` for this machine without Ray."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Number of processes of the local backend; 1 trains in the process of the command."""

    @property
    def gpus(self) -> float:
        """Number of GPUs per trial; 1 for `auto`, before the fraction is known."""
        return 1.0 if self.gpu == "auto" else self.gpu

    @field_validator("gpu")
    @classmethod
    def _check_gpu(cls, gpu: float | Literal["auto"]) -> float | Literal["auto"]:
        if gpu == "auto":
            return gpu
        if gpu < 0:
            raise ValueError(f"should be greater than or equal to 0, got {gpu:g}")
        if 0 < gpu < 0.01 or (gpu > 1 and gpu != int(gpu)):
            raise ValueError(
                "a share of one GPU is at least 0.01, and more than one GPU must be a whole number"
            )
        return gpu
