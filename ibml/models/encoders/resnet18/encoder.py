"""ResNet-18: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from ibml.common.errors import IbmlError
from ibml.common.optional_deps import import_optional
from ibml.inputs import InputSpec
from ibml.models.encoders.layers import BatchNorm1d, BatchNorm2d, average_over_frames
from ibml.models.encoders.resnet18.config import ResNet18Config

_MAX_NAMED = 3
"""How many wrong keys an error names."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut, which is a 1x1 convolution where the shape changes."""

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(outputs)
        self.downsample = nn.Identity() if stride == 1 else _build_shortcut(inputs, outputs, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        change = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(inputs)))))
        outputs: Tensor = self.relu(change + self.downsample(inputs))
        return outputs


def _build_shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), BatchNorm2d(outputs))


class Trunk(nn.Module):
    """Images (n, C, H, W) -> (n, 8 width), averaged over positions. Parameters are called as torchvision calls them."""

    keeps_weights = False

    def __init__(self, channels: int, width: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
        self.bn1 = BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        self.layer1 = nn.Sequential(BasicBlock(width, width, 1), BasicBlock(width, width, 1))
        self.layer2 = _build_stage(width)
        self.layer3 = _build_stage(2 * width)
        self.layer4 = _build_stage(4 * width)

    def forward(self, images: Tensor) -> Tensor:
        values = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        outputs: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(values)))).mean((2, 3))
        return outputs

    def load(self, path: Path) -> None:
        """Start from a file of weights; raises `IbmlError` unless it has those of this network."""
        given = {
            name: tensor
            for name, tensor in _read_weights(path).items()
            if not name.startswith("fc.")
        }
        # files of before torch 0.4 do not count batches
        own = {
            name: tensor
            for name, tensor in self.state_dict().items()
            if not name.endswith("num_batches_tracked")
        }
        wrong = [name for name in own if name not in given or given[name].shape != own[name].shape]
        wrong += [name for name in given if name not in self.state_dict()]
        if wrong:
            rest = f" and {len(wrong) - _MAX_NAMED} more" if len(wrong) > _MAX_NAMED else ""
            named = ", ".join(map(repr, wrong[:_MAX_NAMED])) + rest
            raise IbmlError(
                f"{path} has no weights of a ResNet-18: missing, unknown or of another shape are {named}"
            )
        self.load_state_dict(given, strict=False)
        self.keeps_weights = True


def _build_stage(inputs: int) -> nn.Sequential:
    return nn.Sequential(BasicBlock(inputs, 2 * inputs, 2), BasicBlock(2 * inputs, 2 * inputs, 1))


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            content = import_optional("safetensors.torch", "transformers").load_file(path)
        else:
            content = torch.load(path, map_location="cpu", weights_only=True)
    except IbmlError:
        raise
    except Exception as error:  # noqa: BLE001 what a damaged file raises is not documented
        raise IbmlError(
            f"{path} cannot be read as weights: {' '.join(str(error).split())[:200]}"
        ) from None
    if not isinstance(content, dict) or not all(
        isinstance(value, Tensor) for value in content.values()
    ):
        raise IbmlError(f"{path} has no weights by name")
    return content


class ResNet18(nn.Module):
    """(n, C, H, W), or (n, C, T, H, W) with the mean over T, -> (n, features).

    With a head each frame goes through a linear layer, batch normalisation and ReLU first; without one, a linear layer
    follows where the trunk's 8 width are not the features asked for.
    """

    def __init__(self, options: ResNet18Config, spec: InputSpec):
        super().__init__()
        shape = spec.shape
        self.trunk = Trunk(shape[0], options.width)
        if options.weights is not None:
            if shape[0] != 3:
                raise ValueError(
                    f"weights of encoder 'resnet18' are for three channels, but a sample has {shape[0]}"
                )
            self.trunk.load(Path(options.weights))
        inputs, outputs = 8 * options.width, options.features
        self.head: nn.Module = nn.Identity()
        self.projection: nn.Module = nn.Identity()
        if options.head:
            self.head = nn.Sequential(nn.Linear(inputs, outputs), BatchNorm1d(outputs), nn.ReLU())
        elif inputs != outputs:
            self.projection = nn.Linear(inputs, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        features: Tensor = self.projection(average_over_frames(self._encode_images, inputs))
        return features

    def _encode_images(self, images: Tensor) -> Tensor:
        features: Tensor = self.head(self.trunk(images))
        return features
