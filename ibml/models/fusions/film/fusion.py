"""FiLM: feature-wise linear modulation (Perez et al. 2018)."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from ibml.models.fusion import Features, Fusion, split_features
from ibml.models.fusions.film.config import FiLMConfig


class FiLM(Fusion):
    """Feature-wise linear modulation by one modality (Perez et al. 2018).

    gamma, beta = split(Linear(z_c)) and o = Linear(gamma * z_o + beta). z_c are the features of the
    conditioning modality and z_o those of the others, concatenated.

    Args:
        options: Configuration of the fusion.
        modalities: Names of the M modalities.
        widths: Number of features of each modality.
        classes: Number of classes, C.
    """

    def __init__(
        self, options: FiLMConfig, modalities: Sequence[str], widths: Sequence[int], classes: int
    ):
        super().__init__()
        self.condition = options.find_position(modalities)
        others = sum(widths) - widths[self.condition]
        self.modulation = nn.Linear(widths[self.condition], 2 * others)
        self.head = nn.Linear(others, classes)

    def forward(self, features: Features) -> Tensor:
        """Return the joint logits, (n, C)."""
        conditioning, others = split_features(features, self.condition)
        gamma, beta = self.modulation(conditioning).chunk(2, dim=1)
        logits: Tensor = self.head(gamma * others + beta)
        return logits
