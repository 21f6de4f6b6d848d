"""Trainer of one trial: data, model, method and optimizer, epoch by epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from ibml import data
from ibml.common.imports import load_object
from ibml.common.rng import stream_seed
from ibml.config.metrics.names import rank, select_training_measures
from ibml.config.metrics.registry import MEASURES
from ibml.config.schedule import lr_factor
from ibml.config.trial import TrialConfig
from ibml.data.base import AnySplit
from ibml.data.feeds import Feed, build_feed
from ibml.methods import Batch, Precision, StepLog, StepStatistics, Training, build_method
from ibml.models.multimodal import MultimodalModel
from ibml.training.device import (
    check_compiler,
    choose_device,
    keep_freed_memory,
    platform,
    use_deterministic_settings,
)
from ibml.training.measures.base import MeasuredModel
from ibml.training.measures.computation import compute_measures
from ibml.training.metrics.evaluation import compute_metrics
from ibml.training.optimizers import build_optimizer
from ibml.training.trial_result import (
    EpochMetrics,
    Selection,
    TrialResult,
    describe_divergence,
    find_nonfinite_losses,
)

CHECK_EVERY = 32
"""Number of steps between reads of the losses from the device."""

_SELECTED_PREFIXES = (
    "epoch",
    "val.",
    *(f"train.{name}" for name in select_training_measures(tuple(MEASURES))),
)
"""Prefixes of the metrics that are repeated as `selected.*`."""


class Trainer:
    """Trainer of one trial.

    Call `run_epoch` until `done`, then `build_result` or `finish` once, which evaluate on test.

    All random numbers derive from the seed of the configuration. Two trainers with the same
    configuration compute the same numbers, bit for bit, on the same kind of machine.

    Args:
        config: Configuration of the trial.
        dataset: Data of the trial; loaded if None.

    Attributes:
        epoch: Number of finished epochs.
        selected: Best epoch so far; None before the first one.
        diverged: True if a loss became infinite or NaN.
        seconds: Training time so far, in seconds.
        samples: Number of samples trained on so far.
        visits: Number of samples that the steps of the current epoch visit.

    Raises:
        DeviceError: The process does not have the configured device, or cannot compile for it.
    """

    def __init__(self, config: TrialConfig, dataset: data.Dataset | None = None):
        self.config = config
        self.device = choose_device(config.trainer.device)
        if self.device.type == "cpu":
            keep_freed_memory()
        if config.trainer.compile:
            check_compiler(self.device)
        dataset = dataset or data.load(config.data, config.modalities, config.seed)
        self.precision = Precision(config.trainer.precision, self.device)
        splits = (dataset.train, dataset.val, dataset.test)
        self.train_split, self.val_split, self.test_split = map(self._build_feed, splits)
        self.specs = self.train_split.specs
        self.classes = dataset.classes
        model = MultimodalModel(config, self.specs, len(self.classes))
        self.model = model.to(self.device, self.precision.dtype)
        self.method = build_method(config, self.model, len(dataset.train), self.precision)
        self.optimizer = build_optimizer(config.optimizer, self.method.parameters())
        self.method.begin(Training(self.train_split, self.val_split, self.optimizer))
        self._training_measures: dict[str, Callable[[Tensor], Tensor]] = {}
        for measure in select_training_measures(config.trainer.measures):
            for name in MEASURES[measure].expand_names(self.model.modalities):
                self._training_measures[name] = load_object(MEASURES[measure].function)
        self.epoch = 0
        self.selected: Selection | None = None
        self.diverged = False
        self.seconds = 0.0
        self.samples = 0
        self.visits = 0

    def _build_feed(self, split: AnySplit) -> Feed:
        threads = self.config.trainer.loading_threads
        return build_feed(split, self.device, self.precision.dtype, self.config.seed, threads)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of training, without the configuration.

        Tensors are not copied: serialize the state before the next epoch. The state has no random
        numbers, since each epoch seeds its generators.
        """
        selected = self.selected and {"row": self.selected.row, "weights": self.selected.weights}
        return {
            "epoch": self.epoch,
            "seconds": self.seconds,
            "samples": self.samples,
            "diverged": self.diverged,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "method": self.method.state_dict(),
            "scaler": self.precision.scaler.state_dict(),
            "selected": selected,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore a state of a trainer with the same model, data and type of optimizer.

        Hyperparameters are those of this trainer's configuration. If the configuration is the same
        too, training continues bit for bit as it would have in the other trainer.

        Args:
            state: Result of `state_dict`.

        Raises:
            RuntimeError: The state belongs to another model.
            KeyError: The state lacks an entry.
        """
        self.epoch = state["epoch"]
        self.diverged = state["diverged"]
        self.seconds = state["seconds"]
        self.samples = state["samples"]
        self.model.load_state_dict(state["model"])
        own_groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": own_groups})
        self.method.load_state_dict(state["method"])
        self.precision.scaler.load_state_dict(state["scaler"])
        self.selected = None
        if selected := state["selected"]:
            stored = selected["weights"]
            weights = {name: tensor.to(self.device) for name, tensor in stored.items()}
            self.selected = Selection(dict(selected["row"]), weights)

    @property
    def done(self) -> bool:
        """True if no epoch is left, or if training diverged."""
        return self.diverged or self.epoch >= self.config.trainer.epochs

    def run_epoch(self) -> EpochMetrics:
        """Train one epoch, validate, and select its weights if it is the best so far.

        Returns:
            Metrics of the epoch.
        """
        started = time.perf_counter()
        with (
            use_deterministic_settings(self.device, self.config.trainer.threads),
            self._use_dropout_stream(),
        ):
            row = self._build_train_row(self._train_steps())
            if not find_nonfinite_losses(row):
                row |= _prefix_names("val.", self.evaluate(self.val_split))
            self.diverged = bool(find_nonfinite_losses(row))
            if not self.diverged:
                self._select(row)
        row["samples.epoch"] = float(self.visits + self.method.extra_samples)
        row["time.epoch"] = time.perf_counter() - started
        self.samples += int(row["samples.epoch"])
        self.seconds += row["time.epoch"]
        self.epoch += 1
        return row

    @contextmanager
    def _use_dropout_stream(self) -> Iterator[None]:
        """Seed torch's global generators, from which dropout draws, for this epoch."""
        devices = [torch.cuda.current_device()] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(stream_seed(self.config.seed, "dropout", self.epoch))
            yield

    def _train_steps(self) -> list[StepStatistics]:
        """Train all steps of the epoch, or those until a loss is not finite.

        The losses are read from the device once in `CHECK_EVERY` steps.
        """
        statistics = []
        steps = 0
        for logs in self._group_logs(self.run_steps()):
            statistics.append(self.method.observe(logs))
            steps += len(logs)
            if steps % CHECK_EVERY == 0:
                losses = torch.cat([part.loss for part in statistics[-CHECK_EVERY:]])
                if not bool(losses.isfinite().all()):
                    break
        return statistics

    def _group_logs(self, steps: Iterable[StepLog]) -> Iterator[list[StepLog]]:
        """Group steps with the same number of samples; one step per group if samples repeat."""
        logs: list[StepLog] = []
        for log in steps:
            if logs and len(log.labels) != len(logs[0].labels):
                yield logs
                logs = []
            logs.append(log)
            if len(logs) == CHECK_EVERY or self._repeats:
                yield logs
                logs = []
        if logs:
            yield logs

    def run_steps(self) -> Iterator[StepLog]:
        """Train the steps of the current epoch.

        Yields:
            One log per step. The parameters are already updated; the per-sample memory is updated
            later, in `Method.observe`.
        """
        self.model.train()
        factor = lr_factor(self.config.schedule, self.config.trainer.epochs, self.epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.optimizer.lr * factor
        self.method.start_epoch(self.epoch)
        order = self.method.order(self.epoch)
        self.visits = len(order)
        self._repeats = len(order.unique()) < len(order)
        batches = order.split(self.config.trainer.batch_size)
        for index, inputs, labels in self.train_split.batches(batches, self.epoch):
            yield self.method.update(Batch(index, inputs, labels), self.epoch)

    def _build_train_row(self, statistics: list[StepStatistics]) -> EpochMetrics:
        """Return means over the epoch; only the loss if it is not finite."""
        learning_rate = self.optimizer.param_groups[0]["lr"]
        loss = torch.cat([part.loss for part in statistics]).double().mean()[None]
        mean_loss = float(loss)
        if not math.isfinite(mean_loss):
            return {"epoch": self.epoch, "train.loss": mean_loss, "lr": learning_rate}
        correct = torch.cat([part.correct for part in statistics]).sum(0).double() / self.visits
        rho = torch.cat([part.rates for part in statistics]).double().mean(0)
        noised = torch.cat([part.noised for part in statistics]).sum(0).double() / self.visits
        names = ["train.loss", "train.accuracy"]
        for prefix in ("train.accuracy", "rate", "noised"):
            names += [f"{prefix}.{modality}" for modality in self.model.modalities]
        values = torch.cat([loss, correct, rho, noised]).tolist()
        row = dict(zip(names, values, strict=True))
        row |= self._compute_training_measures(statistics)
        return {"epoch": self.epoch, **row, "lr": learning_rate}

    def _compute_training_measures(self, statistics: list[StepStatistics]) -> EpochMetrics:
        row: EpochMetrics = {}
        for name, compute in self._training_measures.items():
            scores = torch.cat([part.scores for part in statistics])
            row[f"train.{name}"] = float(compute(scores))
        return row

    @torch.no_grad()
    def evaluate(self, split: Feed) -> dict[str, float]:
        """Compute the metrics of a split with the current weights.

        Args:
            split: The split.

        Returns:
            Metrics by name, without the name of the split.
        """
        self.model.eval()
        joint = []
        unimodal = []
        batches = torch.arange(len(split.labels)).split(self.config.trainer.eval_batch_size)
        for _, inputs, _ in split.batches(batches):
            with self.precision.autocast:
                logits, parts = self.model(inputs)
            joint.append(logits)
            unimodal.append(parts)
        dtype = self.precision.dtype
        return compute_metrics(
            torch.cat(joint).to(dtype),
            torch.cat(unimodal, 1).to(dtype),
            split.labels,
            self.model.modalities,
        )

    def _select(self, row: EpochMetrics) -> None:
        selection = self.config.trainer.selection
        if self.selected is None or rank(row, selection) > rank(self.selected.row, selection):
            weights = {name: tensor.clone() for name, tensor in self.model.state_dict().items()}
            self.selected = Selection(dict(row), weights)

    def finish(self) -> dict[str, float]:
        """Evaluate the selected weights on test. Call once, when `done` and not `diverged`.

        Returns:
            Final metrics, among them `test.*`, `selected.*` and the measures.

        Raises:
            RuntimeError: No epoch was trained.
        """
        if self.selected is None:
            raise RuntimeError("no epoch is selected, since none was trained; call run_epoch first")
        started = time.perf_counter()
        self.model.load_state_dict(self.selected.weights)
        with use_deterministic_settings(self.device, self.config.trainer.threads):
            metrics = _prefix_names("test.", self.evaluate(self.test_split))
            splits = (self.train_split, self.val_split, self.test_split)
            measured = MeasuredModel(self.config, self.model, splits, self.precision)
            metrics |= compute_measures(measured)
        for name, value in self.selected.row.items():
            if name.startswith(_SELECTED_PREFIXES):
                metrics[f"selected.{name}"] = value
        self.seconds += time.perf_counter() - started
        return metrics | {"samples.total": float(self.samples), "time.total": self.seconds}

    def build_result(self, history: list[EpochMetrics]) -> TrialResult:
        """Build the result of a training that is `done`. Call once.

        Args:
            history: Metrics of all epochs.

        Returns:
            The result; a training that did not diverge is evaluated on test.
        """
        machine = platform(self.device)
        if self.diverged:
            reason = describe_divergence(history[-1])
            return TrialResult("diverged", history=history, reason=reason, platform=machine)
        return TrialResult("finished", self.finish(), history, platform=machine)


def train(
    config: TrialConfig, on_epoch: Callable[[EpochMetrics], None] = lambda row: None
) -> TrialResult:
    """Train one trial to its end in this process.

    Args:
        config: Configuration of the trial.
        on_epoch: Called with the metrics of each epoch.

    Returns:
        The result of the trial.

    Example:
        >>> from ibml.config.trial import TrialConfig
        >>> from ibml.training.trainer import train
        >>> config = {"data": {"type": "mfeat", "views": ["fou", "zer"]}, "trainer": {"epochs": 1}}
        >>> result = train(TrialConfig.model_validate(config))
        >>> result.status, len(result.history)
        ('finished', 1)
        >>> 0 <= result.metrics["test.accuracy"] <= 1
        True
    """
    trainer = Trainer(config)
    history = []
    while not trainer.done:
        history.append(trainer.run_epoch())
        on_epoch(history[-1])
    return trainer.build_result(history)


def _prefix_names(prefix: str, metrics: Mapping[str, float]) -> EpochMetrics:
    return {f"{prefix}{name}": value for name, value in metrics.items()}
