"""Gradient blending.

Wang, Tran, Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?", CVPR 2020. The
loss is L = w_joint CE(o, y) + sum_m w_m CE(o_m, y). The weights are estimated every `super_epoch`
epochs (`mode: online`) or once (`offline`). An estimate trains copies of the model, each with a new
optimizer, for `super_epoch` epochs: one on the joint loss, and one per modality on the logits with
the features of the others set to zero. Let T and V be a copy's mean loss per sample on the training
and the validation split, in its first and last epoch. Then

    G = V_first - V_last,  D = (V_last - T_last) - (V_first - T_first),  w proportional to |G| /
    D^2,

where |D| is at least 1e-8 and the weights sum to 1. The weights start equal. They stay unchanged if
a loss of a copy is not finite or if no copy gains. A copy uses the learning rates of the epochs
that it represents. Its dropout and order have separate random streams, which depend on the epoch,
also past the end of training.

Hyperparameters: super_epoch, mode, window. Cost per step: that of joint training. An estimate
trains (M + 1) super_epoch epochs; `online` therefore processes M + 2 times the samples, which
`samples.total` counts. State: the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.common.rng import stream_seed
from ibml.config.schedule import lr_factor
from ibml.config.trial import TrialConfig
from ibml.data.feeds import Inputs
from ibml.methods.base import Method, Outputs, ensure_full_precision
from ibml.methods.g_blending.config import GBlendingConfig
from ibml.models.multimodal import MultimodalModel
from ibml.training.optimizers import build_optimizer
from ibml.training.precision import Precision

FLOOR = 1e-8
"""Lower bound of |D|."""


def compute_blending_weights(first: Tensor, last: Tensor) -> Tensor:
    """Compute the weights w of K losses.

    Args:
        first: Mean losses (train, validation) of K copies in their first epoch, (K, 2).
        last: The same in their last epoch, (K, 2).

    Returns:
        Weights, (K,). They are not finite if no copy gains.
    """
    gain = first[:, 1] - last[:, 1]
    overfitting = (last[:, 1] - last[:, 0]) - (first[:, 1] - first[:, 0])
    ratios = gain.abs() / overfitting.abs().clamp_min(FLOOR) ** 2
    return ratios / ratios.sum()


class GBlending(Method):
    """Weight the losses by the generalization that training on each of them gains."""

    options: GBlendingConfig

    def __init__(
        self,
        trial: TrialConfig,
        options: GBlendingConfig,
        model: MultimodalModel,
        samples: int,
        precision: Precision,
    ):
        super().__init__(trial, options, model, samples, precision)
        losses = len(model.modalities) + 1
        like = self.memory.probability
        # one weight per modality, then that of the joint loss
        self.weights = torch.full((losses,), 1 / losses, device=like.device, dtype=like.dtype)

    def state_dict(self) -> dict[str, Any]:
        """Return the memory and the weights."""
        return {**super().state_dict(), "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the memory, and the weights if the checkpoint has them."""
        super().load_state_dict(state)
        if "weights" in state:
            self.weights.copy_(state["weights"])

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        """Return the weighted sum of all losses; the joint loss outside the window."""
        loss = super().loss(outputs, labels, rho, epoch)
        if not self.active(epoch):
            return loss
        return self.weights[-1] * loss - self.weights[:-1] @ outputs.log_probability.mean(1)

    def start_epoch(self, epoch: int) -> None:
        """Estimate the weights if the epoch is the first of an estimate."""
        super().start_epoch(epoch)
        if not self._is_estimated_at(epoch):
            return
        objectives = range(len(self.weights))
        losses = torch.stack([self._estimate_losses(objective, epoch) for objective in objectives])
        weights = compute_blending_weights(losses[:, 0], losses[:, 1])
        # chosen on the device, which is not read
        known = losses.isfinite().all() & weights.isfinite().all()
        self.weights.copy_(torch.where(known, weights, self.weights))

    def _is_estimated_at(self, epoch: int) -> bool:
        position = epoch - self.window[0]
        if not self.active(epoch):
            return False
        return position == 0 or (
            self.options.mode == "online" and position % self.options.super_epoch == 0
        )

    def _estimate_losses(self, objective: int, epoch: int) -> Tensor:
        """Train a copy of the model on one loss.

        Args:
            objective: Position of the modality, or M for the joint loss.
            epoch: First epoch that the copy represents.

        Returns:
            Mean losses (train, validation) in the copy's first and last epoch, (2, 2).
        """
        devices = [torch.cuda.current_device()] if self.weights.is_cuda else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(stream_seed(self.seed, "dropout", "blending", objective, epoch))
            return self._train_copy(objective, epoch)

    def _train_copy(self, objective: int, epoch: int) -> Tensor:
        model = copy.deepcopy(self.model)
        optimizer = build_optimizer(self.trial.optimizer, model.parameters())
        precision = self.precision.create_copy()
        losses = []
        for step in range(self.options.super_epoch):
            factor = lr_factor(self.trial.schedule, self.epochs, min(epoch + step, self.epochs - 1))
            for group in optimizer.param_groups:
                group["lr"] = self.trial.optimizer.lr * factor
            train_loss = self._train_epoch(model, optimizer, precision, objective, epoch + step)
            if step in (0, self.options.super_epoch - 1):
                losses.append(torch.stack([train_loss, self._validate(model, objective)]))
        return torch.stack([losses[0], losses[-1]])

    def _train_epoch(
        self,
        model: MultimodalModel,
        optimizer: torch.optim.Optimizer,
        precision: Precision,
        objective: int,
        epoch: int,
    ) -> Tensor:
        model.train()
        where = ("blending", objective, epoch)
        order = self.visiting(*where).split(self.trial.trainer.batch_size)
        total = torch.zeros_like(self.weights[0])
        for _, inputs, labels in self.training.train.batches(order, *where):
            optimizer.zero_grad(set_to_none=True)
            loss = self._compute_loss(model, inputs, labels, objective)
            precision.backward(loss)
            precision.update(optimizer)
            total += loss.detach() * len(labels)
            self.extra_samples += len(labels)
        return total / self.samples

    def _validate(self, model: MultimodalModel, objective: int) -> Tensor:
        model.eval()
        count = len(self.training.val.labels)
        total = torch.zeros_like(self.weights[0])
        positions = torch.arange(count).split(self.trial.trainer.eval_batch_size)
        with torch.no_grad():
            for _, inputs, labels in self.training.val.batches(positions):
                total += self._compute_loss(model, inputs, labels, objective) * len(labels)
        return total / count

    def _compute_loss(
        self, model: MultimodalModel, inputs: Inputs, labels: Tensor, objective: int
    ) -> Tensor:
        with self.precision.autocast:
            z = model.features(inputs)
            if objective < len(z):
                z = [part if m == objective else torch.zeros_like(part) for m, part in enumerate(z)]
            logits = ensure_full_precision(model.fusion(z))
        return F.cross_entropy(logits, labels)
