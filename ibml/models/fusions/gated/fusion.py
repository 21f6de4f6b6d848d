"""Gated fusion (Kiela et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ibml.models.fusion import Features, Fusion, split_features
from ibml.models.fusions.gated.config import GatedConfig


class Gated(Fusion):
    """Gating of the features by one modality (Kiela et al. 2018).

    o = Linear(sigmoid(Linear(z_c)) * Linear(z_o)). z_c are the features of the conditioning
    modality and z_o those of the others, concatenated.

    Args:
        options: Configuration of the fusion.
        modalities: Names of the M modalities.
        widths: Number of features of each modality.
        classes: Number of classes, C.
    """

    def __init__(
        self, options: GatedConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
    ):
        super().__init__()
        self.condition = options.find_position(modalities)
        others = sum(widths) - widths[self.condition]
        self.gate = nn.Linear(widths[self.condition], others)
        self.value = nn.Linear(others, others)
        self.head = nn.Linear(others, classes)

    def forward(self, features: Features) -> Tensor:
        """Return the joint logits, (n, C)."""
        conditioning, others = split_features(features, self.condition)
        logits: Tensor = self.head(torch.sigmoid(self.gate(conditioning)) * self.value(others))
        return logits
