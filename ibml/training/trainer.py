"""One trial: data, model, method and optimizer, epoch by epoch."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor

from ibml import data
from ibml.common.imports import load_object
from ibml.common.rng import stream_seed
from ibml.config.metrics.names import rank, select_training_measures
from ibml.config.metrics.registry import MEASURES
from ibml.config.schedule import lr_factor
from ibml.config.trial import TrialConfig
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
from ibml.training.metrics.evaluation import evaluation
from ibml.training.optimizers import build_optimizer

CHECK_EVERY = 32
"""After how many steps the losses are looked at."""

_SELECTED_PREFIXES = (
    "epoch",
    "val.",
    *(f"train.{name}" for name in select_training_measures(tuple(MEASURES))),
)
"""Beginnings of the names that `selected.*` repeats."""

EpochMetrics = dict[str, float]
"""One epoch's metrics by name, among them `epoch`."""


@dataclass
class Selection:
    """The epoch that is evaluated on test: its validation metrics and its weights."""

    row: EpochMetrics
    weights: dict[str, Tensor]


@dataclass
class TrialResult:
    """What a trial leaves: a row per epoch, the final metrics (`test.*`, `selected.*`), and how it ended.

    `diverged` means that the training or validation loss became infinite or no number; such a trial has no
    final metrics.
    """

    status: Literal["finished", "diverged"]
    metrics: dict[str, float] = field(default_factory=dict)
    history: list[EpochMetrics] = field(default_factory=list)
    reason: str = ""
    platform: str = ""


class Trainer:
    """Trains one trial. `run_epoch` is called until `done`; then `finish` evaluates on test, once.

    Everything random comes from the configuration's seed: two trainers with the same configuration give
    the same numbers, bit for bit, on the same kind of machine.
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
        threads, dtype = config.trainer.loading_threads, self.precision.dtype
        self.train_split, self.val_split, self.test_split = (
            build_feed(split, self.device, dtype, config.seed, threads)
            for split in (dataset.train, dataset.val, dataset.test)
        )
        self.specs = self.train_split.specs
        self.classes = dataset.classes
        self.model = MultimodalModel(config, self.specs, len(self.classes)).to(
            self.device, self.precision.dtype
        )
        self.method = build_method(config, self.model, len(dataset.train), self.precision)
        self.optimizer = build_optimizer(config.optimizer, self.method.parameters())
        self.method.begin(Training(self.train_split, self.val_split, self.optimizer))
        self._training_measures = {
            name: load_object(MEASURES[measure].function)
            for measure in select_training_measures(config.trainer.measures)
            for name in MEASURES[measure].expand_names(self.model.modalities)
        }
        self.epoch = 0
        self.selected: Selection | None = None
        self.diverged = False
        self.seconds = 0.0
        self.samples = 0
        self.visits = 0
        """The samples trained on, in all, and those of the current epoch's steps."""

    def state_dict(self) -> dict[str, Any]:
        """All that training has come to, without the configuration. Tensors are not copied: serialise the state before
        training goes on. Random numbers need no place in it, since each epoch seeds its own."""
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
        """Go on from a state of a trainer with the same model, data and kind of optimizer; bit for bit as that one
        would have, where the configuration is the same too. Hyperparameters are those of this configuration."""
        self.epoch, self.diverged = state["epoch"], state["diverged"]
        self.seconds, self.samples = state["seconds"], state["samples"]
        self.model.load_state_dict(state["model"])
        own_groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state["optimizer"], "param_groups": own_groups})
        self.method.load_state_dict(state["method"])
        self.precision.scaler.load_state_dict(state["scaler"])
        selected = state["selected"]
        self.selected = selected and Selection(
            dict(selected["row"]),
            {name: tensor.to(self.device) for name, tensor in selected["weights"].items()},
        )

    @property
    def done(self) -> bool:
        return self.diverged or self.epoch >= self.config.trainer.epochs

    def run_epoch(self) -> EpochMetrics:
        """Train one epoch, validate, and keep the weights if it is the best so far."""
        started = time.perf_counter()
        with (
            use_deterministic_settings(self.device, self.config.trainer.threads),
            self._use_dropout_stream(),
        ):
            row = self._build_train_row(self._train_steps())
            if not _find_nonfinite_losses(row):
                row |= {
                    f"val.{name}": value for name, value in self.evaluate(self.val_split).items()
                }
            self.diverged = bool(_find_nonfinite_losses(row))
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
        """Dropout draws from torch's global generators: give them this epoch's state meanwhile."""
        devices = [torch.cuda.current_device()] if self.device.type == "cuda" else []
        with torch.random.fork_rng(devices):
            torch.manual_seed(stream_seed(self.config.seed, "dropout", self.epoch))
            yield

    def _train_steps(self) -> list[StepStatistics]:
        """What the epoch's steps measured, or those up to a loss that is infinite or no number, after which nothing
        would be learnt. The device is read once in `CHECK_EVERY` steps."""
        seen, steps = [], 0
        for logs in self._group_logs(self.run_steps()):
            seen.append(self.method.observe(logs))
            steps += len(logs)
            if steps % CHECK_EVERY == 0:
                losses = torch.cat([part.loss for part in seen[-CHECK_EVERY:]])
                if not bool(losses.isfinite().all()):
                    break
        return seen

    def _group_logs(self, steps: Iterable[StepLog]) -> Iterator[list[StepLog]]:
        """Steps of equally many samples, each alone where samples are visited more than once."""
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
        """The training steps of the current epoch, each done when it is yielded, but for the memory, which the method
        writes when it observes them."""
        self.model.train()
        factor = lr_factor(self.config.schedule, self.config.trainer.epochs, self.epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.optimizer.lr * factor
        self.method.start_epoch(self.epoch)
        order = self.method.order(self.epoch)
        self.visits = len(order)
        self._repeats = len(order.unique()) < len(order)
        for index, inputs, labels in self.train_split.batches(
            order.split(self.config.trainer.batch_size), self.epoch
        ):
            yield self.method.update(Batch(index, inputs, labels), self.epoch)

    def _build_train_row(self, seen: list[StepStatistics]) -> EpochMetrics:
        """Means over the epoch; of one whose loss is infinite or no number, that alone."""
        visits, names = self.visits, self.model.modalities
        loss = torch.cat([part.loss for part in seen]).double().mean()[None]
        if not math.isfinite(mean := float(loss)):
            return {
                "epoch": self.epoch,
                "train.loss": mean,
                "lr": self.optimizer.param_groups[0]["lr"],
            }
        correct = torch.cat([part.correct for part in seen]).sum(0).double() / visits
        rho = torch.cat([part.rates for part in seen]).double().mean(0)
        noised = torch.cat([part.noised for part in seen]).sum(0).double() / visits
        values = torch.cat([loss, correct, rho, noised]).tolist()
        keys = ["train.loss", "train.accuracy", *(f"train.accuracy.{name}" for name in names)]
        keys += [*(f"rate.{name}" for name in names), *(f"noised.{name}" for name in names)]
        row = dict(zip(keys, values, strict=True))
        row |= self._compute_training_measures(seen)
        return {"epoch": self.epoch, **row, "lr": self.optimizer.param_groups[0]["lr"]}

    def _compute_training_measures(self, seen: list[StepStatistics]) -> EpochMetrics:
        """The measures that the epoch's steps give."""
        row: EpochMetrics = {}
        for name, compute in self._training_measures.items():
            row[f"train.{name}"] = float(compute(torch.cat([part.scores for part in seen])))
        return row

    @torch.no_grad()
    def evaluate(self, split: Feed) -> dict[str, float]:
        """The metrics of a split, with the model as it is."""
        self.model.eval()
        joint, unimodal = [], []
        batches = torch.arange(len(split.labels)).split(self.config.trainer.eval_batch_size)
        for _, inputs, _ in split.batches(batches):
            with self.precision.autocast:
                logits, parts = self.model(inputs)
            joint.append(logits)
            unimodal.append(parts)
        dtype = self.precision.dtype
        return evaluation(
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
        """Evaluate the selected epoch's weights on test. Call once, when `done` and not `diverged`."""
        if self.selected is None:
            raise RuntimeError("no epoch was trained, so none is selected")
        started = time.perf_counter()
        self.model.load_state_dict(self.selected.weights)
        with use_deterministic_settings(self.device, self.config.trainer.threads):
            metrics = {
                f"test.{name}": value for name, value in self.evaluate(self.test_split).items()
            }
            splits = (self.train_split, self.val_split, self.test_split)
            metrics |= compute_measures(
                MeasuredModel(self.config, self.model, splits, self.precision)
            )
        metrics |= {
            f"selected.{k}": v
            for k, v in self.selected.row.items()
            if k.startswith(_SELECTED_PREFIXES)
        }
        self.seconds += time.perf_counter() - started
        return metrics | {"samples.total": float(self.samples), "time.total": self.seconds}

    def build_result(self, history: list[EpochMetrics]) -> TrialResult:
        """How a training that is `done` ended, after these epochs. Call once."""
        computed_on = platform(self.device)
        if self.diverged:
            return TrialResult(
                "diverged", {}, history, describe_divergence(history[-1]), computed_on
            )
        return TrialResult("finished", self.finish(), history, platform=computed_on)


def train(
    config: TrialConfig, on_epoch: Callable[[EpochMetrics], None] = lambda row: None
) -> TrialResult:
    """Train one trial to its end, in this process; `on_epoch` sees every epoch's metrics."""
    trainer = Trainer(config)
    history = []
    while not trainer.done:
        history.append(trainer.run_epoch())
        on_epoch(history[-1])
    return trainer.build_result(history)


def describe_divergence(row: EpochMetrics) -> str:
    """Why a trial diverged in its last epoch."""
    losses = " and ".join(f"{name} was {row[name]}" for name in _find_nonfinite_losses(row))
    return f"{losses} in epoch {row['epoch']:.0f}"


def _find_nonfinite_losses(row: EpochMetrics) -> list[str]:
    return [name for name in ("train.loss", "val.loss") if not math.isfinite(row.get(name, 0.0))]
