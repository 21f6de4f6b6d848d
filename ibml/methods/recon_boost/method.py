"""ReconBoost: boosting of modalities that are reconciled with each other.

Hua, Xu, Bao, Yang, Huang, "ReconBoost: Boosting Can Achieve Modality Reconcilement", ICML 2024. All
modalities share one head f: o_m = f(z_m), and o = b sum_m o_m with a learned number b; see
`ibml.methods.recon_boost.head.BoostedHead`. Training consists of stages with two phases. A stage
boosts modality m = stage mod M.

Phase 1, `stage_epochs` epochs, trains encoder m and f with a new optimizer. Let y be one-hot and
R = softmax(b sum of the others' o); in the very first stage R is the softmax of a constant. Then

    L = mean over samples and classes of (-weight1 y + weight2 y R) log softmax(o_m)
        + alpha mean over the same of (softmax(o_m) - softmax(o_prev))^2

R and o_prev, the logits of the previous stage's modality, are constants. The first stage has no
second term. Phase 2, `correct_epochs` epochs, trains everything on CE(o, y), again with a new
optimizer.

Differences from the authors' program: it detaches o_m in the second term, which removes its
gradient.

Hyperparameters: weight1, weight2, alpha, stage_epochs, correct_epochs, window. Cost per step: in
phase 1 a forward pass of all encoders and a backward pass of one; in phase 2 that of joint
training.
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
    """Compute the loss L of phase 1.

    Args:
        own: o_m, logits of the boosted modality, (n, C).
        residual: R, (n, C).
        before: softmax(o_prev), (n, C); None in the first stage.
        labels: Class indices, (n,).
        options: Configuration of the method.

    Returns:
        A scalar.
    """
    logs = own.log_softmax(1)
    factors = options.weight2 * residual.gather(1, labels[:, None]) - options.weight1
    terms = logs.gather(1, labels[:, None]) * factors
    loss = terms.sum() / logs.numel()
    if before is None:
        return loss
    return loss + options.alpha * (logs.exp() - before).square().mean()


class ReconBoost(Method):
    """Boost the modalities in turn, each on the residual of the others."""

    options: ReconBoostConfig
    stage = -1
    """Stage of the current epoch in phase 1; -1 in phase 2 and outside the window."""

    def start_epoch(self, epoch: int) -> None:
        """Determine the stage; reset the optimizer at the start of a phase."""
        super().start_epoch(epoch)
        self.stage = -1
        if not self.active(epoch):
            return
        boost = self.options.stage_epochs
        correct = self.options.correct_epochs
        stage, position = divmod(epoch - self.window[0], boost + correct)
        if position < boost:
            self.stage = stage
        if position in (0, boost):
            self.training.optimizer.state.clear()  # equivalent to a new optimizer

    @property
    def boosted_modality(self) -> int:
        """Position of the stage's modality."""
        return self.stage % len(self.model.modalities)

    def uses_unimodal(self, epoch: int) -> bool:
        """Return true in phase 1, whose loss uses the unimodal logits."""
        return self.stage >= 0

    def forward(self, inputs: Inputs, labels: Tensor, epoch: int) -> Outputs:
        """Run one forward pass; in phase 1 only the boosted modality has gradients."""
        if self.stage < 0:
            return super().forward(inputs, labels, epoch)
        features = []
        with self.precision.autocast:
            for position, name in enumerate(self.model.modalities):
                features.append(self._encode_modality(name, inputs[name], position))
        return self.fused(features, labels, epoch)

    def _encode_modality(self, name: str, values: Input, position: int) -> Tensor:
        with torch.set_grad_enabled(position == self.boosted_modality):
            features: Tensor = self.model.encoders[name](values)
        return features

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        """Return the boosting loss in phase 1 and the joint loss elsewhere."""
        if self.stage < 0:
            return super().loss(outputs, labels, rho, epoch)
        fusion = self.model.fusion
        assert isinstance(fusion, BoostedHead)
        own = outputs.unimodal[self.boosted_modality]
        constant = outputs.unimodal.detach()
        if self.stage == 0:
            uniform = torch.full_like(own, 1 / own.shape[1])
            return compute_boosting_loss(own, uniform, None, labels, self.options)
        boosted = fusion.scale.detach() * constant[self.boosted_modality]
        others = fusion.combine(constant).detach() - boosted
        before = constant[(self.stage - 1) % len(constant)].softmax(1)
        return compute_boosting_loss(own, others.softmax(1), before, labels, self.options)
