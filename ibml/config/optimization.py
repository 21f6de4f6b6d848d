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
    """Whether to use Nesterov's momentum, which needs a momentum above 0."""
    weight_decay: NonNegative = 1e-4
    """L2 penalty, added to the gradient."""

    @model_validator(mode="after")
    def _nesterov_needs_momentum(self) -> Self:
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
    """Decay rates of the running averages of the gradient and its square, each from 0 to below 1."""
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
    """Decay rates of the running averages of the gradient and its square, each from 0 to below 1."""
    weight_decay: NonNegative = 1e-2
    """Decoupled weight decay: each step shrinks the weights by learning rate times this."""


OptimizerConfig = Annotated[SGDConfig | AdamConfig | AdamWConfig, Field(discriminator="type")]


class ConstantScheduleConfig(Config):
    """The learning rate stays as it is."""

    type: Literal["constant"] = "constant"
    """Constant learning rate."""


class StepScheduleConfig(Config):
    """Times `gamma` every `step_size` epochs; the paper's runs without warm-up: 70 and 0.1."""

    type: Literal["step"] = "step"
    """Step decay."""
    step_size: Count = 70
    """Epochs between two decays."""
    gamma: Positive = 0.1
    """Factor of the learning rate at each decay."""


class CosineScheduleConfig(Config):
    """Half a cosine from the learning rate down to `floor` times it at the end of training."""

    type: Literal["cosine"] = "cosine"
    """Cosine decay (Loshchilov & Hutter, 2017), without restarts."""
    floor: Annotated[float, Field(ge=0, le=1)] = 0.0
    """The smallest factor of the learning rate, from 0 to 1, reached at the end of training."""


class WarmupScheduleConfig(Config):
    """The paper's warm-up. With t the epoch before: min(t / 2 + 1, peak) while t < boost_epochs,
    then 1 while t < decay_epoch, then `gamma`; the first epoch runs at 1."""

    type: Literal["warmup"] = "warmup"
    """The warm-up of Qin et al. (TPAMI 2026)."""
    boost_epochs: Count = 35
    """Number of epochs with a raised learning rate."""
    peak: Positive = 10.0
    """The largest factor of the learning rate during warm-up."""
    decay_epoch: Count = 70
    """The epoch from which the factor is `gamma`."""
    gamma: Positive = 0.1
    """Factor of the learning rate after `decay_epoch`."""


ScheduleConfig = Annotated[
    ConstantScheduleConfig | StepScheduleConfig | CosineScheduleConfig | WarmupScheduleConfig,
    Field(discriminator="type"),
]


Keep = Literal["best", "none", "all"]


class TrainerConfig(Config):
    """The training loop of one trial."""

    epochs: Count = 40
    """Number of training epochs."""
    batch_size: Count = 64
    """Training samples per step; an epoch's last batch may have fewer."""
    eval_batch_size: Count = 512
    """Samples per forward pass in evaluation."""
    shuffle: bool = True
    """Whether each epoch visits the training samples in a new random order."""
    selection: Selection = "val.accuracy"
    """Which epoch is evaluated on test; ties go to the lower val.loss, then to the earlier epoch."""
    precision: Literal["float32", "float64", "bf16", "fp16"] = "float32"
    """Number format of training; `bf16` and `fp16` are autocast over float32 weights."""
    compile: bool = False
    """The passes of training through the encoders are compiled (torch.compile), which takes a compiler and up to
    minutes at the start of a trial, and gives other last digits."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Device of training; `auto`: a GPU where there is one."""
    threads: Annotated[int, Field(ge=1, le=1024)] = 1
    """CPU threads of a trial; results on CPU depend on it."""
    loading_threads: Annotated[int, Field(ge=1, le=256)] = 2
    """Threads that gather the next batches of a data set in files while one is trained on."""
    measures: Items[Measure] = ()
    """Measures of imbalance and robustness that are computed beside the accuracies."""
    keep: Keep = "best"
    """What stays on disk of a trial that has ended: the selected epoch's weights, nothing, or also the last states."""
    checkpoint_seconds: NonNegative = 5.0
    """A running trial leaves a checkpoint after the first epoch that ends so long after the last; 0: every epoch."""
    max_retries: Annotated[int, Field(ge=0, le=100)] = 2
    """How often a trial goes on from its last checkpoint after a failure before it is given up."""
    stall_minutes: Annotated[float, Field(gt=0, le=525_600)] = 60.0
    """A trial that ends no epoch for so long hangs, and its worker is ended."""

    @property
    def without_effect(self) -> set[str]:
        """The fields that cannot influence the result."""
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
    def _each_once(cls, measures: tuple[Measure, ...]) -> tuple[Measure, ...]:
        """In the order of the alphabet, since the order says nothing."""
        if len(set(measures)) < len(measures):
            raise ValueError("a measure is listed twice")
        return tuple(sorted(measures))
