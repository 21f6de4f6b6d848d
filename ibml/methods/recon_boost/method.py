"""ReconBoost: boosting modalities that are reconciled with each other.

Hua, Xu, Bao, Yang, Huang, "ReconBoost: Boosting Can Achieve Modality Reconcilement", ICML 2024. One head f is shared,
o_m = f(z_m), and o = b sum_m o_m with a learned number b: `ibml.methods.recon_boost.head.BoostedHead`. Training goes
in stages, of modality m = stage mod M each.

Phase 1, `stage_epochs` epochs, trains encoder m and f with a fresh optimizer. With y one-hot and
R = softmax(b sum of the others' o), in the very first stage softmax of a constant,

    L = mean over samples and classes of (-weight1 y + weight2 y R) log softmax(o_m)
        + alpha mean over the same of (softmax(o_m) - softmax(o_prev))^2

where R and o_prev, of the stage before's modality, are constants, and the first stage has no second term. Phase 2,
`correct_epochs` epochs, trains everything on CE(o, y), with a fresh optimizer again. (The authors' program detaches
o_m in the second term, which takes its gradient away.)

Hyperparameters: weight1, weight2, alpha, stage_epochs, correct_epochs, window. Cost of a step: in phase 1 a forward
pass of all and a backward pass of one encoder, in phase 2 that of joint training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.inputs import Input
from ibml.methods.base import Inputs, Method, Outputs
from ibml.methods.recon_boost.config import ReconBoostConfig
from ibml.methods.recon_boost.head import BoostedHead


def compute_boosting_loss(
    own: Tensor, residual: Tensor, before: Tensor | None, labels: Tensor, options: ReconBoostConfig
) -> Tensor:
    """L of phase 1 from o_m, (n, C), R, (n, C), and softmax(o_prev), (n, C), or None in the first stage."""
    logs = own.log_softmax(1)
    picked = logs.gather(1, labels[:, None]) * (
        options.weight2 * residual.gather(1, labels[:, None]) - options.weight1
    )
    loss = picked.sum() / logs.numel()
    return loss if before is None else loss + options.alpha * (logs.exp() - before).square().mean()


class ReconBoost(Method):
    """The modalities are boosted in turn, each by what the others do not explain."""

    options: ReconBoostConfig
    stage = -1
    """The stage whose first phase the epoch is in, else -1."""

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        self.stage = -1
        if not self.active(epoch):
            return
        boost, correct = self.options.stage_epochs, self.options.correct_epochs
        stage, position = divmod(epoch - self.window[0], boost + correct)
        if position < boost:
            self.stage = stage
        if position in (0, boost):
            self.training.optimizer.state.clear()  # which is all that an optimizer remembers

    @property
    def boosted_modality(self) -> int:
        """The position of the stage's modality."""
        return self.stage % len(self.model.modalities)

    def uses_unimodal(self, epoch: int) -> bool:
        return self.stage >= 0

    def forward(self, inputs: Inputs, labels: Tensor, epoch: int) -> Outputs:
        if self.stage < 0:
            return super().forward(inputs, labels, epoch)
        with self.precision.autocast:
            features = [
                self._encode_modality(name, inputs[name], m)
                for m, name in enumerate(self.model.modalities)
            ]
        return self.fused(features, labels, epoch)

    def _encode_modality(self, name: str, values: Input, position: int) -> Tensor:
        with torch.set_grad_enabled(position == self.boosted_modality):
            features: Tensor = self.model.encoders[name](values)
        return features

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        if self.stage < 0:
            return super().loss(outputs, labels, rho, epoch)
        assert isinstance(self.model.fusion, BoostedHead)
        own, constant = outputs.unimodal[self.boosted_modality], outputs.unimodal.detach()
        if self.stage == 0:
            return compute_boosting_loss(
                own, torch.full_like(own, 1 / own.shape[1]), None, labels, self.options
            )
        others = (
            self.model.fusion.combine(constant).detach()
            - self.model.fusion.scale.detach() * constant[self.boosted_modality]
        )
        before = constant[(self.stage - 1) % len(constant)].softmax(1)
        return compute_boosting_loss(own, others.softmax(1), before, labels, self.options)
