"""FiLM: feature-wise linear modulation (Perez et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ibml.models.fusion import Features, Fusion, split_features
from ibml.models.fusions.film.config import FiLMConfig


class FiLM(Fusion):
    """gamma, beta = split(Linear(z_c)); o = Linear(gamma * z_o + beta), z_c the conditioning modality and
    z_o the other (Perez et al. 2018). With more than two, z_o are the others' features side by side."""

    def __init__(
        self, options: FiLMConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
    ):
        super().__init__()
        self.condition = options.find_position(modalities)
        others = sum(widths) - widths[self.condition]
        self.modulation = nn.Linear(widths[self.condition], 2 * others)
        self.head = nn.Linear(others, classes)

    def forward(self, features: Features) -> Tensor:
        conditioning, others = split_features(features, self.condition)
        gamma, beta = self.modulation(conditioning).chunk(2, dim=1)
        logits: Tensor = self.head(gamma * others + beta)
        return logits
