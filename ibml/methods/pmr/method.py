"""PMR: prototypical modal rebalance.

Fan, Xu, Wang, Wang, Guo, "PMR: Prototypical Modal Rebalance for Multimodal Learning", CVPR 2023. The prototype c_m,k
is the mean feature of class k over a stratified tenth of the training set, in evaluation mode, before the first
epoch; after every epoch c <- (1 - momentum) new + momentum old. With sim_m = -|z_m - c_m,k| (Euclidean, not squared)
as logits:

    q_m = sum_i softmax(sim_m)[i, y_i],  m lags if q_m < max q
    L = CE(o, y) + alpha sum over lagging m of w_m CE(sim_m, y)

with w_m = clip(max q / q_m - 1, 0, 1) (`coefficient: paper`) or 1 (`release`, the authors' program), not
differentiated. The entropy term that the paper takes from the leading modality in early epochs is not in the authors'
program, nor here.

Hyperparameters: alpha, momentum, coefficient, window. Cost of a step: that of joint training, and n C distances a
modality; between epochs a forward pass over a tenth of the training set. State: the prototypes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from ibml.common.rng import stream_seed
from ibml.methods.base import Method, Outputs, full, label_log_probability
from ibml.methods.pmr.config import PMRConfig
from ibml.training.forward_passes import features

SHARE = 0.1
"""Of each class's training samples, at least one, that prototypes are made of."""


def compute_similarities(z: Sequence[Tensor], prototypes: Sequence[Tensor]) -> Tensor:
    """sim, (M, n, C): the negative distance of features (n, d_m) to prototypes (C, d_m)."""
    return torch.stack(
        [
            -_compute_distances(features, centres)
            for features, centres in zip(z, prototypes, strict=True)
        ]
    )


def _compute_distances(z: Tensor, centres: Tensor) -> Tensor:
    # not by inner products, which lose the digits of small distances
    return torch.cdist(z, centres, compute_mode="donot_use_mm_for_euclid_dist")


def compute_lag_weights(scores: Tensor, coefficient: str) -> Tensor:
    """w_m, (M,), from q, (M,): 0 for the modality that leads."""
    lead = scores.max()
    weights = (lead / scores.clamp_min(torch.finfo(scores.dtype).tiny) - 1).clamp(0, 1)
    return (
        weights if coefficient == "paper" else torch.where(scores < lead, 1.0, 0.0).to(scores.dtype)
    )


class PMR(Method):
    """Prototypes pull the lagging modalities."""

    options: PMRConfig
    prototypes: list[Tensor]

    def uses_unimodal(self, epoch: int) -> bool:
        return False

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "prototypes": getattr(self, "prototypes", [])}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        like = self.memory.probability
        if state.get("prototypes"):
            self.prototypes = [
                c.to(like.device, like.dtype, copy=True) for c in state["prototypes"]
            ]

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        if not self.active(epoch):
            return
        made = self._compute_prototypes(epoch)
        if epoch > self.window[0]:
            old = self.options.momentum
            made = [
                (1 - old) * new + old * before
                for new, before in zip(made, self.prototypes, strict=True)
            ]
        self.prototypes = made

    def _compute_prototypes(self, epoch: int) -> list[Tensor]:
        """Mean features by class, (C, d_m) for each modality."""
        labels = self.training.train.labels
        batches = self._sample_positions(labels.cpu()).split(self.trial.trainer.eval_batch_size)
        sums = [torch.zeros(()) for _ in self.model.modalities]
        counts = torch.zeros(())
        for _, z, own in features(
            self.model, self.training.train, batches, self.precision, "prototypes", epoch
        ):
            member = torch.nn.functional.one_hot(own, self.model.classes).to(z[0].dtype)
            sums = [total.to(f.device) + member.T @ f for total, f in zip(sums, z, strict=True)]
            counts = counts.to(own.device) + member.sum(0)
        return [total / counts.clamp_min(1)[:, None] for total in sums]

    def _sample_positions(self, labels: Tensor) -> Tensor:
        """The positions of a tenth of each class's samples, the same in every epoch of a run."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "order", "prototypes"))
        shuffled = torch.randperm(len(labels), generator=generator)
        by_class = shuffled[labels[shuffled].argsort(stable=True)]
        sizes = torch.bincount(labels, minlength=self.model.classes)
        place = torch.arange(len(labels)) - (sizes.cumsum(0) - sizes)[labels[by_class]]
        return by_class[place < (SHARE * sizes).ceil()[labels[by_class]]].sort().values

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        loss = super().loss(outputs, labels, rho, epoch)
        if not self.active(epoch):
            return loss
        logs = label_log_probability(
            compute_similarities([full(z) for z in outputs.features], self.prototypes), labels
        )
        weights = compute_lag_weights(logs.detach().exp().sum(1), self.options.coefficient)
        return loss - self.options.alpha * (weights @ logs.mean(1))
