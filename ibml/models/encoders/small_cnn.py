"""A few convolutions, for small images."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from ibml.config.encoders import SmallCNNConfig
from ibml.models.encoders.layers import mean_over_frames


class SmallCNN(nn.Module):
    """(n, C, H, W), or (n, C, T, H, W) with the mean over T, -> (n, features).

    Conv, ReLU, max-pool 2 for each number of channels, then Linear and ReLU over all positions or over their mean.
    """

    def __init__(self, config: SmallCNNConfig, shape: tuple[int, ...]):
        super().__init__()
        channels, *_, height, width = shape
        layers: list[nn.Module] = []
        for before, after in pairwise((channels, *config.channels)):
            layers += [nn.Conv2d(before, after, config.kernel, padding=config.kernel // 2), nn.ReLU(), nn.MaxPool2d(2)]
        scale = 2 ** len(config.channels)
        positions = (height // scale) * (width // scale)
        if positions == 0:
            poolings = f"{len(config.channels)} halvings"
            raise ValueError(f"encoder 'small_cnn' has {poolings}, too many for a sample of shape {shape}")
        pooling = nn.Flatten() if config.pooling == "flatten" else nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        inputs = config.channels[-1] * (positions if config.pooling == "flatten" else 1)
        self.layers = nn.Sequential(*layers, pooling, nn.Linear(inputs, config.features), nn.ReLU())

    def forward(self, inputs: Tensor) -> Tensor:
        return mean_over_frames(self.layers, inputs)
