"""IBML: BIO and TCM.

Qin, Feng, Sun, Peng, Peng, Hu, "Deep Information-Balanced Multimodal Learning", IEEE TPAMI 2026,
doi 10.1109/tpami.2026.3681770. Inside the window, with rates rho from the memory (one epoch old):

- TCM: for each leading modality, rho_m > 1, each sample that the memory calls correct is drawn with
  probability rate * ramp(t) * clip(rho_m, 0, e) / e, e = 10, and its input gets noise; see
  `ibml.methods.ibml.input_perturbation`.
- BIO: L = CE(o, y) + weight * ramp(t) * sum over lagging modalities, rho_m < 1, of CE(o_m, y).

Beyond the paper, each a switch whose default is the paper's:

- `bio.rule: lag`: the weight of a lagging modality is weight * ramp(t) * (1 - rho_m).
- `tcm.kind`: `feature_dropout`, `modality_dropout` or `mixup` within the class in place of noise, on the same samples.
- `rates.smoothing` b: both act by r <- b r + (1 - b) rho, an average over steps, inside the window and outside, that
  starts at the first step's rho.
- `rates.per_class`: s_mc = sum of q_m[i] over the batch's samples of class c; rho_mc = M s_mc / sum_m s_mc, 1 where the
  sum is 0. A sample is drawn by the rate of its class, and BIO adds weight * ramp(t) * mean over the batch of
  [rho_m,y_i < 1] CE_i(o_m, y_i), with `lag` times (1 - rho_m,y_i). With smoothing every class has an average, which
  stays as it is while batches lack the class.
- `rates.memory: step`: q and correct are those of this step's weights, before noise and in evaluation mode, instead of
  those of the last visit to each sample.

The rates that are logged are the plain rho_m, (M,), of the memory used.

Hyperparameters: bio.weight, bio.ramp, bio.rule, tcm.rate, tcm.noise_scale, tcm.ramp, tcm.kind, tcm.strength,
rates.smoothing, rates.per_class, rates.memory, window. Cost of a step: that of joint training, one reduction for BIO
and one tensor per modality for TCM; `per_class` a product (M, n) x (n, C); `memory: step` one more forward pass of the
batch without gradient, outside the window too, since the rates are logged there as well. State: the memory, and the
average where there is smoothing.
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
from ibml.methods.base import Batch, Inputs, Method, Outputs, full, label_log_probability, rates
from ibml.methods.ibml.config import IBMLConfig
from ibml.methods.ibml.input_perturbation import InputPerturbation
from ibml.models.multimodal import MultimodalModel
from ibml.training.precision import Precision

CLIP = 10.0
"""The paper's e."""


def compute_tcm_probability(rho: Tensor, rate: float) -> Tensor:
    """rate * clip(rho, 0, e) / e for leading modalities, 0 for the others; of the shape of rho."""
    return F.threshold(rho.clamp_max(CLIP), 1, 0) * (rate / CLIP)


def compute_class_rates(probability: Tensor, labels: Tensor, classes: int) -> Tensor:
    """rho_mc, (M, C), from q, (M, n), and labels, (n,); no number for classes that the batch lacks."""
    member = (labels[:, None] == torch.arange(classes, device=labels.device)).to(probability.dtype)
    return torch.where(member.sum(0) > 0, rates(probability @ member), torch.nan)


class IBML(Method):
    """Balance information by an extra loss for lagging modalities and noise for leading ones."""

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
        shape = (
            (len(model.modalities), model.classes)
            if options.rates.per_class
            else (len(model.modalities),)
        )
        like = self.memory.probability
        self.average = torch.full(shape, torch.nan, device=like.device, dtype=like.dtype)
        """r, where rates are smoothed; no number where there was none yet."""
        self._batch_predictions: tuple[Tensor, Tensor] | None = None

    def state_dict(self) -> dict[str, Any]:
        average = {"average": self.average} if self.options.rates.smoothing else {}
        return {**super().state_dict(), **average}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        super().load_state_dict(state)
        if self.options.rates.smoothing:
            self.average.copy_(state["average"])

    def compute_bio_weight(self, epoch: int) -> float:
        """The BIO weight at an epoch, a pure function of it; 0 outside the window."""
        return self.options.compute_bio_weight(self.epochs, epoch)

    def compute_tcm_rate(self, epoch: int) -> float:
        """The TCM rate at an epoch, a pure function of it; 0 outside the window."""
        return self.options.compute_tcm_rate(self.epochs, epoch)

    def uses_unimodal(self, epoch: int) -> bool:
        return self.compute_bio_weight(epoch) > 0

    def rates(self, batch: Batch) -> Tensor:
        if self.options.rates.memory == "epoch":
            return super().rates(batch)
        self._batch_predictions = self._predict_batch(batch)
        return rates(self._batch_predictions[0].sum(1))

    def _predict_batch(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """q and whether it is right, (M, n) each, by the weights as they are."""
        training = self.model.training
        self.model.eval()
        with torch.no_grad(), self.precision.autocast:
            unimodal = full(self.model.fusion.unimodal_logits(self.model.features(batch.inputs)))
        self.model.train(training)
        return label_log_probability(unimodal, batch.labels).exp(), unimodal.argmax(
            2
        ) == batch.labels

    def acting_rates(self, rho: Tensor, batch: Batch) -> Tensor:
        options = self.options.rates
        if options.per_class:
            remembered = (
                self._batch_predictions[0]
                if self._batch_predictions
                else self.memory.probability[:, batch.index]
            )
            rho = compute_class_rates(remembered, batch.labels, self.model.classes)
        if options.smoothing:
            mixed = options.smoothing * self.average + (1 - options.smoothing) * rho
            self.average = torch.where(
                rho.isnan(), self.average, torch.where(self.average.isnan(), rho, mixed)
            )
            rho = self.average
        return rho[:, batch.labels] if options.per_class else rho

    def transform(self, batch: Batch, rho: Tensor, epoch: int) -> tuple[Inputs, Tensor]:
        rate = self.compute_tcm_rate(epoch)
        if rate == 0:
            return super().transform(batch, rho, epoch)
        probability = compute_tcm_probability(rho, rate)
        draws = torch.rand(len(rho), len(batch.labels), generator=self.generator, device=rho.device)
        correct = (
            self._batch_predictions[1]
            if self._batch_predictions
            else self.memory.correct[:, batch.index]
        )
        drawn = (
            draws < (probability if probability.dim() == 2 else probability[:, None])
        ) & correct
        inputs: dict[str, Input] = {}
        for name, mask in zip(self.model.modalities, drawn, strict=True):
            values = batch.inputs[name]
            if isinstance(values, Sequences) and values.are_ids:
                asked = f"there is no {self.options.tcm.kind} for token ids"
                raise IbmlError(f"method.tcm: {asked}, and the encoder of {name} has no vectors")
            inputs[name] = self.perturbation.apply(values, mask, batch.labels)
        return inputs, drawn.sum(1)

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
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
