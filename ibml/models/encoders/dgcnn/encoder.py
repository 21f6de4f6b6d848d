"""Dynamic graph CNN over points.

Wang, Sun, Liu, Sarma, Bronstein, Solomon, "Dynamic Graph CNN for Learning on Point Clouds", ACM TOG
2019.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.inputs import InputSpec
from ibml.models.encoders.dgcnn.config import DGCNNConfig
from ibml.models.encoders.layers import BatchNorm1d, BatchNorm2d

_SLOPE = 0.2
_CHANNELS = ((3, 64), (64, 64), (64, 128), (128, 256))
"""Input and output channels of the edge convolutions."""
_WIDTH = 512
"""Channels of a point: the outputs of the four edge convolutions together."""


def find_neighbours(values: Tensor, k: int) -> Tensor:
    """Find the nearest points of each point, itself included.

    Args:
        values: Points, (n, C, N).
        k: Number of neighbours; N if there are fewer points.

    Returns:
        Indices, (n, N, k).
    """
    with torch.no_grad(), torch.autocast(values.device.type, enabled=False):
        exact = values if values.dtype == torch.float64 else values.float()
        squares = exact.square().sum(1)
        # the negative squared distance plus |x_i|^2, which is the same for all neighbours of i
        nearness = 2 * exact.transpose(1, 2) @ exact - squares[:, None, :]
        return nearness.topk(min(k, values.shape[2]), dim=2).indices


class EdgeConv(nn.Module):
    """Edge convolution: max over neighbours j of LeakyReLU(BatchNorm(W [x_j - x_i; x_i])).

    W [x_j - x_i; x_i] = W1 x_j + (W2 - W1) x_i, so W is applied to N points instead of N k edges.

    Args:
        inputs: Number of input channels, C.
        outputs: Number of output channels, C'.
        k: Number of neighbours.
    """

    def __init__(self, inputs: int, outputs: int, k: int):
        super().__init__()
        self.k = k
        self.conv = nn.Conv2d(2 * inputs, outputs, 1, bias=False)
        self.norm = BatchNorm2d(outputs)

    def forward(self, points: Tensor) -> Tensor:
        """Convolve points, (n, C, N) -> (n, C', N)."""
        nearest = find_neighbours(points, self.k)
        edge_weight, point_weight = self.conv.weight.flatten(1).chunk(2, dim=1)
        ends = edge_weight @ points
        starts = (point_weight - edge_weight) @ points
        index = nearest.flatten(1)[:, None].expand(-1, ends.shape[1], -1)
        edges = ends.gather(2, index).unflatten(2, nearest.shape[1:]) + starts[..., None]
        return F.leaky_relu(self.norm(edges), _SLOPE).amax(3)


class DGCNN(nn.Module):
    """Dynamic graph CNN: points, (n, N, 3) -> (n, features).

    Four edge convolutions; their concatenated outputs pass through one more layer. Its maximum and
    mean over points pass through three linear layers.

    Args:
        options: Configuration of the encoder.
        spec: Samples of the modality.

    Raises:
        ValueError: The encoder does not accept such samples.
    """

    def __init__(self, options: DGCNNConfig, spec: InputSpec):
        super().__init__()
        shape = spec.shape
        if shape[1] != 3:
            raise ValueError(
                f"encoder 'dgcnn' takes points (count, 3), but a sample has shape {shape}"
            )
        self.edges = nn.ModuleList(
            EdgeConv(inputs, outputs, options.k) for inputs, outputs in _CHANNELS
        )
        self.points = nn.Sequential(
            nn.Conv1d(_WIDTH, _WIDTH, 1, bias=False), BatchNorm1d(_WIDTH), nn.LeakyReLU(_SLOPE)
        )
        self.head = nn.Sequential(
            *(nn.Linear(2 * _WIDTH, 512, bias=False), BatchNorm1d(512), nn.LeakyReLU(_SLOPE)),
            nn.Dropout(options.dropout),
            *(nn.Linear(512, 256), BatchNorm1d(256), nn.LeakyReLU(_SLOPE)),
            nn.Dropout(options.dropout),
            nn.Linear(256, options.features),
        )

    def forward(self, points: Tensor) -> Tensor:
        """Return the features, (n, features)."""
        values = points.transpose(1, 2)
        layers = []
        for layer in self.edges:
            values = layer(values)
            layers.append(values)
        cloud = self.points(torch.cat(layers, dim=1))
        features: Tensor = self.head(torch.cat([cloud.amax(2), cloud.mean(2)], dim=1))
        return features
