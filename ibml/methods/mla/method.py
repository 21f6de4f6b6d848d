"""MLA: multimodal learning with alternating unimodal adaptation.

Zhang, Yoon, Bansal, Yao, "Multimodal Representation Learning by Alternating Unimodal Adaptation", CVPR 2024. One
linear head h is shared by all modalities. A step makes all features and then, for m = 1 .. M in turn, takes the
gradient of CE(h(z_m), y) by the head and encoder m, projects the head's, and updates. From the second update of the
run on

    k = P r^T,  P <- P - k k^T / (lambda + r k),  W.grad <- W.grad P,  lambda = 0.1^(1 + batch index / batches),

r being the mean feature of the batch, (1, d), and P at first the identity; with `normalise` P is divided by its
Frobenius norm after each of its updates. Prediction weighs the modalities by how sure they are:
`ibml.methods.mla.head.SharedHead`. (In the authors' program the head's name never matches, so that nothing is
projected, and the entropy is taken over the batch; this follows the paper.)

Hyperparameters: normalise, window. Cost of a step: that of joint training, and M updates instead of one. State: P,
and how many updates there were.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.config.trial import TrialConfig
from ibml.methods.base import Batch, Method, StepLog, full
from ibml.methods.mla.config import MLAConfig
from ibml.methods.mla.head import SharedHead
from ibml.models.multimodal import MultimodalModel
from ibml.training.precision import Precision


def update_projection(projection: Tensor, mean: Tensor, batch_share: float) -> Tensor:
    """The next P, (d, d), from the last and the batch's mean feature, (d,); `batch_share` is batch index / batches."""
    k = projection @ mean
    moved: Tensor = projection - torch.outer(k, k) / (0.1 ** (1 + batch_share) + mean @ k)
    return moved


class MLA(Method):
    """The modalities learn in turn, and the head forgets none of them."""

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
        return {**super().state_dict(), "projection": self.projection, "updates": self.updates}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if "updates" in state:
            self.projection.copy_(state["projection"])
            self.updates = state["updates"]

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        self.batch_index = 0

    def update(self, batch: Batch, epoch: int) -> StepLog:
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
                logits = full(self.head(z))
            loss = F.cross_entropy(logits, batch.labels)
            self.precision.backward(loss)
            self._project_gradient(full(z.detach()).mean(0))
            self.precision.update(optimizer)
            optimizer.zero_grad(set_to_none=True)
            losses.append(loss.detach())
        self.batch_index += 1
        return self.log(batch, outputs, torch.stack(losses).mean(), rho, torch.zeros_like(rho))

    def _project_gradient(self, mean: Tensor) -> None:
        """Move the projection on, and take the head's gradient through it."""
        self.updates += 1
        if self.updates == 1:
            return
        batches = -(-self.samples // self.trial.trainer.batch_size)
        moved = update_projection(self.projection, mean, self.batch_index / batches)
        self.projection = moved / moved.norm() if self.options.normalise else moved
        gradient = self.head.weight.grad
        assert gradient is not None
        self.head.weight.grad = gradient @ self.projection
