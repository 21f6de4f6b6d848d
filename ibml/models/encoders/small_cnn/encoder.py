"""Small convolutional network, for small images."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from ibml.inputs import InputSpec
from ibml.models.encoders.layers import average_over_frames
from ibml.models.encoders.small_cnn.config import SmallCNNConfig


class SmallCNN(nn.Module):
    """Small CNN: images, (n, C, H, W), or frames or views, (n, C, T, H, W) -> (n, features).

    A convolution, ReLU and 2x2 max-pooling for each number of channels; then a linear layer and
    ReLU over all positions or their mean. The features of frames are averaged.

    Args:
        options: Configuration of the encoder.
        spec: Samples of the modality.

    Raises:
        ValueError: The encoder does not accept such samples.
    """

    def __init__(self, options: SmallCNNConfig, spec: InputSpec):
        super().__init__()
        shape = spec.shape
        channels, *_, height, width = shape
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, *options.channels)):
            layers += [
                nn.Conv2d(before, after, options.kernel, padding=options.kernel // 2),
                nn.ReLU(),
                nn.MaxPool2d(2),
            ]
        scale = 2 ** len(options.channels)
        positions = (height // scale) * (width // scale)
        if positions == 0:
            raise ValueError(
                f"encoder 'small_cnn' halves its input {len(options.channels)} times, which is too "
                f"often for a sample of shape {shape}; use fewer channels"
            )
        pooling: nn.Module = nn.Flatten()
        inputs = options.channels[-1] * positions
        if options.pooling == "average":
            pooling = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
            inputs = options.channels[-1]
        linear = nn.Linear(inputs, options.features)
        self.layers = nn.Sequential(*layers, pooling, linear, nn.ReLU())

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the features, (n, features)."""
        return average_over_frames(self.layers, inputs)
