"""ResNet-18: He, Zhang, Ren, Sun, "Deep Residual Learning for Image Recognition", CVPR 2016."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from ibml.common.errors import IbmlError
from ibml.common.optional_deps import import_optional
from ibml.inputs import InputSpec
from ibml.models.encoders.layers import BatchNorm1d, BatchNorm2d, average_over_frames
from ibml.models.encoders.resnet18.config import ResNet18Config

_MAX_NAMED = 3
"""Maximum number of keys that an error names."""


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, which is a 1x1 convolution if the shape changes.

    Args:
        inputs: Number of input channels.
        outputs: Number of output channels.
        stride: Stride of the first convolution.
    """

    def __init__(self, inputs: int, outputs: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=False)
        self.bn1 = BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1, bias=False)
        self.bn2 = BatchNorm2d(outputs)
        self.downsample = nn.Identity() if stride == 1 else _build_shortcut(inputs, outputs, stride)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the activations, (n, outputs, H / stride, W / stride)."""
        change = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(inputs)))))
        outputs: Tensor = self.relu(change + self.downsample(inputs))
        return outputs


def _build_shortcut(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), BatchNorm2d(outputs))


class Trunk(nn.Module):
    """ResNet-18 without its classifier: images, (n, C, H, W) -> (n, 8 width).

    The output is averaged over positions. Parameters have torchvision's names.

    Args:
        channels: Number of input channels, C.
        width: Number of channels of the first stage.
    """

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
        """Return the features, (n, 8 width)."""
        values = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        outputs: Tensor = self.layer4(self.layer3(self.layer2(self.layer1(values)))).mean((2, 3))
        return outputs

    def load(self, path: Path) -> None:
        """Load weights from a file and mark them as initialized.

        Args:
            path: File of weights, .pth or .safetensors; its classifier is ignored.

        Raises:
            IbmlError: The file cannot be read or does not have the weights of this network.
        """
        stored = _read_weights(path)
        given = {name: tensor for name, tensor in stored.items() if not name.startswith("fc.")}
        own = self.state_dict()
        wrong = []
        for name, tensor in own.items():
            # files from before torch 0.4 do not count batches
            if name.endswith("num_batches_tracked"):
                continue
            if name not in given or given[name].shape != tensor.shape:
                wrong.append(name)
        wrong += [name for name in given if name not in own]
        if wrong:
            named = ", ".join(map(repr, wrong[:_MAX_NAMED]))
            if len(wrong) > _MAX_NAMED:
                named += f" and {len(wrong) - _MAX_NAMED} more"
            raise IbmlError(
                f"{path} does not have the weights of a ResNet-18: these are missing, unknown or "
                f"have another shape: {named}"
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
    except Exception as error:  # noqa: BLE001 errors of damaged files are not documented
        reason = " ".join(str(error).split())[:200]
        raise IbmlError(f"{path} cannot be read as weights: {reason}") from None
    named = isinstance(content, dict) and all(isinstance(v, Tensor) for v in content.values())
    if not named:
        raise IbmlError(f"{path} has no weights by name; save the state_dict of the model")
    return cast("dict[str, Tensor]", content)


class ResNet18(nn.Module):
    """ResNet-18: images, (n, C, H, W), or frames or views, (n, C, T, H, W) -> (n, features).

    The features of frames are averaged. With `head`, each frame first passes through a linear
    layer, batch normalization and ReLU. Without it, a linear layer follows if 8 `width` is not
    `features`.

    Args:
        options: Configuration of the encoder.
        spec: Samples of the modality.

    Raises:
        ValueError: The encoder does not accept such samples.
        IbmlError: The file of weights cannot be used.
    """

    def __init__(self, options: ResNet18Config, spec: InputSpec):
        super().__init__()
        shape = spec.shape
        self.trunk = Trunk(shape[0], options.width)
        if options.weights is not None:
            if shape[0] != 3:
                raise ValueError(
                    "weights of encoder 'resnet18' are for three channels, but a sample has "
                    f"{shape[0]}"
                )
            self.trunk.load(Path(options.weights))
        inputs = 8 * options.width
        outputs = options.features
        self.head: nn.Module = nn.Identity()
        self.projection: nn.Module = nn.Identity()
        if options.head:
            self.head = nn.Sequential(nn.Linear(inputs, outputs), BatchNorm1d(outputs), nn.ReLU())
        elif inputs != outputs:
            self.projection = nn.Linear(inputs, outputs)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the features, (n, features)."""
        features: Tensor = self.projection(average_over_frames(self._encode_images, inputs))
        return features

    def _encode_images(self, images: Tensor) -> Tensor:
        features: Tensor = self.head(self.trunk(images))
        return features
