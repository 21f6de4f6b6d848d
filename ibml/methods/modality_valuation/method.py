"""Modality valuation: samples are repeated with the modality that contributes too little.

Wei, Feng, Wang, Hu, "Enhancing Multimodal Cooperation via Sample-level Modality Valuation", CVPR
2024. After `warmup` epochs, every training sample i is valued before each epoch, in evaluation
mode. Let v(S) = |S| [the argmax of the logits with the features outside S set to zero is y],
v(empty set) = 0. phi_m[i] is the Shapley value of v.

- `level: sample`: copies with only modality m (the features of the others are zero) are added for
  each sample and modality: 1 if 0.4 < phi < 1, 2 if -0.1 < phi <= 0.4, 3 if phi <= -0.1.
- `level: modality`: gap_m = 1 - mean phi_m over a `part` of the samples. floor((largest - smallest
  gap) 2/3 alpha N) of the N samples, drawn with replacement, are added with only the modality of
  the largest gap.

The longer epoch is shuffled as a whole, and `samples.total` counts it. The memory keeps the last
visit with all modalities.

Hyperparameters: level, warmup, alpha, part, window. Cost: that of joint training for each visit,
and before each epoch a forward pass over the training set with 2^M - 1 passes through the fusion.
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
from ibml.statistics.coalitions import enumerate_subsets, shapley_weights
from ibml.training.forward_passes import iterate_features

WHOLE = -1
"""Marks a visit with all modalities; other visits have the position of the one they keep."""
DIGITS = 6
"""Number of decimals that are compared with thresholds; later ones are rounding errors."""


def compute_valuations(correct: Tensor) -> Tensor:
    """Compute the Shapley values phi of samples.

    Args:
        correct: True if the prediction from a subset of the modalities is correct, (2^M, n). The
            order of the subsets is that of `ibml.statistics.coalitions.enumerate_subsets`.

    Returns:
        phi, (M, n), in double precision.
    """
    modalities = (len(correct) - 1).bit_length()
    sizes = torch.tensor(
        enumerate_subsets(modalities), device=correct.device, dtype=torch.float64
    ).sum(1)
    weights = torch.tensor(shapley_weights(modalities), device=correct.device, dtype=torch.float64)
    phi: Tensor = weights @ (sizes[:, None] * correct.double())
    return phi


def count_copies(phi: Tensor) -> Tensor:
    """Return the number of copies of each sample with one modality, of the shape of phi."""
    phi = phi.round(decimals=DIGITS)
    return (phi < 1).long() + (phi <= 0.4).long() + (phi <= -0.1).long()


def compute_added_share(mean_phi: Tensor, alpha: float) -> tuple[float, int]:
    """Compute the samples to add at level `modality`.

    Args:
        mean_phi: Mean of phi over samples, (M,).
        alpha: Factor of the number of added samples.

    Returns:
        Number of added samples divided by N, and the position of the modality that they keep.
    """
    gaps = 1 - mean_phi
    return float((gaps.max() - gaps.min()) * 2 / 3 * alpha), int(gaps.argmax())


def count_added_samples(share: float, samples: int) -> int:
    """Return floor(share * samples), robust to rounding errors of the product."""
    return math.floor(round(share * samples, DIGITS))


class ModalityValuation(Method):
    """Repeat samples with only the modality that contributes too little to them."""

    options: ModalityValuationConfig
    _order: Tensor
    _kept: Iterator[Tensor] | None
    """Batches of `_visit` of the current epoch; None if it has no copies."""
    _visit: Tensor | None
    """Position of the modality that each sample of the batch keeps, or `WHOLE`, (n,)."""

    def uses_unimodal(self, epoch: int) -> bool:
        """Return false: the loss has no gradient with respect to the unimodal logits."""
        return False

    def start_epoch(self, epoch: int) -> None:
        """Value the samples after the warmup and plan the visits of the epoch."""
        super().start_epoch(epoch)
        order = super().order(epoch)
        kept = None
        if self.active(epoch) and epoch - self.window[0] >= self.options.warmup:
            order, kept = self._plan_visits(epoch)
        self._order = order
        self._kept = None
        if kept is not None:
            kept = kept.to(self.memory.probability.device)
            self._kept = iter(kept.split(self.trial.trainer.batch_size))

    def order(self, epoch: int) -> Tensor:
        """Return the positions of all visits of the epoch, copies included."""
        return self._order

    def _plan_visits(self, epoch: int) -> tuple[Tensor, Tensor]:
        """Return the positions of an epoch's visits, and what each keeps (see `_visit`)."""
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "order", epoch, "copies"))
        if self.options.level == "sample":
            added = self._select_by_sample(epoch)
        else:
            added = self._select_by_modality(epoch, generator)
        order = torch.cat([torch.arange(self.samples), *added])
        lengths = torch.tensor([self.samples, *map(len, added)])
        kept = torch.arange(WHOLE, len(added)).repeat_interleave(lengths)
        if not self.trial.trainer.shuffle:
            return order, kept
        shuffled = torch.randperm(len(order), generator=generator)
        return order[shuffled], kept[shuffled]

    def _select_by_sample(self, epoch: int) -> list[Tensor]:
        """Return the positions of the copies that keep each modality, one tensor per modality."""
        positions = torch.arange(self.samples)
        counts = count_copies(self._evaluate_samples(positions, epoch))
        return [positions.repeat_interleave(count) for count in counts]

    def _select_by_modality(self, epoch: int, generator: torch.Generator) -> list[Tensor]:
        """Return the positions of the copies; those of all but one modality are empty."""
        size = max(1, round(self.options.part * self.samples))
        part = torch.randperm(self.samples, generator=generator)[:size]
        mean_phi = self._evaluate_samples(part, epoch).mean(1)
        share, weakest = compute_added_share(mean_phi, self.options.alpha)
        count = count_added_samples(share, self.samples)
        drawn = torch.randint(self.samples, (count,), generator=generator)
        return [drawn if m == weakest else drawn[:0] for m in range(len(self.model.modalities))]

    def _evaluate_samples(self, positions: Tensor, epoch: int) -> Tensor:
        """Return phi of training samples, (M, n), on the CPU."""
        batches = positions.split(self.trial.trainer.eval_batch_size)
        nonempty = enumerate_subsets(len(self.model.modalities))[1:]
        subsets = torch.tensor(nonempty, device=self.memory.probability.device)
        passes = iterate_features(
            self.model, self.training.train, batches, self.precision, "valued", epoch
        )
        correct = []
        for _, z, labels in passes:
            with torch.no_grad():
                correct.append(self.model.fusion.subset_logits(z, subsets).argmax(2) == labels)
        empty = torch.zeros(1, len(positions), dtype=torch.bool)
        return compute_valuations(torch.cat([empty, torch.cat(correct, 1).cpu()]))

    def step(self, batch: Batch, epoch: int) -> StepLog:
        """Run one training step; copies get a position past the end of the training set."""
        self._visit = None if self._kept is None else next(self._kept)
        log = super().step(batch, epoch)
        if self._visit is None:
            return log
        return replace(log, index=torch.where(self._visit == WHOLE, batch.index, self.samples))

    def forward(self, inputs: Inputs, labels: Tensor, epoch: int) -> Outputs:
        """Run one forward pass; copies have zero features of all modalities but one."""
        if self._visit is None:
            return super().forward(inputs, labels, epoch)
        with self.precision.autocast:
            z = self.encode(inputs)
            z = [part * self._mark_present(m).to(part.dtype)[:, None] for m, part in enumerate(z)]
        return self.fused(z, labels, epoch)

    def _mark_present(self, position: int) -> Tensor:
        """Return true for the samples of the batch that have a modality, (n,)."""
        assert self._visit is not None
        present: Tensor = (self._visit == WHOLE) | (self._visit == position)
        return present

    def observe(self, logs: Sequence[StepLog]) -> StepStatistics:
        """Write the memory of visits with all modalities and measure the steps."""
        if self._kept is None:
            return super().observe(logs)
        # Copies write to an additional column, which is dropped: their sample may be in the batch.
        memory = self.memory
        probability = memory.probability
        correct = memory.correct
        memory.probability = F.pad(probability, (0, 1))
        memory.correct = F.pad(correct, (0, 1))
        statistics = super().observe(logs)
        probability.copy_(memory.probability[:, :-1])
        correct.copy_(memory.correct[:, :-1])
        memory.probability = probability
        memory.correct = correct
        return statistics
