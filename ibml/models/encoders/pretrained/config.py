"""Configuration of pretrained transformers."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar, Literal

from pydantic import field_validator

from ibml.config.base import Count
from ibml.config.encoders import BaseEncoderConfig


class PretrainedConfig(BaseEncoderConfig):
    """Model of the transformers library from a folder; the mean of its last hidden state."""

    implementation: ClassVar[str] = "ibml.models.encoders.pretrained.encoder:Pretrained"
    takes = frozenset({"image", "frames", "text", "audio"})
    type: Literal["pretrained"] = "pretrained"
    """Model of the transformers library from a folder."""
    path: str
    """Folder with `config.json` and weights as .safetensors."""
    frozen: bool = False
    """Keep the weights constant; a frozen model has no dropout."""
    features: Count = 512
    """Number of features; a linear layer follows if the hidden state has another width."""

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
        """Folders and files whose content determines the result, by field."""
        return {"path": Path(self.path)}
