"""AGM: adaptive gradient modulation.

Li, Han, Zhou, "Boosting Multi-modal Model Performance with Adaptive Gradient Modulation", ICCV
2023. Let v(S) be the joint logits with the features outside S set to zero, and v(empty set) = 0.
The share of modality m in the logits is its Shapley value

    phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)).

The shares sum to o. For `concat`, phi_m = o_m. For `sum`, o_m is used, which has the bias b_m where
phi_m has the mean bias. Then

    n_m = mean_i -log max(softmax(phi_m)[i, y_i], 1e-8)
    r_m = exp(mean of the others' n - n_m),  tau_m = exp(mean of the others' T - T_m)
    k_m = exp(alpha min(tau_m - r_m, 10)),

where T_m is the mean of n_m over all previous steps in the window, 0 at the first. The loss is
L = CE(o, y); the gradient with respect to phi_m is multiplied by k_m.

Differences from the authors' program: it zeroes inputs instead of features, and runs these passes
in evaluation mode.

Hyperparameters: alpha, window. Cost per step: that of joint training; with fusions other than
`concat` and `sum`, 2^M - 1 passes through the fusion and none through the encoders. State: T and
the number of steps.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.config.trial import TrialConfig
from ibml.methods.agm.config import AGMConfig
from ibml.methods.base import (
    Method,
    Outputs,
    average_others,
    ensure_full_precision,
    label_log_probability,
)
from ibml.models.multimodal import MultimodalModel
from ibml.statistics.coalitions import enumerate_subsets, shapley_weights
from ibml.training.precision import Precision

LOG_FLOOR = math.log(1e-8)
"""Lower bound of log-probabilities."""
CLIP = 10.0
"""Upper bound of tau_m - r_m."""


def compute_coefficients(scores: Tensor, before: Tensor, alpha: float) -> Tensor:
    """Compute the modulation coefficients k_m.

    Args:
        scores: n of this step, (M,).
        before: T, the mean of n over the previous steps, (M,).
        alpha: Strength of the modulation.

    Returns:
        Factors of the gradients, (M,).
    """
    r = (average_others(scores) - scores).exp()
    tau = (average_others(before) - before).exp()
    return (alpha * (tau - r).clamp_max(CLIP)).exp()


class AGM(Method):
    """Scale each modality's share of the gradient by its lag behind its own average."""

    options: AGMConfig

    def __init__(
        self,
        trial: TrialConfig,
        options: AGMConfig,
        model: MultimodalModel,
        samples: int,
        precision: Precision,
    ):
        super().__init__(trial, options, model, samples, precision)
        count = len(model.modalities)
        device, dtype = self.memory.probability.device, self.memory.probability.dtype
        self.mean = torch.zeros(count, device=device, dtype=dtype)
        self.steps = torch.zeros((), device=device, dtype=dtype)
        # the logits of the empty subset, which comes first, are 0
        self.subsets = torch.tensor(enumerate_subsets(count)[1:], device=device)
        weights = torch.tensor(shapley_weights(count), device=device, dtype=dtype)
        self.weights = weights[:, 1:]

    def state_dict(self) -> dict[str, Any]:
        """Return the memory, T and the number of steps."""
        return {**super().state_dict(), "mean": self.mean, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the memory, and T and the number of steps if the checkpoint has them."""
        super().load_state_dict(state)
        if "mean" in state:
            self.mean.copy_(state["mean"])
            self.steps.copy_(state["steps"])

    def uses_unimodal(self, epoch: int) -> bool:
        """Return true in the window if the unimodal logits are the shares phi_m."""
        return self.model.fusion.splits_logits and self.active(epoch)

    def compute_shares(self, outputs: Outputs) -> Tensor:
        """Compute the shares phi_m of the joint logits.

        Args:
            outputs: Result of the forward pass of n samples.

        Returns:
            phi, (M, n, C).
        """
        if self.model.fusion.splits_logits:
            return outputs.unimodal
        with self.precision.autocast:
            logits = self.model.fusion.subset_logits(outputs.features, self.subsets)
        return torch.einsum("ms,snc->mnc", self.weights, ensure_full_precision(logits))

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        """Return CE(o, y), whose gradient with respect to phi_m is multiplied by k_m."""
        if not self.active(epoch):
            return super().loss(outputs, labels, rho, epoch)
        shares = self.compute_shares(outputs)
        scores = -label_log_probability(shares.detach(), labels).clamp_min(LOG_FLOOR).mean(1)
        factors = compute_coefficients(scores, self.mean, self.options.alpha)
        self.steps += 1
        self.mean += (scores - self.mean) / self.steps
        # the value is o, the gradient is that of the scaled shares
        scaled = torch.einsum("m,mnc->nc", factors, shares)
        return F.cross_entropy(outputs.joint.detach() + scaled - scaled.detach(), labels)
