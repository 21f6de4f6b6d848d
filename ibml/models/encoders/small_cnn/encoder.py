"""A few convolutions, for small images."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from ibml.inputs import InputSpec
from ibml.models.encoders.layers import average_over_frames
from ibml.models.encoders.small_cnn.config import SmallCNNConfig


class SmallCNN(nn.Module):
    """(n, C, H, W), or (n, C, T, H, W) with the mean over T, -> (n, features).

    Conv, ReLU, max-pool 2 for each number of channels, then Linear and ReLU over all positions or over their mean.
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
            poolings = f"{len(options.channels)} halvings"
            raise ValueError(
                f"encoder 'small_cnn' has {poolings}, too many for a sample of shape {shape}"
            )
        pooling = (
            nn.Flatten()
            if options.pooling == "flatten"
            else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        )
        inputs = options.channels[-1] * (positions if options.pooling == "flatten" else 1)
        self.layers = nn.Sequential(
            *layers, pooling, nn.Linear(inputs, options.features), nn.ReLU()
        )

    def forward(self, inputs: Tensor) -> Tensor:
        return average_over_frames(self.layers, inputs)
