"""What every training method shares: the step, and the memory behind the rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from ibml.config.base import Config
from ibml.config.trial import TrialConfig
from ibml.inputs import Input
from ibml.methods.precision import Precision
from ibml.models.multimodal import MultimodalModel

Inputs = Mapping[str, Input]


@dataclass(frozen=True)
class Batch:
    """n training samples: positions in the training set, inputs per modality (n, ...), labels (n,)."""

    index: Tensor
    inputs: Inputs
    labels: Tensor


@dataclass(frozen=True)
class StepLog:
    """What a step measured, all on the device: reading it would wait for the device.

    `loss` is the optimised loss; `correct` counts right answers, joint first, then per modality (1 + M,);
    `rates` is rho, (M,); `noised` counts the samples whose input was changed, (M,).
    """

    loss: Tensor
    correct: Tensor
    rates: Tensor
    noised: Tensor


@dataclass(frozen=True)
class Outputs:
    """A forward pass: joint logits (n, C), unimodal logits (M, n, C), and log p_m[i, y_i], (M, n)."""

    joint: Tensor
    unimodal: Tensor
    log_probability: Tensor


class Memory:
    """What the last visit to each training sample gave, per modality: the probability of its label, and
    whether it was right. Before the first visit: 1 and True. Shapes (M, N)."""

    def __init__(self, modalities: int, samples: int, device: torch.device, dtype: torch.dtype):
        self.probability = torch.ones(modalities, samples, device=device, dtype=dtype)
        self.correct = torch.ones(modalities, samples, device=device, dtype=torch.bool)

    def write(self, index: Tensor, probability: Tensor, correct: Tensor) -> None:
        self.probability[:, index] = probability
        self.correct[:, index] = correct

    def state_dict(self) -> dict[str, Tensor]:
        return {"probability": self.probability, "correct": self.correct}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        self.probability.copy_(state["probability"])
        self.correct.copy_(state["correct"])


def rates(scores: Tensor) -> Tensor:
    """rho_m = M s_m / (s_1 + ... + s_M), shape (M,), mean 1; all 1 where the sum is 0 (Qin et al. 2026).

    `scores` is s, shape (M,): each modality's probability of the labels, summed over the batch.
    """
    total = scores.sum()
    return torch.where(total > 0, len(scores) * scores / total, torch.ones_like(scores))


def label_log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """log softmax(logits)[i, labels[i]] for each modality and sample: (M, n, C) -> (M, n)."""
    return logits.log_softmax(2).gather(2, labels.expand(len(logits), -1)[..., None]).squeeze(2)


class Method:
    """Plain joint training; a method overrides what it does differently.

    `step` is forward, loss and backward for one batch. The trainer zeroes gradients before and updates
    the weights after it. `options` are the method's own part of the trial's configuration.
    """

    def __init__(self, trial: TrialConfig, options: Config, model: MultimodalModel, samples: int, precision: Precision):
        parameter = next(model.parameters())
        self.model = model
        self.options: Any = options
        self.seed, self.epochs = trial.seed, trial.trainer.epochs
        self.precision = precision
        self.memory = Memory(len(model.modalities), samples, parameter.device, parameter.dtype)

    def state_dict(self) -> dict[str, Any]:
        """All that outlives an epoch."""
        return self.memory.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.memory.load_state_dict(state)

    def start_epoch(self, epoch: int) -> None:
        """Called before the first step of an epoch."""

    def transform(self, batch: Batch, rho: Tensor, epoch: int) -> tuple[Inputs, Tensor]:
        """The inputs of the forward pass, and how many samples were changed per modality, (M,). Of a text the batch
        has word vectors, unless its encoder has none."""
        return batch.inputs, torch.zeros_like(rho)

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        """The loss to optimise."""
        return F.cross_entropy(outputs.joint, labels)

    def step(self, batch: Batch, epoch: int) -> StepLog:
        """One training step without the update; writes the memory from this step's outputs."""
        rho = rates(self.memory.probability[:, batch.index].sum(1))
        vectors = replace(batch, inputs=self.model.embedded(batch.inputs))
        inputs, noised = self.transform(vectors, rho, epoch)
        with self.precision.autocast:
            joint, unimodal = map(_full, self.model(inputs))
        outputs = Outputs(joint, unimodal, label_log_probability(unimodal, batch.labels))
        loss = self.loss(outputs, batch.labels, rho, epoch)
        self.precision.backward(loss)
        correct = unimodal.argmax(2) == batch.labels
        self.memory.write(batch.index, outputs.log_probability.detach().exp(), correct)
        right = torch.cat([(joint.argmax(1) == batch.labels)[None], correct]).sum(1)
        return StepLog(loss.detach(), right, rho, noised)


def _full(logits: Tensor) -> Tensor:
    """Logits of an autocast forward in single precision, in which losses are taken."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
