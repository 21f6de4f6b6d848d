"""Configurations of optimizers, learning-rate schedules and the training loop."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ibml.config.base import Config, Count, Items, NonNegative, Positive
from ibml.config.metrics.names import Measure, Selection


class SGDConfig(Config):
    """Stochastic gradient descent with momentum."""

    type: Literal["sgd"] = "sgd"
    """Stochastic gradient descent."""
    lr: Positive = 0.01
    """Learning rate, which the schedule multiplies."""
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    """Momentum, from 0 (none) to below 1."""
    nesterov: bool = False
    """Use Nesterov's momentum, which needs a momentum above 0."""
    weight_decay: NonNegative = 1e-4
    """L2 penalty, added to the gradient."""

    @model_validator(mode="after")
    def _check_nesterov(self) -> Self:
        if self.nesterov and self.momentum == 0:
            raise ValueError("nesterov needs a momentum above 0")
        return self


class AdamConfig(Config):
    """Adam; weight decay is added to the gradient."""

    type: Literal["adam"] = "adam"
    """Adam (Kingma & Ba, 2015)."""
    lr: Positive = 1e-3
    """Learning rate, which the schedule multiplies."""
    betas: Annotated[
        Items[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)
    ] = (0.9, 0.999)
    """Decay rates of the averages of the gradient and of its square, from 0 to below 1."""
    weight_decay: NonNegative = 0.0
    """L2 penalty, added to the gradient."""


class AdamWConfig(Config):
    """Adam with decoupled weight decay."""

    type: Literal["adamw"] = "adamw"
    """AdamW (Loshchilov & Hutter, 2019)."""
    lr: Positive = 1e-3
    """Learning rate, which the schedule multiplies."""
    betas: Annotated[
        Items[Annotated[float, Field(ge=0, lt=1)]], Field(min_length=2, max_length=2)
    ] = (0.9, 0.999)
    """Decay rates of the averages of the gradient and of its square, from 0 to below 1."""
    weight_decay: NonNegative = 1e-2
    """Decoupled weight decay: each step shrinks the weights by learning rate times this."""


OptimizerConfig = Annotated[SGDConfig | AdamConfig | AdamWConfig, Field(discriminator="type")]


class ConstantScheduleConfig(Config):
    """Keep the learning rate constant."""

    type: Literal["constant"] = "constant"
    """Constant learning rate."""


class StepScheduleConfig(Config):
    """Multiply the learning rate by `gamma` every `step_size` epochs.

    The defaults are those of the paper's runs without warm-up.
    """

    type: Literal["step"] = "step"
    """Step decay."""
    step_size: Count = 70
    """Epochs between two decays."""
    gamma: Positive = 0.1
    """Factor of the learning rate at each decay."""


class CosineScheduleConfig(Config):
    """Decay the learning rate along half a cosine, to `floor` times its value at the end."""

    type: Literal["cosine"] = "cosine"
    """Cosine decay (Loshchilov & Hutter, 2017), without restarts."""
    floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Smallest factor of the learning rate, from 0 to 1, reached at the end of training."""


class WarmupScheduleConfig(Config):
    """Warm-up of the paper (Qin et al., TPAMI 2026).

    With t the previous epoch, the factor of the learning rate is min(t / 2 + 1, peak) while
    t < boost_epochs, then 1 while t < decay_epoch, then `gamma`. In the first epoch it is 1.
    """

    type: Literal["warmup"] = "warmup"
    """Warm-up of Qin et al. (TPAMI 2026)."""
    boost_epochs: Count = 35
    """Number of epochs with a raised learning rate."""
    peak: Positive = 10.0
    """Largest factor of the learning rate during warm-up."""
    decay_epoch: Count = 70
    """Epoch after which the factor is `gamma`."""
    gamma: Positive = 0.1
    """Factor of the learning rate after `decay_epoch`."""


ScheduleConfig = Annotated[
    ConstantScheduleConfig | StepScheduleConfig | CosineScheduleConfig | WarmupScheduleConfig,
    Field(discriminator="type"),
]


Keep = Literal["best", "none", "all"]


class TrainerConfig(Config):
    """Training loop of one trial."""

    epochs: Count = 40
    """Number of training epochs."""
    batch_size: Count = 64
    """Training samples per step; an epoch's last batch may have fewer."""
    eval_batch_size: Count = 512
    """Samples per forward pass in evaluation."""
    shuffle: bool = True
    """Visit the training samples in a new random order in each epoch."""
    selection: Selection = "val.accuracy"
    """Criterion that selects the epoch evaluated on test. Ties are broken by the lower val.loss,
    then by the earlier epoch."""
    precision: Literal["float32", "float64", "bf16", "fp16"] = "float32"
    """Number format of training; `bf16` and `fp16` are autocast over float32 weights."""
    compile: bool = False
    """Compile the training passes through the encoders (torch.compile). Needs a compiler, delays
    the start of a trial by up to minutes, and changes the last digits of results."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Training device; `auto`: a GPU if available, else the CPU."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """CPU threads per trial; results on CPU depend on this number."""
    loading_threads: Annotated[int, Field(ge=1, le=256)] = 2
    """Threads that prefetch batches from files."""
    measures: Items[Measure] = ()
    """Measures of imbalance and robustness, computed in addition to the accuracies."""
    keep: Keep = "best"
    """Checkpoints kept after a trial: `best`, the weights of the selected epoch; `none`; or `all`,
    which adds the last training states."""
    checkpoint_seconds: NonNegative = 5.0
    """Minimum time between checkpoints of a running trial, seconds; written at the end of an
    epoch. 0: every epoch."""
    max_retries: Annotated[int, Field(ge=0, le=100)] = 2
    """Number of times that a failed trial is resumed from its last checkpoint."""
    stall_minutes: Annotated[float, Field(gt=0, le=525_600)] = 60.0
    """Time without a finished epoch, minutes, after which the worker of a trial is killed."""

    @property
    def without_effect(self) -> set[str]:
        """Fields that cannot influence the result."""
        unused = {name for name in ("measures", "compile") if not getattr(self, name)}
        return unused | {
            "device",
            "loading_threads",
            "keep",
            "checkpoint_seconds",
            "max_retries",
            "stall_minutes",
        }

    @field_validator("measures")
    @classmethod
    def _sort_measures(cls, measures: tuple[Measure, ...]) -> tuple[Measure, ...]:
        """Sort the measures, so that equal sets have equal keys."""
        if len(set(measures)) < len(measures):
            raise ValueError("a measure is listed twice")
        return tuple(sorted(measures))
