"""Benchmark of training steps: time of every method relative to joint training.

    python -m tests.benchmarks.methods [METHOD ...]

There are two models: two ResNet-18 with CREMA-D's shapes (a spectrogram of 257 x 188 and three
frames of 224 x 224), and the two perceptrons of the preset `mfeat`.

Steps of all methods are timed in turn, so other load on the machine affects all alike. The table
shows the median over rounds of the time ratio within a round. Valuations, prototypes and blending
weights are computed between epochs and are not part of a step.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ibml.config.components.registry import METHODS
from ibml.config.trial import TrialConfig
from ibml.data.base import Dataset, Split
from ibml.methods import Batch
from ibml.training.trainer import Trainer

Shapes = dict[str, tuple[int, ...]]

PASSES = {
    "mmpareto": "two backward passes through each encoder",
    "mla": "an update per modality",
    "recon_boost": "one encoder trained at a time",
}
SETTINGS: dict[str, dict[str, Any]] = {
    "modality_valuation": {"warmup": 0},
    "ibml": {"window": {"first_epoch": 0}},
    "g_blending": {"super_epoch": 2, "mode": "offline"},
}


@dataclass(frozen=True)
class Pair:
    """Two modalities with random samples, and the number of timed rounds."""

    name: str
    config: dict[str, Any]
    shapes: Shapes
    classes: int
    batch: int
    samples: int
    rounds: int

    def split(self) -> Split:
        """Return random samples."""
        generator = np.random.default_rng(0)
        inputs = {
            name: generator.normal(size=(self.samples, *shape)).astype(np.float32)
            for name, shape in self.shapes.items()
        }
        return Split(inputs, np.arange(self.samples) % self.classes)

    def trainer(self, method: str) -> Trainer:
        """Return a trainer of a method on random samples."""
        split = self.split()
        parts = {
            **self.config,
            "method": {"type": method, **SETTINGS.get(method, {})},
            "trainer": {
                "epochs": 100,
                "batch_size": self.batch,
                "eval_batch_size": self.batch,
                "threads": 2,
            },
        }
        config = TrialConfig.model_validate(parts)
        return Trainer(config, Dataset(tuple(map(str, range(self.classes))), split, split, split))


PAIRS = [
    Pair(
        "ResNet-18 pair, batch of 8",
        {"data": {"type": "cremad"}, "encoders": {"default": {"type": "resnet18"}}},
        {"audio": (1, 257, 188), "video": (3, 3, 224, 224)},
        classes=6,
        batch=8,
        samples=16,
        rounds=7,
    ),
    Pair(
        "perceptron pair (mfeat), batch of 64",
        {
            "data": {"type": "mfeat"},
            "encoders": {"default": {"type": "mlp", "hidden": [128], "features": 64}},
        },
        {"pix": (240,), "zer": (47,)},
        classes=10,
        batch=64,
        samples=1200,
        rounds=200,
    ),
]


def steps(trainer: Trainer) -> Iterator[float]:
    """Run training steps without end, and yield the seconds of each."""
    epoch = 0
    while True:
        trainer.model.train()
        trainer.method.start_epoch(epoch)
        order = trainer.method.order(epoch)
        for batch in trainer.train_split.batches(
            order.split(trainer.config.trainer.batch_size), epoch
        ):
            began = time.perf_counter()
            trainer.method.update(Batch(*batch), epoch)
            if len(batch[0]) == trainer.config.trainer.batch_size:
                yield time.perf_counter() - began
        epoch = 0 if epoch else 1


def compare(pair: Pair, methods: list[str]) -> None:
    """Print the table of a pair."""
    running = {name: steps(pair.trainer(name)) for name in methods}
    for timed in running.values():
        next(timed)  # the first step allocates
    times: dict[str, list[float]] = {name: [] for name in methods}
    for _ in range(pair.rounds):
        for name, timed in running.items():
            times[name].append(next(timed))
    print(
        f"\n{pair.name}: joint training takes"
        f" {1000 * statistics.median(times['joint']):.1f} ms per step\n"
    )
    print("| method | relative to joint | |\n|---|---|---|")
    for name in methods:
        ratios = [own / joint for own, joint in zip(times[name], times["joint"], strict=True)]
        print(f"| {name} | {statistics.median(ratios):.2f} | {PASSES.get(name, '')} |")


def main() -> None:
    """Compare the methods named on the command line, or else all."""
    chosen = sys.argv[1:] or [name for name in METHODS if name not in ("joint", "unimodal")]
    for pair in PAIRS:
        compare(pair, ["joint", *chosen])


if __name__ == "__main__":
    main()
