"""AGM: adaptive gradient modulation.

Li, Han, Zhou, "Boosting Multi-modal Model Performance with Adaptive Gradient Modulation", ICCV 2023. With v(S) the
joint logits where the features outside S are zero, and v(none) = 0, modality m's share of the logits is its Shapley
value

    phi_m = sum over S without m of |S|! (M - |S| - 1)! / M! (v(S + m) - v(S)),

and they sum to o. For `concat` phi_m = o_m; for `sum` o_m is taken, which has b_m where phi_m has the mean bias. Then

    n_m = mean_i -log max(softmax(phi_m)[i, y_i], 1e-8)
    r_m = exp(mean of the others' n - n_m),  tau_m = exp(mean of the others' T - T_m)
    k_m = exp(alpha min(tau_m - r_m, 10)),

T_m being the mean of n_m over all steps before, 0 at the first. L = CE(o, y), but what flows back into phi_m is
multiplied by k_m. Steps count where the method acts, in its window. The authors' program zeroes inputs instead of
features and runs those passes in evaluation mode.

Hyperparameters: alpha, window. Cost of a step: that of joint training; with other fusions than `concat` and `sum` 2^M
- 1 passes through the fusion, none through the encoders. State: T and the number of steps.
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
from ibml.methods.base import Method, Outputs, average_others, full, label_log_probability
from ibml.models.multimodal import MultimodalModel
from ibml.statistics.coalitions import members, shapley_weights
from ibml.training.precision import Precision

LOG_FLOOR = math.log(1e-8)
CLIP = 10.0


def compute_coefficients(scores: Tensor, before: Tensor, alpha: float) -> Tensor:
    """k_m, (M,), from n of this step and T, the mean of n over the steps before, (M,) each."""
    r = (average_others(scores) - scores).exp()
    tau = (average_others(before) - before).exp()
    return (alpha * (tau - r).clamp_max(CLIP)).exp()


class AGM(Method):
    """Each modality's share of the gradient is scaled by how far it is behind where it usually is."""

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
        count, like = len(model.modalities), self.memory.probability
        self.mean = torch.zeros(count, device=like.device, dtype=like.dtype)
        self.steps = torch.zeros((), device=like.device, dtype=like.dtype)
        # without the empty subset, whose logits are 0
        self.subsets = torch.tensor(members(count)[1:], device=like.device)
        self.weights = torch.tensor(shapley_weights(count), device=like.device, dtype=like.dtype)[
            :, 1:
        ]

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "mean": self.mean, "steps": self.steps}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if "mean" in state:
            self.mean.copy_(state["mean"])
            self.steps.copy_(state["steps"])

    def uses_unimodal(self, epoch: int) -> bool:
        return self.model.fusion.splits_logits and self.active(epoch)

    def compute_shares(self, outputs: Outputs) -> Tensor:
        """phi, (M, n, C), which sum to the joint logits."""
        if self.model.fusion.splits_logits:
            return outputs.unimodal
        with self.precision.autocast:
            logits = full(self.model.fusion.subset_logits(outputs.features, self.subsets))
        return torch.einsum("ms,snc->mnc", self.weights, logits)

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        if not self.active(epoch):
            return super().loss(outputs, labels, rho, epoch)
        shares = self.compute_shares(outputs)
        scores = -label_log_probability(shares.detach(), labels).clamp_min(LOG_FLOOR).mean(1)
        factors = compute_coefficients(scores, self.mean, self.options.alpha)
        self.steps += 1
        self.mean += (scores - self.mean) / self.steps
        # forward o, backward through the scaled shares
        scaled = torch.einsum("m,mnc->nc", factors, shares)
        return F.cross_entropy(outputs.joint.detach() + scaled - scaled.detach(), labels)
