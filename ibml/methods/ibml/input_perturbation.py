"""Input perturbations of TCM, which make the task of a leading modality harder.

- `noise` (Qin et al. 2026): x + one tensor of the shape of a single sample, N(0, sigma^2), shared
  by all drawn samples. sigma = noise_scale * std of the batch tensor (divisor n - 1, as in
  torch.std). For texts the tensor has the length of the longest text, and sigma covers as many
  steps as the shortest text has.
- `feature_dropout`: each value is 0 with probability `strength`, and otherwise divided by
  1 - strength (Srivastava et al. 2014).
- `modality_dropout`: 0 (Neverova et al. 2016).
- `mixup`: (1 - strength) x + strength x_j (after Zhang et al. 2018). x_j is another sample of the
  same class in the batch, drawn uniformly for each modality, or the sample itself if there is no
  other. For texts, over the steps that both have.

Texts are perturbed on their word vectors and keep their lengths. No kind accepts token ids without
vectors. This includes modality_dropout: id 0 is the unknown word, which has a meaning to an
encoder.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ibml.inputs import Input, Sequences
from ibml.methods.ibml.config import TCMConfig


class InputPerturbation:
    """Perturbation of the drawn samples of a modality's input.

    Args:
        options: Configuration of TCM.
        generator: Generator of random numbers, seeded by its owner at each epoch.
    """

    def __init__(self, options: TCMConfig, generator: torch.Generator):
        self.options = options
        self.generator = generator

    def apply(self, values: Input, drawn: Tensor, labels: Tensor) -> Input:
        """Perturb the drawn samples.

        Args:
            values: Inputs of one modality, (n, ...); no token ids.
            drawn: True for the samples to perturb, (n,).
            labels: Class indices, (n,).

        Returns:
            New inputs of the same shape.
        """
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
            scale = mask * self._compute_deviation(measured)
            return torch.addcmul(values, scale, self._draw_noise(values))
        return torch.where(mask, self._transform_values(values, partners), values)

    def _compute_deviation(self, values: Tensor) -> Tensor:
        """Return sigma, a scalar; 0 for a single number.

        The values are detached: learned word vectors must not reduce the noise.
        """
        return values.detach().std().nan_to_num(nan=0.0) * self.options.noise_scale

    def _draw_noise(self, like: Tensor) -> Tensor:
        shape = like.shape[1:]
        return torch.randn(shape, generator=self.generator, device=like.device, dtype=like.dtype)

    def _transform_values(self, values: Tensor, partners: Tensor) -> Tensor:
        strength = self.options.strength
        match self.options.kind:
            case "feature_dropout":
                draws = torch.rand(values.shape, generator=self.generator, device=values.device)
                return values * (draws >= strength) / (1 - strength)
            case "modality_dropout":
                return torch.zeros_like(values)
            case _:
                return (1 - strength) * values + strength * values[partners]

    def _draw_partners(self, labels: Tensor) -> Tensor:
        """Return the position of another sample of the class, or of the sample itself, (n,)."""
        count = len(labels)
        positions = torch.arange(count, device=labels.device)
        usable = (labels[:, None] == labels) & (positions[:, None] != positions)
        draws = torch.rand(count, count, generator=self.generator, device=labels.device)
        partners = torch.where(usable, draws, -1.0).argmax(1)
        return torch.where(usable.any(1), partners, positions)
