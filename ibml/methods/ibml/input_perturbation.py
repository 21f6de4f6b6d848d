"""How TCM makes a leading modality's task harder: what happens to the input of the samples that are drawn.

- `noise` (Qin et al. 2026): x + one tensor of a single sample's shape, N(0, sigma^2), shared by all drawn samples;
  sigma = noise_scale * std of the batch tensor (n - 1 in its denominator, as torch.std has it). Of texts the tensor is
  as long as the longest, and sigma is taken over as many steps as the shortest has.
- `feature_dropout`: each value is 0 with probability `strength`, else divided by 1 - strength (Srivastava et al. 2014).
- `modality_dropout`: 0 (Neverova et al. 2016).
- `mixup`: (1 - strength) x + strength x_j, j another sample of the batch of the same class, drawn uniformly for each
  modality, the sample itself where there is none (after Zhang et al. 2018); of texts over the steps that both have.

Texts are changed on their word vectors, and keep their lengths. Token ids without vectors are refused by every kind,
by modality_dropout too: id 0 is an unknown word, which an encoder reads as something.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.inputs import Input, Sequences
from ibml.methods.ibml.config import TCMConfig


class InputPerturbation:
    """Changes the drawn samples of a modality's input, with a generator that is seeded for each epoch."""

    def __init__(self, options: TCMConfig, generator: torch.Generator):
        self.options, self.generator = options, generator

    def apply(self, values: Input, drawn: Tensor, labels: Tensor) -> Input:
        """Values (n, ...) with those of the samples in `drawn`, (n,), changed. Token ids cannot be."""
        partners = self._draw_partners(labels) if self.options.kind == "mixup" else labels
        if not isinstance(values, Sequences):
            return self._perturb_tensor(values, values, drawn, partners)
        measured = values.values
        if self.options.kind == "noise":
            measured = measured[:, : int(values.lengths.min())]
        elif self.options.kind == "mixup":
            valid = values.valid()
            drawn = valid & valid[partners] & drawn[:, None]
        return values.map(lambda vectors: self._perturb_tensor(vectors, measured, drawn, partners))

    def _perturb_tensor(
        self, values: Tensor, measured: Tensor, drawn: Tensor, partners: Tensor
    ) -> Tensor:
        mask = drawn.view(*drawn.shape, *[1] * (values.dim() - drawn.dim()))
        if self.options.kind == "noise":
            return torch.addcmul(
                values, mask * self._compute_deviation(measured), self._draw_noise(values)
            )
        return torch.where(mask, self._transform_values(values, partners), values)

    def _compute_deviation(self, values: Tensor) -> Tensor:
        """sigma, (), 0 for a single number; word vectors may be learned, but not by making the noise smaller."""
        return values.detach().std().nan_to_num(nan=0.0) * self.options.noise_scale

    def _draw_noise(self, like: Tensor) -> Tensor:
        shape, generator = like.shape[1:], self.generator
        return torch.randn(shape, generator=generator, device=like.device, dtype=like.dtype)

    def _transform_values(self, values: Tensor, partners: Tensor) -> Tensor:
        strength = self.options.strength
        match self.options.kind:
            case "feature_dropout":
                stays = (
                    torch.rand(values.shape, generator=self.generator, device=values.device)
                    >= strength
                )
                return values * stays / (1 - strength)
            case "modality_dropout":
                return torch.zeros_like(values)
            case _:
                return (1 - strength) * values + strength * values[partners]

    def _draw_partners(self, labels: Tensor) -> Tensor:
        """For each sample another of its class, or itself, (n,)."""
        count = len(labels)
        places = torch.arange(count, device=labels.device)
        usable = (labels[:, None] == labels) & (places[:, None] != places)
        draws = torch.rand(count, count, generator=self.generator, device=labels.device)
        return torch.where(usable.any(1), torch.where(usable, draws, -1.0).argmax(1), places)
