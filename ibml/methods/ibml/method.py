"""IBML: BIO and TCM.

Qin, Feng, Sun, Peng, Peng, Hu, "Deep Information-Balanced Multimodal Learning", IEEE TPAMI 2026,
doi 10.1109/tpami.2026.3681770. In the window, with rates rho from the memory (one epoch old):

- TCM: for each leading modality, rho_m > 1, every sample that the memory calls correct is drawn
  with probability rate * ramp(t) * clip(rho_m, 0, e) / e, e = 10. The input of a drawn sample gets
  noise; see `ibml.methods.ibml.input_perturbation`.
- BIO: L = CE(o, y) + weight * ramp(t) * sum over lagging modalities, rho_m < 1, of CE(o_m, y).

Variants beyond the paper; each is a switch whose default is the paper's:

- `bio.rule: lag`: the weight of a lagging modality is weight * ramp(t) * (1 - rho_m).
- `tcm.kind`: `feature_dropout`, `modality_dropout` or `mixup` within the class instead of noise, on
  the same samples.
- `rates.smoothing` b: BIO and TCM use r <- b r + (1 - b) rho, an average over all steps, also those
  outside the window. It starts at the rho of the first step.
- `rates.per_class`: s_mc = sum of q_m[i] over the batch's samples of class c;
  rho_mc = M s_mc / sum_m s_mc, 1 if the sum is 0. A sample is drawn by the rate of its class. BIO
  adds weight * ramp(t) * mean over the batch of [rho_m,y_i < 1] CE_i(o_m, y_i), with `lag` times
  (1 - rho_m,y_i). With smoothing each class has an average, which is unchanged while batches lack
  the class.
- `rates.memory: step`: q and correctness are those of the current weights, before noise and in
  evaluation mode, instead of those of the last visit to each sample.

The logged rates are the plain rho_m, (M,), of the memory that is used.

Hyperparameters: bio.weight, bio.ramp, bio.rule, tcm.rate, tcm.noise_scale, tcm.ramp, tcm.kind,
tcm.strength, rates.smoothing, rates.per_class, rates.memory, window. Cost per step: that of joint
training, one reduction for BIO and one tensor per modality for TCM; `per_class` a product (M, n) x
(n, C); `memory: step` one more forward pass of the batch without gradient, also outside the window,
since the rates are logged there too. State: the memory, and the average with smoothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.common.errors import IbmlError
from ibml.config.trial import TrialConfig
from ibml.inputs import Input, Sequences
from ibml.methods.base import (
    Batch,
    Inputs,
    Method,
    Outputs,
    ensure_full_precision,
    label_log_probability,
    rates,
)
from ibml.methods.ibml.config import IBMLConfig
from ibml.methods.ibml.input_perturbation import InputPerturbation
from ibml.models.multimodal import MultimodalModel
from ibml.training.precision import Precision

CLIP = 10.0
"""The paper's e."""


def compute_tcm_probability(rho: Tensor, rate: float) -> Tensor:
    """Compute the probability with which TCM draws a sample.

    Args:
        rho: Rates, of any shape.
        rate: Factor of the probability.

    Returns:
        rate * clip(rho, 0, e) / e for leading modalities, 0 for the others; of the shape of `rho`.
    """
    return F.threshold(rho.clamp_max(CLIP), 1, 0) * (rate / CLIP)


def compute_class_rates(probability: Tensor, labels: Tensor, classes: int) -> Tensor:
    """Compute the rates of each class.

    Args:
        probability: q, each modality's probability of the label, (M, n).
        labels: Class indices, (n,).
        classes: Number of classes, C.

    Returns:
        rho_mc, (M, C); NaN for classes that the batch lacks.
    """
    member = (labels[:, None] == torch.arange(classes, device=labels.device)).to(probability.dtype)
    return torch.where(member.sum(0) > 0, rates(probability @ member), torch.nan)


class IBML(Method):
    """Balance information by a loss for lagging modalities and noise for leading ones."""

    options: IBMLConfig

    def __init__(
        self,
        trial: TrialConfig,
        options: IBMLConfig,
        model: MultimodalModel,
        samples: int,
        precision: Precision,
    ):
        super().__init__(trial, options, model, samples, precision)
        self.perturbation = InputPerturbation(options.tcm, self.generator)
        shape: tuple[int, ...] = (len(model.modalities),)
        if options.rates.per_class:
            shape = (len(model.modalities), model.classes)
        like = self.memory.probability
        # r of smoothed rates; NaN before the first value
        self.average = torch.full(shape, torch.nan, device=like.device, dtype=like.dtype)
        self._batch_predictions: tuple[Tensor, Tensor] | None = None

    def state_dict(self) -> dict[str, Any]:
        """Return the memory, and the average with smoothing."""
        average = {"average": self.average} if self.options.rates.smoothing else {}
        return {**super().state_dict(), **average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the memory, and the average with smoothing."""
        super().load_state_dict(state)
        if self.options.rates.smoothing:
            self.average.copy_(state["average"])

    def compute_bio_weight(self, epoch: int) -> float:
        """Return the weight of BIO at an epoch; 0 outside the window."""
        return self.options.compute_bio_weight(self.epochs, epoch)

    def compute_tcm_rate(self, epoch: int) -> float:
        """Return the rate of TCM at an epoch; 0 outside the window."""
        return self.options.compute_tcm_rate(self.epochs, epoch)

    def uses_unimodal(self, epoch: int) -> bool:
        """Return true if BIO has a weight at this epoch."""
        return self.compute_bio_weight(epoch) > 0

    def rates(self, batch: Batch) -> Tensor:
        """Return rho, (M,), from the memory, or from a forward pass with `memory: step`."""
        if self.options.rates.memory == "epoch":
            return super().rates(batch)
        self._batch_predictions = self._predict_batch(batch)
        return rates(self._batch_predictions[0].sum(1))

    def _predict_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Return q and correctness by the current weights, (M, n) each."""
        training = self.model.training
        self.model.eval()
        with torch.no_grad(), self.precision.autocast:
            features = self.model.features(batch.inputs)
            unimodal = ensure_full_precision(self.model.fusion.unimodal_logits(features))
        self.model.train(training)
        probability = label_log_probability(unimodal, batch.labels).exp()
        return probability, unimodal.argmax(2) == batch.labels

    def acting_rates(self, rho: Tensor, batch: Batch) -> Tensor:
        """Return the smoothed rates, (M,), or those of each sample's class, (M, n)."""
        options = self.options.rates
        if options.per_class:
            if self._batch_predictions:
                probability = self._batch_predictions[0]
            else:
                probability = self.memory.probability[:, batch.index]
            rho = compute_class_rates(probability, batch.labels, self.model.classes)
        if options.smoothing:
            rho = self._update_average(rho)
        return rho[:, batch.labels] if options.per_class else rho

    def _update_average(self, rho: Tensor) -> Tensor:
        """Return the average after including rho, where rho has a value."""
        share = self.options.rates.smoothing
        mixed = share * self.average + (1 - share) * rho
        updated = torch.where(self.average.isnan(), rho, mixed)
        self.average = torch.where(rho.isnan(), self.average, updated)
        return self.average

    def transform(self, batch: Batch, rho: Tensor, epoch: int) -> tuple[Inputs, Tensor]:
        """Perturb the inputs of the samples that TCM draws."""
        rate = self.compute_tcm_rate(epoch)
        if rate == 0:
            return super().transform(batch, rho, epoch)
        drawn = self._draw_samples(batch, compute_tcm_probability(rho, rate))
        inputs: dict[str, Input] = {}
        for name, mask in zip(self.model.modalities, drawn, strict=True):
            values = batch.inputs[name]
            if isinstance(values, Sequences) and values.are_ids:
                raise IbmlError(
                    f"method.tcm: kind {self.options.tcm.kind!r} needs word vectors, but the "
                    f"encoder of modality {name!r} has none; choose another encoder or tcm.rate 0"
                )
            inputs[name] = self.perturbation.apply(values, mask, batch.labels)
        return inputs, drawn.sum(1)

    def _draw_samples(self, batch: Batch, probability: Tensor) -> Tensor:
        """Return a mask of the drawn samples, (M, n); the probability is (M,) or (M, n)."""
        shape = (len(probability), len(batch.labels))
        draws = torch.rand(shape, generator=self.generator, device=probability.device)
        if self._batch_predictions:
            correct = self._batch_predictions[1]
        else:
            correct = self.memory.correct[:, batch.index]
        if probability.dim() == 1:
            probability = probability[:, None]
        return (draws < probability) & correct

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        """Return the joint loss plus the BIO losses of lagging modalities."""
        loss = super().loss(outputs, labels, rho, epoch)
        weight = self.compute_bio_weight(epoch)
        if weight == 0:
            return loss
        weights = weight * (rho < 1).to(rho.dtype)
        if self.options.bio.rule == "lag":
            weights = weights * (1 - rho)
        if rho.dim() == 2:
            return loss - (weights * outputs.log_probability).mean(1).sum()
        return loss - weights @ outputs.log_probability.mean(1)
