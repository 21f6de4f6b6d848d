"""Configurations of encoders: a modality's input (n, ...) -> features (n, `features`)."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BeforeValidator, Field, field_validator, model_validator

from ibml.config.base import Config, Count, InconsistentConfig, Items
from ibml.config.plugins import Kind, PluginConfig
from ibml.config.preprocessing import ModalityKind

_KINDS: dict[ModalityKind, tuple[str, str]] = {
    "vector": ("a vector", "vectors"),
    "image": ("an image", "images"),
    "frames": ("a series of frames", "frames"),
    "audio": ("a spectrogram", "spectrograms"),
    "text": ("a text", "texts"),
    "points": ("a point cloud", "point clouds"),
}
"""One sample of each kind of modality in words, and several."""


class EncoderPart(Config):
    """What every encoder's configuration says of itself: the kinds of modalities that it `takes`."""

    takes: ClassVar[frozenset[ModalityKind]]

    @property
    def files(self) -> dict[str, Path]:
        """Field -> the file or folder that it names; a trial's key depends on what is in it, not on where it is."""
        return {}

    def once_trained(self) -> Self:
        """The configuration that builds the encoder again where its weights are at hand."""
        return self


class MLPConfig(EncoderPart):
    """Fully connected layers over a vector, each followed by the activation, the last one too."""

    takes = frozenset({"vector"})
    type: Literal["mlp"] = "mlp"
    hidden: Items[Count] = (128,)
    features: Count = 64
    activation: Literal["relu", "tanh", "gelu", "identity"] = "relu"
    bias: bool = True


class ResNet18Config(EncoderPart):
    """ResNet-18 (He et al. 2016) over images, spectrograms, or each of several frames or views, whose features are
    averaged."""

    takes = frozenset({"audio", "image", "frames"})
    type: Literal["resnet18"] = "resnet18"
    features: Count = 512
    width: Count = 64
    """Channels of the first of four stages; each of the others has twice those before it."""
    head: bool = False
    """Linear, batch normalisation and ReLU on each frame or view before they are averaged."""
    weights: str | None = None
    """A file of weights to start from, .pth or .safetensors, with torchvision's names."""

    @field_validator("weights")
    @classmethod
    def _is_a_file(cls, weights: str | None) -> str | None:
        if weights is not None and not weights.endswith((".pth", ".safetensors")):
            raise ValueError(f"{weights!r} is no .pth or .safetensors file")
        if weights is not None and not Path(weights).is_file():
            raise ValueError(f"there is no file {weights!r}")
        return weights

    @model_validator(mode="after")
    def _weights_are_of_the_usual_width(self) -> Self:
        if self.weights is not None and self.width != 64:
            raise InconsistentConfig([(("weights",), f"weights are for width 64, not {self.width}")])
        return self

    @property
    def files(self) -> dict[str, Path]:
        return {} if self.weights is None else {"weights": Path(self.weights)}

    def once_trained(self) -> Self:
        return self.model_copy(update={"weights": None})


class SmallCNNConfig(EncoderPart):
    """For each number of channels a convolution, ReLU and a 2x2 max-pooling, then a linear layer and ReLU."""

    takes = frozenset({"audio", "image", "frames"})
    type: Literal["small_cnn"] = "small_cnn"
    channels: Annotated[Items[Count], Field(min_length=1)] = (96, 64)
    kernel: Annotated[int, Field(ge=1, le=31)] = 3
    features: Count = 512
    pooling: Literal["flatten", "average"] = "flatten"
    """What the linear layer sees: every position, or their mean, which large inputs need."""

    @field_validator("kernel")
    @classmethod
    def _has_a_centre(cls, kernel: int) -> int:
        if kernel % 2 == 0:
            raise ValueError(f"{kernel} is even; a kernel has an odd size, so that it keeps the size of what it sees")
        return kernel


class TextGRUConfig(EncoderPart):
    """Word vectors, those of the data or learned ones, and a bidirectional GRU; the maximum over time of the mean of
    both directions."""

    takes = frozenset({"text"})
    type: Literal["text_gru"] = "text_gru"
    embedding: Count = 300
    """Width of the word vectors."""
    hidden: Count = 512
    features: Count = 512


class DGCNNConfig(EncoderPart):
    """Dynamic graph CNN over points (Wang et al. 2019)."""

    takes = frozenset({"points"})
    type: Literal["dgcnn"] = "dgcnn"
    k: Count = 20
    """Neighbours of a point, itself among them; where there are fewer points, all of them."""
    features: Count = 512
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2


class PretrainedConfig(EncoderPart):
    """A model of the transformers library from a folder; the mean of its last hidden state."""

    takes = frozenset({"image", "frames", "text", "audio"})
    type: Literal["pretrained"] = "pretrained"
    path: str
    """A folder with `config.json` and weights as .safetensors."""
    frozen: bool = False
    features: Count = 512

    @field_validator("path")
    @classmethod
    def _is_a_model(cls, path: str) -> str:
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


class EncoderPluginConfig(EncoderPart, PluginConfig):
    """An encoder of another package."""

    takes = frozenset(_KINDS)
    kind: ClassVar[Kind] = "encoder"
    features: Count = 64


USUAL_TYPE = "mlp"


def _with_type(encoder: Any) -> Any:
    return {"type": USUAL_TYPE, **encoder} if isinstance(encoder, dict) else encoder


_Included = MLPConfig | ResNet18Config | SmallCNNConfig | TextGRUConfig | DGCNNConfig | PretrainedConfig

EncoderConfig = Annotated[
    Annotated[_Included | EncoderPluginConfig, Field(discriminator="type")], BeforeValidator(_with_type)
]
Encoders = Annotated[dict[str, EncoderConfig], Field(default_factory=lambda: {"default": MLPConfig()})]
"""An encoder per modality; `default` serves the modalities that have none of their own."""


def taken(encoder: EncoderConfig) -> str:
    """What an encoder takes, in words."""
    *before, last = [several for kind, (_, several) in _KINDS.items() if kind in encoder.takes]
    return f"{', '.join(before)} and {last}" if before else last


def kind_problem(encoder: EncoderConfig, modality: str, kind: ModalityKind) -> str:
    """Why an encoder does not suit a modality of that kind, and which do; empty where it does."""
    if kind in encoder.takes:
        return ""
    fitting = [part.model_fields["type"].default for part in get_args(_Included) if kind in part.takes]
    one, _ = _KINDS[kind]
    return f"{encoder.type!r} takes {taken(encoder)}, and {modality} is {one}; these fit: {', '.join(fitting)}"
