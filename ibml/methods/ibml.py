"""IBML: BIO and TCM.

Qin, Feng, Sun, Peng, Peng, Hu, "Deep Information-Balanced Multimodal Learning", IEEE TPAMI 2026,
doi 10.1109/tpami.2026.3681770. Inside the window, with rates rho from the memory (one epoch old):

- TCM: for each leading modality, rho_m > 1, each sample that the memory calls correct is drawn with
  probability rate * ramp(t) * clip(rho_m, 0, e) / e, e = 10, and gets noise: one tensor of a single
  sample's shape, N(0, sigma^2), shared by all drawn samples; sigma = noise_scale * std of the batch
  tensor x_m (n - 1 in its denominator, as torch.std has it). Texts get it on their word vectors: the tensor is as
  long as the longest text, and sigma is taken over as many steps as the shortest one has.
- BIO: L = CE(o, y) + weight * ramp(t) * sum over lagging modalities, rho_m < 1, of CE(o_m, y).

Hyperparameters: bio.weight, bio.ramp, tcm.rate, tcm.noise_scale, tcm.ramp, window. Cost of a step: that of
joint training, one reduction for BIO and one noise tensor per modality for TCM.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.config.base import IbmlError
from ibml.config.methods import IBMLConfig
from ibml.config.schedule import ramp
from ibml.inputs import Input, Sequences
from ibml.methods.base import Batch, Inputs, Method, Outputs

CLIP = 10.0
"""The paper's e."""


def tcm_probability(rho: Tensor, rate: float) -> Tensor:
    """rate * clip(rho_m, 0, e) / e for leading modalities, 0 for the others; shape (M,)."""
    return torch.where(rho > 1, rate * rho.clamp(0, CLIP) / CLIP, torch.zeros_like(rho))


class IBML(Method):
    """Balance information by an extra loss for lagging modalities and noise for leading ones."""

    options: IBMLConfig

    def bio_weight(self, epoch: int) -> float:
        """The BIO weight at an epoch, a pure function of it; 0 outside the window."""
        return self.options.bio.weight * ramp(self.options.bio.ramp, self.window, epoch)

    def tcm_rate(self, epoch: int) -> float:
        """The TCM rate at an epoch, a pure function of it; 0 outside the window."""
        if not self.options.tcm.on:
            return 0.0
        return self.options.tcm.rate * ramp(self.options.tcm.ramp, self.window, epoch)

    def transform(self, batch: Batch, rho: Tensor, epoch: int) -> tuple[Inputs, Tensor]:
        rate = self.tcm_rate(epoch)
        if rate == 0:
            return super().transform(batch, rho, epoch)
        probability = tcm_probability(rho, rate)
        draws = torch.rand(len(rho), len(batch.labels), generator=self.generator, device=rho.device)
        drawn = (draws < probability[:, None]) & self.memory.correct[:, batch.index]
        inputs: dict[str, Input] = {}
        for name, mask in zip(self.model.modalities, drawn, strict=True):
            inputs[name] = self._noised(name, batch.inputs[name], mask)
        return inputs, drawn.sum(1)

    def _noised(self, name: str, values: Input, mask: Tensor) -> Input:
        """A modality's values with noise on the samples in the mask (n,)."""
        if not isinstance(values, Sequences):
            return self._sum_with_noise(values, values, mask)
        if values.are_ids:
            raise IbmlError(f"method.tcm: there is no noise for token ids, and the encoder of {name} has no vectors")
        shortest = int(values.lengths.min())
        return values.map(lambda vectors: self._sum_with_noise(vectors, vectors[:, :shortest], mask))

    def _sum_with_noise(self, values: Tensor, measured: Tensor, mask: Tensor) -> Tensor:
        """Values (n, ...) with one shared noise tensor, whose deviation is that of what is measured, added to the
        samples in the mask."""
        noise = torch.randn(values.shape[1:], generator=self.generator, device=values.device, dtype=values.dtype)
        # word vectors may be learned, but not by making the noise smaller
        noise = noise * (self.options.tcm.noise_scale * measured.detach().std())
        return torch.where(mask.view(-1, *[1] * (values.dim() - 1)), values + noise, values)

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        loss = super().loss(outputs, labels, rho, epoch)
        weight = self.bio_weight(epoch)
        if weight == 0:
            return loss
        cross_entropies = -outputs.log_probability.mean(1)
        return loss + weight * torch.where(rho < 1, cross_entropies, torch.zeros_like(cross_entropies)).sum()
