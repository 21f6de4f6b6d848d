"""Auxiliary losses: the "uniform" baseline of Wei & Hu, "MMPareto", ICML 2024.

L = CE(o, y) + sum_m w_m CE(o_m, y). With `heads: shared`, o_m are the unimodal logits of the model.
With `separate`, they come from a linear head per modality, which is trained with the model and not
evaluated.

Hyperparameters: weights (one number, or by modality), heads, window. Cost per step: that of joint
training and of the heads.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.config.trial import TrialConfig
from ibml.methods.auxiliary.config import AuxiliaryConfig
from ibml.methods.base import Outputs
from ibml.methods.unimodal_losses import UnimodalLossMethod
from ibml.models.multimodal import MultimodalModel
from ibml.training.precision import Precision


class Auxiliary(UnimodalLossMethod):
    """Add the weighted loss of each modality to the joint loss."""

    options: AuxiliaryConfig

    def __init__(
        self,
        trial: TrialConfig,
        options: AuxiliaryConfig,
        model: MultimodalModel,
        samples: int,
        precision: Precision,
    ):
        super().__init__(trial, options, model, samples, precision)
        weights = [options.get_weight(name) for name in model.modalities]
        device = self.memory.probability.device
        self.weights = torch.tensor(weights, device=device, dtype=precision.dtype)

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        """Return the joint loss plus, in the window, the weighted losses of the modalities."""
        loss = super().loss(outputs, labels, rho, epoch)
        if not self.active(epoch):
            return loss
        return loss + self.weights @ self.compute_unimodal_losses(outputs, labels)
