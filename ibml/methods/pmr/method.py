"""PMR: prototypical modal rebalance.

Fan, Xu, Wang, Wang, Guo, "PMR: Prototypical Modal Rebalance for Multimodal Learning", CVPR 2023.
The prototype c_m,k is the mean feature of class k over a stratified tenth of the training set, in
evaluation mode. It is computed before the first epoch and after every epoch, then as c <-
(1 - momentum) new + momentum old. With sim_m = -|z_m - c_m,k| (Euclidean, not squared) as logits:

    q_m = sum_i softmax(sim_m)[i, y_i],  m lags if q_m < max q
    L = CE(o, y) + alpha sum over lagging m of w_m CE(sim_m, y)

where w_m = clip(max q / q_m - 1, 0, 1) (`coefficient: paper`) or 1 (`release`, the authors'
program), without gradient. The paper subtracts an entropy term of the leading modality in early
epochs. It is neither in the authors' program nor in this implementation.

Hyperparameters: alpha, momentum, coefficient, window. Cost per step: that of joint training, and n
C distances per modality; between epochs a forward pass over a tenth of the training set. State: the
prototypes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.common.rng import stream_seed
from ibml.methods.base import Method, Outputs, ensure_full_precision, label_log_probability
from ibml.methods.pmr.config import PMRConfig
from ibml.training.forward_passes import iterate_features

SHARE = 0.1
"""Share of each class's training samples, at least one, that prototypes are computed from."""


def compute_similarities(z: Sequence[Tensor], prototypes: Sequence[Tensor]) -> Tensor:
    """Compute the similarities of samples to the prototypes of the classes.

    Args:
        z: Features by modality, (n, d_m) each.
        prototypes: Prototypes by modality, (C, d_m) each.

    Returns:
        sim, the negative Euclidean distances, (M, n, C).
    """
    pairs = zip(z, prototypes, strict=True)
    return torch.stack([-_compute_distances(features, centres) for features, centres in pairs])


def _compute_distances(z: Tensor, centres: Tensor) -> Tensor:
    # inner products would lose the digits of small distances
    return torch.cdist(z, centres, compute_mode="donot_use_mm_for_euclid_dist")


def compute_lag_weights(scores: Tensor, coefficient: str) -> Tensor:
    """Compute the weights w_m of the prototype losses.

    Args:
        scores: q, (M,).
        coefficient: `paper` or `release`.

    Returns:
        w, (M,); 0 for the leading modality.
    """
    lead = scores.max()
    if coefficient == "release":
        return torch.where(scores < lead, 1.0, 0.0).to(scores.dtype)
    return (lead / scores.clamp_min(torch.finfo(scores.dtype).tiny) - 1).clamp(0, 1)


class PMR(Method):
    """Add a loss that pulls features of lagging modalities towards class prototypes."""

    options: PMRConfig
    prototypes: list[Tensor]

    def uses_unimodal(self, epoch: int) -> bool:
        """Return false: the loss has no gradient with respect to the unimodal logits."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """Return the memory and the prototypes; no prototypes before the window."""
        return {**super().state_dict(), "prototypes": getattr(self, "prototypes", [])}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the memory, and the prototypes if the checkpoint has any."""
        super().load_state_dict(state)
        like = self.memory.probability
        if state.get("prototypes"):
            stored = state["prototypes"]
            self.prototypes = [c.to(like.device, like.dtype, copy=True) for c in stored]

    def start_epoch(self, epoch: int) -> None:
        """Update the prototypes in the window."""
        super().start_epoch(epoch)
        if not self.active(epoch):
            return
        prototypes = self._compute_prototypes(epoch)
        if epoch > self.window[0]:
            share = self.options.momentum
            pairs = zip(prototypes, self.prototypes, strict=True)
            prototypes = [(1 - share) * new + share * old for new, old in pairs]
        self.prototypes = prototypes

    def _compute_prototypes(self, epoch: int) -> list[Tensor]:
        """Return the mean features of each class by modality, (C, d_m) each."""
        labels = self.training.train.labels
        batches = self._sample_positions(labels.cpu()).split(self.trial.trainer.eval_batch_size)
        sums = [torch.zeros(()) for _ in self.model.modalities]
        counts = torch.zeros(())
        passes = iterate_features(
            self.model, self.training.train, batches, self.precision, "prototypes", epoch
        )
        for _, z, batch_labels in passes:
            member = F.one_hot(batch_labels, self.model.classes).to(z[0].dtype)
            sums = [total.to(f.device) + member.T @ f for total, f in zip(sums, z, strict=True)]
            counts = counts.to(batch_labels.device) + member.sum(0)
        return [total / counts.clamp_min(1)[:, None] for total in sums]

    def _sample_positions(self, labels: Tensor) -> Tensor:
        """Return the positions of a tenth of each class's samples, the same in every epoch."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "order", "prototypes"))
        shuffled = torch.randperm(len(labels), generator=generator)
        by_class = shuffled[labels[shuffled].argsort(stable=True)]
        sizes = torch.bincount(labels, minlength=self.model.classes)
        starts = sizes.cumsum(0) - sizes
        position_in_class = torch.arange(len(labels)) - starts[labels[by_class]]
        selected = position_in_class < (SHARE * sizes).ceil()[labels[by_class]]
        return by_class[selected].sort().values

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        """Return the joint loss plus, in the window, the prototype losses."""
        loss = super().loss(outputs, labels, rho, epoch)
        if not self.active(epoch):
            return loss
        features = [ensure_full_precision(z) for z in outputs.features]
        similarities = compute_similarities(features, self.prototypes)
        logs = label_log_probability(similarities, labels)
        weights = compute_lag_weights(logs.detach().exp().sum(1), self.options.coefficient)
        return loss - self.options.alpha * (weights @ logs.mean(1))
