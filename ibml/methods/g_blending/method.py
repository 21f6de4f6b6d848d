"""Gradient blending.

Wang, Tran, Feiszli, "What Makes Training Multi-Modal Classification Networks Hard?", CVPR 2020. L = w_joint CE(o, y)
+ sum_m w_m CE(o_m, y). Every `super_epoch` epochs (`mode: online`) or once (`offline`), copies of the model, each
with a fresh optimizer, are trained for `super_epoch` epochs: one on the joint loss and one on each modality alone
(the logits where the others' features are zero). With their mean losses per sample on train (T) and validation (V) in
their first and last epoch,

    G = V_first - V_last,  D = (V_last - T_last) - (V_first - T_first),  w proportional to |G| / D^2,

|D| being at least 1e-8, and the weights sum to 1. They start out equal, and stay as they are where a loss of a copy
is not finite or no copy gains. The learning rates of a copy are those of the epochs that it stands for; what its
dropout and its order draw is its own, in every epoch anew, also in those past the end of training.

Hyperparameters: super_epoch, mode, window. Cost of a step: that of joint training; an estimate trains (M + 1)
super_epoch epochs, so that `online` sees M + 2 times the samples, which `samples.total` counts. State: the weights.
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
from ibml.methods.base import Method, Outputs, full
from ibml.methods.g_blending.config import GBlendingConfig
from ibml.models.multimodal import MultimodalModel
from ibml.training.optimizers import build_optimizer
from ibml.training.precision import Precision

FLOOR = 1e-8


def compute_blending_weights(first: Tensor, last: Tensor) -> Tensor:
    """w, (K,), from the mean losses (train, validation) of K trainings in their first and last epoch, (K, 2) each."""
    gain = first[:, 1] - last[:, 1]
    overfitting = (last[:, 1] - last[:, 0]) - (first[:, 1] - first[:, 0])
    ratios = gain.abs() / overfitting.abs().clamp_min(FLOOR) ** 2
    return ratios / ratios.sum()


class GBlending(Method):
    """All losses, weighed by how well what each learns generalises."""

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
        losses, like = len(model.modalities) + 1, self.memory.probability
        self.weights = torch.full((losses,), 1 / losses, device=like.device, dtype=like.dtype)
        """Of each modality's loss, and of the joint one."""

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "weights": self.weights}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if "weights" in state:
            self.weights.copy_(state["weights"])

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        loss = super().loss(outputs, labels, rho, epoch)
        if not self.active(epoch):
            return loss
        return self.weights[-1] * loss - self.weights[:-1] @ outputs.log_probability.mean(1)

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        since = epoch - self.window[0]
        every = self.options.super_epoch
        if self.active(epoch) and (
            since == 0 or (self.options.mode == "online" and since % every == 0)
        ):
            estimates = torch.stack(
                [self._estimate_losses(kept, epoch) for kept in range(len(self.weights))]
            )
            weights = compute_blending_weights(estimates[:, 0], estimates[:, 1])
            known = estimates.isfinite().all() & weights.isfinite().all()
            self.weights.copy_(torch.where(known, weights, self.weights))

    def _estimate_losses(self, objective: int, epoch: int) -> Tensor:
        """The mean losses (train, validation) of a copy that is trained on one loss, in its first and last epoch,
        (2, 2). `objective` is a modality's position, or M for the joint loss."""
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
            trained = self._train_epoch(model, optimizer, precision, objective, epoch + step)
            if step in (0, self.options.super_epoch - 1):
                losses.append(torch.stack([trained, self._validate(model, objective)]))
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
        with torch.no_grad():
            for _, inputs, labels in self.training.val.batches(
                torch.arange(count).split(self.trial.trainer.eval_batch_size)
            ):
                total += self._compute_loss(model, inputs, labels, objective) * len(labels)
        return total / count

    def _compute_loss(
        self, model: MultimodalModel, inputs: Inputs, labels: Tensor, objective: int
    ) -> Tensor:
        with self.precision.autocast:
            z = model.features(inputs)
            if objective < len(z):
                z = [part if m == objective else torch.zeros_like(part) for m, part in enumerate(z)]
            logits = full(model.fusion(z))
        return F.cross_entropy(logits, labels)
