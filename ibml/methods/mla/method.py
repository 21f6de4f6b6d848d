"""MLA: multimodal learning with alternating unimodal adaptation.

Zhang, Yoon, Bansal, Yao, "Multimodal Representation Learning by Alternating Unimodal Adaptation",
CVPR 2024. All modalities share one linear head h. A step computes all features. Then, for each
modality m in turn, it computes the gradient of CE(h(z_m), y) with respect to the head and encoder
m. It projects the gradient of the head and updates. From the second update of the run on

    k = P r^T,  P <- P - k k^T / (lambda + r k),  W.grad <- W.grad P,

with lambda = 0.1^(1 + batch index / batches), where r is the mean feature of the batch, (1, d), and
P starts as the identity. With `normalise`, P is divided by its Frobenius norm after each of its
updates. A prediction weights the modalities by their certainty: `ibml.methods.mla.head.SharedHead`.

Differences from the authors' program: there the head's name never matches, so nothing is projected,
and the entropy is computed over the batch. This implementation follows the paper.

Hyperparameters: normalise, window. Cost per step: that of joint training, and M updates instead of
one. State: P and the number of updates.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.config.trial import TrialConfig
from ibml.methods.base import Batch, Method, StepLog, ensure_full_precision
from ibml.methods.mla.config import MLAConfig
from ibml.methods.mla.head import SharedHead
from ibml.models.multimodal import MultimodalModel
from ibml.training.precision import Precision


def update_projection(projection: Tensor, mean: Tensor, batch_share: float) -> Tensor:
    """Compute the next projection P.

    Args:
        projection: Current P, (d, d).
        mean: Mean feature of the batch, (d,).
        batch_share: Index of the batch divided by the number of batches.

    Returns:
        The next P, (d, d).
    """
    k = projection @ mean
    updated: Tensor = projection - torch.outer(k, k) / (0.1 ** (1 + batch_share) + mean @ k)
    return updated


class MLA(Method):
    """Train the modalities in turn with a shared head whose gradients are projected."""

    options: MLAConfig

    def __init__(
        self,
        trial: TrialConfig,
        options: MLAConfig,
        model: MultimodalModel,
        samples: int,
        precision: Precision,
    ):
        super().__init__(trial, options, model, samples, precision)
        assert isinstance(model.fusion, SharedHead)
        self.head = model.fusion.head
        like = self.memory.probability
        self.projection = torch.eye(self.head.in_features, device=like.device, dtype=like.dtype)
        self.updates = 0
        self.batch_index = 0

    def state_dict(self) -> dict[str, Any]:
        """Return the memory, P and the number of updates."""
        return {**super().state_dict(), "projection": self.projection, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the memory, and P and the number of updates if the checkpoint has them."""
        super().load_state_dict(state)
        if "updates" in state:
            self.projection.copy_(state["projection"])
            self.updates = state["updates"]

    def start_epoch(self, epoch: int) -> None:
        """Reset the index of the batch."""
        super().start_epoch(epoch)
        self.batch_index = 0

    def update(self, batch: Batch, epoch: int) -> StepLog:
        """Run one update per modality; outside the window one joint update."""
        if not self.active(epoch):
            return super().update(batch, epoch)
        optimizer = self.training.optimizer
        optimizer.zero_grad(set_to_none=True)
        rho = self.rates(batch)
        with self.precision.autocast:
            features = self.encode(self.model.embed_inputs(batch.inputs))
        with torch.no_grad():
            outputs = self.fused(features, batch.labels, epoch)
        losses = []
        for z in features:
            with self.precision.autocast:
                logits = ensure_full_precision(self.head(z))
            loss = F.cross_entropy(logits, batch.labels)
            self.precision.backward(loss)
            self._project_gradient(ensure_full_precision(z.detach()).mean(0))
            self.precision.update(optimizer)
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.detach())
        self.batch_index += 1
        return self.log(batch, outputs, torch.stack(losses).mean(), rho, torch.zeros_like(rho))

    def _project_gradient(self, mean: Tensor) -> None:
        """Update the projection with the batch's mean feature and project the head's gradient."""
        self.updates += 1
        if self.updates == 1:
            return
        batches = -(-self.samples // self.trial.trainer.batch_size)
        updated = update_projection(self.projection, mean, self.batch_index / batches)
        self.projection = updated / updated.norm() if self.options.normalise else updated
        gradient = self.head.weight.grad
        assert gradient is not None
        self.head.weight.grad = gradient @ self.projection
