"""What every training method shares: the step, and the memory behind the rates."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.common.rng import stream_seed
from ibml.config.base import Config
from ibml.config.methods.base import Window
from ibml.config.trial import TrialConfig
from ibml.data.feeds import Feed
from ibml.inputs import Input
from ibml.models.multimodal import MultimodalModel
from ibml.training.precision import Precision

Inputs = Mapping[str, Input]


@dataclass(frozen=True)
class Batch:
    """n training samples: positions in the training set, inputs per modality (n, ...), labels (n,)."""

    index: Tensor
    inputs: Inputs
    labels: Tensor


@dataclass(frozen=True)
class StepLog:
    """What a step leaves, all on the device, since reading it would wait for the device.

    `index` and `labels`, (n,), are the batch's; `loss` is the optimised loss; `joint`, (n, C), and `unimodal`,
    (M, n, C), are the logits; `rates` is rho, (M,); `noised` counts the samples whose input was changed, (M,).
    """

    index: Tensor
    labels: Tensor
    loss: Tensor
    joint: Tensor
    unimodal: Tensor
    rates: Tensor
    noised: Tensor


@dataclass(frozen=True)
class StepStatistics:
    """What S steps measured: `loss`, (S,), `rates` and `noised`, (S, M); `correct` counts right answers, joint first,
    then per modality, (S, 1 + M); `scores` is s_m, each modality's probability of the labels, summed over the batch,
    (S, M)."""

    loss: Tensor
    correct: Tensor
    rates: Tensor
    noised: Tensor
    scores: Tensor


@dataclass(frozen=True)
class Outputs:
    """A forward pass: features z_1 .. z_M, (n, d_m), as autocast left them; joint logits (n, C), unimodal logits
    (M, n, C), which have a gradient where `Method.uses_unimodal` says so; labels (n,)."""

    features: list[Tensor]
    joint: Tensor
    unimodal: Tensor
    labels: Tensor

    @cached_property
    def log_probability(self) -> Tensor:
        """log p_m[i, y_i], (M, n)."""
        return label_log_probability(self.unimodal, self.labels)


class PredictionMemory:
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

    `scores` is s, shape (M,): each modality's probability of the labels, summed over the batch; or (M, C), summed over
    the samples of each class, for rates of that shape.
    """
    return (scores / scores.mean(0)).nan_to_num(nan=1.0)


def average_others(values: Tensor) -> Tensor:
    """For each of (M,) the mean of the other M - 1."""
    return (values.sum() - values) / max(len(values) - 1, 1)


def label_log_probability(logits: Tensor, labels: Tensor) -> Tensor:
    """log softmax(logits)[i, labels[i]] for each modality and sample: (M, n, C) -> (M, n)."""
    every = labels.expand(len(logits), -1).flatten()
    return -F.cross_entropy(logits.flatten(0, 1), every, reduction="none").view(len(logits), -1)


@dataclass(frozen=True)
class Training:
    """The training that a method belongs to: its splits and its optimizer, whose learning rate is the epoch's."""

    train: Feed
    val: Feed
    optimizer: torch.optim.Optimizer


class Method:
    """Plain joint training; a method overrides what it does differently.

    `update` is one training step, of which `step` is forward, loss and backward. `options` are the method's own part
    of the trial's configuration. `heads` are modules of the method's own beside the model, trained with it, which
    evaluation does not use.
    """

    def __init__(
        self,
        trial: TrialConfig,
        options: Config,
        model: MultimodalModel,
        samples: int,
        precision: Precision,
    ):
        parameter = next(model.parameters())
        self.model = model
        self.options: Any = options
        self.trial = trial
        self.seed, self.epochs = trial.seed, trial.trainer.epochs
        self.precision = precision
        self.samples = samples
        self.encode: Callable[[Inputs], list[Tensor]] = model.features
        """The pass of training through the encoders."""
        if trial.trainer.compile:
            self.encode = torch.compile(
                model.features, dynamic=False
            )  # by shapes, not by which ones came before
        self.heads = nn.ModuleList()
        self.memory = PredictionMemory(
            len(model.modalities), samples, parameter.device, parameter.dtype
        )
        self.generator = torch.Generator(device=parameter.device)
        self._no_changes = torch.zeros(
            len(model.modalities), device=parameter.device, dtype=torch.long
        )
        window = getattr(options, "window", None)
        self.window: tuple[int, int] = (
            window.epochs(self.epochs) if isinstance(window, Window) else (0, self.epochs)
        )
        self.training: Training
        self.extra_samples = 0
        """How many samples this epoch trained on beside those of its `order`."""

    def parameters(self) -> Iterator[nn.Parameter]:
        """All that the optimizer trains: the model's, then those of the method's own heads."""
        yield from self.model.parameters()
        yield from self.heads.parameters()

    def begin(self, training: Training) -> None:
        """Called once, before everything else."""
        self.training = training

    def state_dict(self) -> dict[str, Any]:
        """All that outlives an epoch."""
        heads = {"heads": self.heads.state_dict()} if len(self.heads) else {}
        return {**self.memory.state_dict(), **heads}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """A state from before the window may be another method's. What it lacks of a method's own stays as it is, which
        is how that begins in its window."""
        self.memory.load_state_dict(state)
        if "heads" in state and len(self.heads):
            self.heads.load_state_dict(state["heads"])

    def active(self, epoch: int) -> bool:
        """Whether the epoch is in the method's window; outside it training is plain joint."""
        return self.window[0] <= epoch < self.window[1]

    def uses_unimodal(self, epoch: int) -> bool:
        """Whether what is learnt in an epoch has a gradient by the unimodal logits. Where not, they are observed alone,
        which takes less, and the joint logits are made without them."""
        return self.active(epoch)

    def start_epoch(self, epoch: int) -> None:
        """Called before the first step of an epoch, with the model in training mode."""
        self.extra_samples = 0
        self.generator.manual_seed(stream_seed(self.seed, "noise", epoch))

    def order(self, epoch: int) -> Tensor:
        """The positions of an epoch's training samples, on the CPU, in the order in which they are visited."""
        return self.visiting(epoch)

    def visiting(self, *where: str | int) -> Tensor:
        """All positions once, shuffled if the trial says so by what the stream of orders has for `where`."""
        if not self.trial.trainer.shuffle:
            return torch.arange(self.samples)
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "order", *where))
        return torch.randperm(self.samples, generator=generator)

    def transform(self, batch: Batch, rho: Tensor, epoch: int) -> tuple[Inputs, Tensor]:
        """The inputs of the forward pass, and how many samples were changed per modality, (M,). Of a text the batch
        has word vectors, unless its encoder has none."""
        return batch.inputs, self._no_changes

    def forward(self, inputs: Inputs, labels: Tensor, epoch: int) -> Outputs:
        """One forward pass."""
        with self.precision.autocast:
            features = self.encode(inputs)
        return self.fused(features, labels, epoch)

    def fused(self, features: list[Tensor], labels: Tensor, epoch: int) -> Outputs:
        """What the model makes of features."""
        fusion = self.model.fusion
        with self.precision.autocast:
            if self.uses_unimodal(epoch):
                joint, unimodal = fusion.both(features)
            else:
                joint = fusion(features)
                with torch.no_grad():
                    unimodal = fusion.unimodal_logits(features)
        return Outputs(features, full(joint), full(unimodal), labels)

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        """The loss to optimise."""
        return F.cross_entropy(outputs.joint, labels)

    def backward(self, loss: Tensor, outputs: Outputs, labels: Tensor, epoch: int) -> None:
        """Gradients of the loss."""
        self.precision.backward(loss)

    def step(self, batch: Batch, epoch: int) -> StepLog:
        """One training step without the update. Its samples' memory is written when the step is observed."""
        rho = self.rates(batch)
        acting = self.acting_rates(rho, batch)
        vectors = replace(batch, inputs=self.model.embed_inputs(batch.inputs))
        inputs, noised = self.transform(vectors, acting, epoch)
        outputs = self.forward(inputs, batch.labels, epoch)
        loss = self.loss(outputs, batch.labels, acting, epoch)
        self.backward(loss, outputs, batch.labels, epoch)
        return self.log(batch, outputs, loss, rho, noised)

    def rates(self, batch: Batch) -> Tensor:
        """rho, (M,), of a batch, before its forward pass."""
        return rates(self.memory.probability[:, batch.index].sum(1))

    def acting_rates(self, rho: Tensor, batch: Batch) -> Tensor:
        """The rates by which `transform` and `loss` act: (M,), or (M, n) where each sample has its own."""
        return rho

    def log(
        self, batch: Batch, outputs: Outputs, loss: Tensor, rho: Tensor, noised: Tensor
    ) -> StepLog:
        """What a step leaves."""
        joint, unimodal = outputs.joint.detach(), outputs.unimodal.detach()
        return StepLog(batch.index, batch.labels, loss.detach(), joint, unimodal, rho, noised)

    def observe(self, logs: Sequence[StepLog]) -> StepStatistics:
        """Write the memory, and say what steps measured, of equally many samples each and no sample twice: many small
        operations cost more than one over all."""
        index, labels = (
            torch.stack(values)
            for values in zip(*((log.index, log.labels) for log in logs), strict=True)
        )
        joint, unimodal = (
            torch.stack([log.joint for log in logs]),
            torch.stack([log.unimodal for log in logs], 1),
        )
        probability = label_log_probability(unimodal.flatten(1, 2), labels.flatten()).exp()
        correct = unimodal.argmax(3) == labels
        self.memory.write(index.flatten(), probability, correct.flatten(1))
        right = torch.cat([(joint.argmax(2) == labels)[None], correct]).sum(2).T
        scores = probability.view(correct.shape).sum(2).T
        loss, rho, noised = (
            torch.stack([getattr(log, name) for log in logs])
            for name in ("loss", "rates", "noised")
        )
        return StepStatistics(loss, right, rho, noised, scores)

    def update(self, batch: Batch, epoch: int) -> StepLog:
        """One training step with the update."""
        self.training.optimizer.zero_grad(set_to_none=True)
        log = self.step(batch, epoch)
        self.precision.update(self.training.optimizer)
        return log


def full(logits: Tensor) -> Tensor:
    """Logits of an autocast forward in single precision, in which losses are taken."""
    return logits.float() if logits.dtype in (torch.float16, torch.bfloat16) else logits
