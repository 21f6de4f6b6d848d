"""Configuration of pretrained transformers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import field_validator

from ibml.config.base import Count
from ibml.config.encoders import BaseEncoderConfig


class PretrainedConfig(BaseEncoderConfig):
    """A model of the transformers library from a folder; the mean of its last hidden state."""

    implementation: ClassVar[str] = "ibml.models.encoders.pretrained.encoder:Pretrained"
    takes = frozenset({"image", "frames", "text", "audio"})
    type: Literal["pretrained"] = "pretrained"
    """A model of the transformers library from a folder."""
    path: str
    """A folder with `config.json` and weights as .safetensors."""
    frozen: bool = False
    """Whether the weights stay as they are; a frozen model has no dropout either."""
    features: Count = 512
    """Number of features; a linear layer follows where the hidden state has another width."""

    @field_validator("path")
    @classmethod
    def _check_model_folder(cls, path: str) -> str:
        folder = Path(path)
        if not folder.is_dir():
            raise ValueError(f"there is no folder {path!r}")
        lacking = [name for name in ("config.json", "*.safetensors") if not any(folder.glob(name))]
        if lacking:
            raise ValueError(f"{path!r} has no {' and no '.join(lacking)}")
        return path

    @property
    def files(self) -> dict[str, Path]:
        return {"path": Path(self.path)}
