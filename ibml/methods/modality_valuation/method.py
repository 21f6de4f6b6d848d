"""Modality valuation: samples are seen again with what they lack.

Wei, Feng, Wang, Hu, "Enhancing Multimodal Cooperation via Sample-level Modality Valuation", CVPR 2024. From `warmup`
epochs on, before each epoch and in evaluation mode, every training sample i is valued: with v(S) = |S| [the argmax of
the logits with the features outside S zero is y] and v(none) = 0, phi_m[i] is its Shapley value.

- `level: sample`: for each sample and modality copies are added in which only modality m is kept, the features of the
  others being zero: 1 if 0.4 < phi < 1, 2 if -0.1 < phi <= 0.4, 3 if phi <= -0.1.
- `level: modality`: gap_m = 1 - mean phi_m over a `part` of the samples; floor((largest - smallest gap) 2/3 alpha N) of
  the N samples, drawn with replacement, are added with the modality of the largest gap alone.

The longer epoch is shuffled as a whole, and `samples.total` counts it. The memory keeps the last visit with all
modalities.

Hyperparameters: level, warmup, alpha, part, window. Cost: that of joint training for each visit, and before each
epoch a forward pass over the training set with 2^M - 1 passes through the fusion.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.common.rng import stream_seed
from ibml.methods.base import Batch, Inputs, Method, Outputs, StepLog, StepStatistics
from ibml.methods.modality_valuation.config import ModalityValuationConfig
from ibml.statistics.coalitions import members, shapley_weights
from ibml.training.forward_passes import features

WHOLE = -1
"""What is kept of a visit that is no copy."""
DIGITS = 6
"""The last digits of thirds and sixths must not decide on which side of a threshold a value is."""


def compute_valuations(correct: Tensor) -> Tensor:
    """phi, (M, n), from whether each subset of the modalities is right, (2^M, n), subsets as in `members`."""
    modalities = (len(correct) - 1).bit_length()
    sizes = torch.tensor(members(modalities), device=correct.device, dtype=torch.float64).sum(1)
    weights = torch.tensor(shapley_weights(modalities), device=correct.device, dtype=torch.float64)
    phi: Tensor = weights @ (sizes[:, None] * correct.double())
    return phi


def count_copies(phi: Tensor) -> Tensor:
    """How many copies each sample gets with each modality alone, of the shape of phi."""
    phi = phi.round(decimals=DIGITS)
    return (phi < 1).long() + (phi <= 0.4).long() + (phi <= -0.1).long()


def compute_added_share(mean_phi: Tensor, alpha: float) -> tuple[float, int]:
    """How many samples are added, by those that there are, and the modality that they keep; from mean phi, (M,)."""
    gaps = 1 - mean_phi
    return float((gaps.max() - gaps.min()) * 2 / 3 * alpha), int(gaps.argmax())


def count_added_samples(share: float, samples: int) -> int:
    """floor(share samples), where a product that is a whole number counts as that number."""
    return math.floor(round(share * samples, DIGITS))


class ModalityValuation(Method):
    """Samples are repeated with the modality alone that contributes too little to them."""

    options: ModalityValuationConfig
    _order: Tensor
    _kept: Iterator[Tensor] | None
    _visit: Tensor | None
    """What the samples of the batch keep, where some of the epoch are copies."""

    def uses_unimodal(self, epoch: int) -> bool:
        return False

    def start_epoch(self, epoch: int) -> None:
        super().start_epoch(epoch)
        order, kept = super().order(epoch), None
        if self.active(epoch) and epoch - self.window[0] >= self.options.warmup:
            order, kept = self._plan_visits(epoch)
        self._order = order
        device, size = self.memory.probability.device, self.trial.trainer.batch_size
        self._kept = None if kept is None else iter(kept.to(device).split(size))

    def order(self, epoch: int) -> Tensor:
        return self._order

    def _plan_visits(self, epoch: int) -> tuple[Tensor, Tensor]:
        """The positions of an epoch's visits, and the modality that each keeps, or `WHOLE`."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "order", epoch, "copies"))
        added = (
            self._select_by_sample(epoch)
            if self.options.level == "sample"
            else self._select_by_modality(epoch, generator)
        )
        order = torch.cat([torch.arange(self.samples), *added])
        lengths = torch.tensor([self.samples, *map(len, added)])
        kept = torch.arange(WHOLE, len(added)).repeat_interleave(lengths)
        if not self.trial.trainer.shuffle:
            return order, kept
        shuffled = torch.randperm(len(order), generator=generator)
        return order[shuffled], kept[shuffled]

    def _select_by_sample(self, epoch: int) -> list[Tensor]:
        """By modality, the positions of the copies that keep it."""
        positions = torch.arange(self.samples)
        return [
            positions.repeat_interleave(number)
            for number in count_copies(self._evaluate_samples(positions, epoch))
        ]

    def _select_by_modality(self, epoch: int, generator: torch.Generator) -> list[Tensor]:
        size = max(1, round(self.options.part * self.samples))
        part = torch.randperm(self.samples, generator=generator)[:size]
        share, weakest = compute_added_share(
            self._evaluate_samples(part, epoch).mean(1), self.options.alpha
        )
        drawn = torch.randint(
            self.samples, (count_added_samples(share, self.samples),), generator=generator
        )
        return [drawn if m == weakest else drawn[:0] for m in range(len(self.model.modalities))]

    def _evaluate_samples(self, positions: Tensor, epoch: int) -> Tensor:
        """phi of training samples, (M, n), on the CPU."""
        batches = positions.split(self.trial.trainer.eval_batch_size)
        subsets = torch.tensor(
            members(len(self.model.modalities))[1:], device=self.memory.probability.device
        )
        right = []
        for _, z, labels in features(
            self.model, self.training.train, batches, self.precision, "valued", epoch
        ):
            with torch.no_grad():
                right.append(self.model.fusion.subset_logits(z, subsets).argmax(2) == labels)
        none = torch.zeros(1, len(positions), dtype=torch.bool)
        return compute_valuations(torch.cat([none, torch.cat(right, 1).cpu()]))

    def step(self, batch: Batch, epoch: int) -> StepLog:
        self._visit = None if self._kept is None else next(self._kept)
        log = super().step(batch, epoch)
        if self._visit is None:
            return log
        return replace(log, index=torch.where(self._visit == WHOLE, batch.index, self.samples))

    def forward(self, inputs: Inputs, labels: Tensor, epoch: int) -> Outputs:
        if self._visit is None:
            return super().forward(inputs, labels, epoch)
        with self.precision.autocast:
            z = self.encode(inputs)
            z = [part * self._mark_present(m).to(part.dtype)[:, None] for m, part in enumerate(z)]
        return self.fused(z, labels, epoch)

    def _mark_present(self, position: int) -> Tensor:
        """Of which of the batch's samples a modality is there, (n,)."""
        assert self._visit is not None
        present: Tensor = (self._visit == WHOLE) | (self._visit == position)
        return present

    def observe(self, logs: Sequence[StepLog]) -> StepStatistics:
        if self._kept is None:
            return super().observe(logs)
        # copies write to a place of their own, which is dropped: their sample may be in the batch too
        memory = self.memory
        probability, correct = memory.probability, memory.correct
        memory.probability, memory.correct = F.pad(probability, (0, 1)), F.pad(correct, (0, 1))
        observed = super().observe(logs)
        probability.copy_(memory.probability[:, :-1])
        correct.copy_(memory.correct[:, :-1])
        memory.probability, memory.correct = probability, correct
        return observed
