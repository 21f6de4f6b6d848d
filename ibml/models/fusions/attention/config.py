"""Configuration of attention over modalities; see `ibml.models.fusions.attention.fusion`."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Literal

from ibml.config.base import Count, FieldErrors
from ibml.config.fusion import BaseFusionConfig

if TYPE_CHECKING:
    from ibml.config.trial import TrialConfig


class AttentionConfig(BaseFusionConfig):
    """One transformer encoder layer over one token per modality (Vaswani et al. 2017)."""

    implementation: ClassVar[str] = "ibml.models.fusions.attention.fusion:Attention"
    type: Literal["attention"] = "attention"
    """Attention over one token per modality (Vaswani et al. 2017)."""
    width: Count = 64
    """Width of a token; a multiple of `heads`."""
    heads: Count = 4
    """Number of attention heads."""
    feedforward: Count = 128
    """Width of the hidden layer of the transformer layer's perceptron."""

    def find_field_errors(self, trial: TrialConfig) -> FieldErrors:
        """Return an error if `width` is not a multiple of `heads`."""
        if self.width % self.heads == 0:
            return []
        message = f"width {self.width} cannot be divided among {self.heads} heads"
        return [(("fusion", "heads"), message)]
