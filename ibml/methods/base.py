"""Base class of training methods: joint training, whose parts a method overrides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ibml.common.rng import stream_seed
from ibml.config.base import Config
from ibml.config.methods.base import Window
from ibml.config.trial import TrialConfig
from ibml.methods.step_data import (
    Batch,
    Inputs,
    Outputs,
    PredictionMemory,
    StepLog,
    StepStatistics,
    Training,
    average_others,
    ensure_full_precision,
    label_log_probability,
    rates,
)
from ibml.models.multimodal import MultimodalModel
from ibml.training.precision import Precision

__all__ = [
    "Batch",
    "Inputs",
    "Method",
    "Outputs",
    "PredictionMemory",
    "StepLog",
    "StepStatistics",
    "Training",
    "average_others",
    "ensure_full_precision",
    "label_log_probability",
    "rates",
]


class Method:
    """Base class of training methods. It trains jointly: L = CE(o, y).

    `update` runs one training step with the optimizer; `step` runs its forward pass, loss and
    backward pass. A method overrides the parts that it changes: `transform` (inputs), `forward`,
    `loss`, `backward` (gradients), `update` (several updates per batch), `order` (samples of an
    epoch) or `start_epoch`. Everything that outlives an epoch belongs in `state_dict`. A step must
    not read the device.

    Args:
        trial: Configuration of the trial.
        options: Configuration of the method.
        model: Model that the method trains.
        samples: Number of training samples, N.
        precision: Number formats of training.

    Attributes:
        seed: Seed of the trial.
        epochs: Number of epochs of the trial.
        encode: Forward pass through the encoders in training: inputs -> features z_1 .. z_M.
        heads: Modules that are trained with the model and are not evaluated.
        memory: Per-sample memory of unimodal predictions.
        generator: Generator of random numbers on the model's device, seeded at each epoch.
        window: Epochs [first, stop) in which the method is active; elsewhere training is joint.
        training: Splits and optimizer; available from `begin` on.
        extra_samples: Number of samples that this epoch trained on in addition to its `order`.

    Example:
        A method that adds the loss of each modality to the joint loss:

        >>> import torch
        >>> from ibml.config.trial import TrialConfig
        >>> from ibml.inputs import InputSpec
        >>> from ibml.methods import Batch, Method, Precision
        >>> from ibml.models.multimodal import MultimodalModel
        >>> class UnimodalLosses(Method):
        ...     def loss(self, outputs, labels, rho, epoch):
        ...         joint = super().loss(outputs, labels, rho, epoch)
        ...         return joint - outputs.log_probability.mean(1).sum()

        One step of it on 8 random samples of 4 classes:

        >>> data = {"type": "mfeat", "views": ["pix", "zer"]}
        >>> trial = TrialConfig.model_validate({"data": data})
        >>> specs = {"pix": InputSpec((5,)), "zer": InputSpec((3,))}
        >>> model = MultimodalModel(trial, specs, classes=4)
        >>> precision = Precision("float32", torch.device("cpu"))
        >>> method = UnimodalLosses(trial, trial.method, model, samples=8, precision=precision)
        >>> method.start_epoch(0)
        >>> inputs = {"pix": torch.randn(8, 5), "zer": torch.randn(8, 3)}
        >>> batch = Batch(torch.arange(8), inputs, labels=torch.arange(8) % 4)
        >>> log = method.step(batch, epoch=0)
        >>> log.joint.shape, log.unimodal.shape, log.rates.tolist()
        (torch.Size([8, 4]), torch.Size([2, 8, 4]), [1.0, 1.0])
        >>> all(parameter.grad is not None for parameter in method.parameters())
        True
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
        modalities = len(model.modalities)
        self.model = model
        self.options: Any = options
        self.trial = trial
        self.seed = trial.seed
        self.epochs = trial.trainer.epochs
        self.precision = precision
        self.samples = samples
        self.encode: Callable[[Inputs], list[Tensor]] = model.features
        if trial.trainer.compile:
            # static shapes: the program must not depend on which shapes came before
            self.encode = torch.compile(model.features, dynamic=False)
        self.heads = nn.ModuleList()
        self.memory = PredictionMemory(modalities, samples, parameter.device, parameter.dtype)
        self.generator = torch.Generator(device=parameter.device)
        self._no_changes = torch.zeros(modalities, device=parameter.device, dtype=torch.long)
        window = getattr(options, "window", None)
        self.window: tuple[int, int] = (0, self.epochs)
        if isinstance(window, Window):
            self.window = window.epochs(self.epochs)
        self.training: Training
        self.extra_samples = 0

    def parameters(self) -> Iterator[nn.Parameter]:
        """Yield everything that the optimizer trains: parameters of the model, then of `heads`."""
        yield from self.model.parameters()
        yield from self.heads.parameters()

    def begin(self, training: Training) -> None:
        """Receive the splits and the optimizer. Called once, before any other hook."""
        self.training = training

    def state_dict(self) -> dict[str, Any]:
        """Return everything that outlives an epoch, for a checkpoint."""
        heads = {"heads": self.heads.state_dict()} if len(self.heads) else {}
        return {**self.memory.state_dict(), **heads}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state from a checkpoint.

        A checkpoint from before the window may come from another method. State that it lacks keeps
        its initial value, with which this method starts its window.

        Args:
            state: Result of `state_dict`, of this method or of another one.
        """
        self.memory.load_state_dict(state)
        if "heads" in state and len(self.heads):
            self.heads.load_state_dict(state["heads"])

    def active(self, epoch: int) -> bool:
        """Return true if the epoch is in the window; outside it training is joint."""
        return self.window[0] <= epoch < self.window[1]

    def uses_unimodal(self, epoch: int) -> bool:
        """Return true if the loss of an epoch has a gradient with respect to the unimodal logits.

        If false, the unimodal logits are computed without gradient, which is cheaper.
        """
        return self.active(epoch)

    def start_epoch(self, epoch: int) -> None:
        """Prepare an epoch. Called before its first step, with the model in training mode."""
        self.extra_samples = 0
        self.generator.manual_seed(stream_seed(self.seed, "noise", epoch))

    def order(self, epoch: int) -> Tensor:
        """Return the positions of an epoch's training samples in order, (n,), on the CPU."""
        return self.visiting(epoch)

    def visiting(self, *where: str | int) -> Tensor:
        """Return every position once, (N,), shuffled if the trial shuffles.

        Args:
            *where: Part of the random stream `order` to draw from, for example the epoch.

        Returns:
            Positions in the training set, on the CPU.
        """
        if not self.trial.trainer.shuffle:
            return torch.arange(self.samples)
        generator = torch.Generator().manual_seed(stream_seed(self.seed, "order", *where))
        return torch.randperm(self.samples, generator=generator)

    def transform(self, batch: Batch, rho: Tensor, epoch: int) -> tuple[Inputs, Tensor]:
        """Change the inputs before the forward pass.

        Args:
            batch: Batch of n samples. Texts are word vectors, unless the encoder cannot embed them.
            rho: Result of `acting_rates`, (M,) or (M, n).
            epoch: Current epoch.

        Returns:
            Inputs of the forward pass, and the number of changed samples per modality, (M,).
        """
        return batch.inputs, self._no_changes

    def forward(self, inputs: Inputs, labels: Tensor, epoch: int) -> Outputs:
        """Run one forward pass.

        Args:
            inputs: Inputs by modality, (n, ...) each.
            labels: Class indices, (n,).
            epoch: Current epoch.

        Returns:
            Features and logits.
        """
        with self.precision.autocast:
            features = self.encode(inputs)
        return self.fused(features, labels, epoch)

    def fused(self, features: list[Tensor], labels: Tensor, epoch: int) -> Outputs:
        """Compute the logits of features.

        Args:
            features: z_1 .. z_M, (n, d_m) each.
            labels: Class indices, (n,).
            epoch: Current epoch.

        Returns:
            The features and their logits in at least single precision.
        """
        fusion = self.model.fusion
        with self.precision.autocast:
            if self.uses_unimodal(epoch):
                joint, unimodal = fusion.both(features)
            else:
                joint = fusion(features)
                with torch.no_grad():
                    unimodal = fusion.unimodal_logits(features)
        joint = ensure_full_precision(joint)
        unimodal = ensure_full_precision(unimodal)
        return Outputs(features, joint, unimodal, labels)

    def loss(self, outputs: Outputs, labels: Tensor, rho: Tensor, epoch: int) -> Tensor:
        """Compute the loss to optimize.

        Args:
            outputs: Result of `forward`.
            labels: Class indices, (n,).
            rho: Result of `acting_rates`, (M,) or (M, n).
            epoch: Current epoch.

        Returns:
            A scalar; here the cross-entropy of the joint logits.
        """
        return F.cross_entropy(outputs.joint, labels)

    def backward(self, loss: Tensor, outputs: Outputs, labels: Tensor, epoch: int) -> None:
        """Compute the gradients of the parameters.

        Args:
            loss: Result of `loss`.
            outputs: Result of `forward`.
            labels: Class indices, (n,).
            epoch: Current epoch.
        """
        self.precision.backward(loss)

    def step(self, batch: Batch, epoch: int) -> StepLog:
        """Run one training step without the update of the parameters.

        The memory of the batch is written later, by `observe`.

        Args:
            batch: Batch of n samples.
            epoch: Current epoch.

        Returns:
            The log of the step.
        """
        rho = self.rates(batch)
        acting = self.acting_rates(rho, batch)
        vectors = replace(batch, inputs=self.model.embed_inputs(batch.inputs))
        inputs, noised = self.transform(vectors, acting, epoch)
        outputs = self.forward(inputs, batch.labels, epoch)
        loss = self.loss(outputs, batch.labels, acting, epoch)
        self.backward(loss, outputs, batch.labels, epoch)
        return self.log(batch, outputs, loss, rho, noised)

    def rates(self, batch: Batch) -> Tensor:
        """Return the rates rho of a batch, (M,), before its forward pass."""
        return rates(self.memory.probability[:, batch.index].sum(1))

    def acting_rates(self, rho: Tensor, batch: Batch) -> Tensor:
        """Return the rates that `transform` and `loss` use.

        Args:
            rho: Result of `rates`, (M,).
            batch: Batch of n samples.

        Returns:
            Rates, (M,), or (M, n) if each sample has its own.
        """
        return rho

    def log(
        self, batch: Batch, outputs: Outputs, loss: Tensor, rho: Tensor, noised: Tensor
    ) -> StepLog:
        """Build the log of a step.

        Args:
            batch: Batch of n samples.
            outputs: Result of `forward`.
            loss: Optimized loss, a scalar.
            rho: Result of `rates`, (M,).
            noised: Number of changed samples per modality, (M,).

        Returns:
            The log, without gradients.
        """
        joint = outputs.joint.detach()
        unimodal = outputs.unimodal.detach()
        return StepLog(batch.index, batch.labels, loss.detach(), joint, unimodal, rho, noised)

    def observe(self, logs: Sequence[StepLog]) -> StepStatistics:
        """Write the memory and measure S steps at once, which is faster than one by one.

        Args:
            logs: Logs of steps with n samples each; no sample may occur twice.

        Returns:
            Statistics with one row per step.
        """
        index = torch.stack([log.index for log in logs])
        labels = torch.stack([log.labels for log in logs])
        joint = torch.stack([log.joint for log in logs])
        unimodal = torch.stack([log.unimodal for log in logs], 1)
        probability = label_log_probability(unimodal.flatten(1, 2), labels.flatten()).exp()
        correct = unimodal.argmax(3) == labels
        self.memory.write(index.flatten(), probability, correct.flatten(1))
        joint_correct = joint.argmax(2) == labels
        return StepStatistics(
            loss=torch.stack([log.loss for log in logs]),
            correct=torch.cat([joint_correct[None], correct]).sum(2).T,
            rates=torch.stack([log.rates for log in logs]),
            noised=torch.stack([log.noised for log in logs]),
            scores=probability.view(correct.shape).sum(2).T,
        )

    def update(self, batch: Batch, epoch: int) -> StepLog:
        """Run one training step with the update of the parameters.

        Args:
            batch: Batch of n samples.
            epoch: Current epoch.

        Returns:
            The log of the step.
        """
        self.training.optimizer.zero_grad(set_to_none=True)
        log = self.step(batch, epoch)
        self.precision.update(self.training.optimizer)
        return log
