"""Benchmark of training epochs: `python -m tests.benchmarks.step`, about two minutes on two cores.

It compares joint training with a plain PyTorch loop over the same layers, and IBML within its
window with joint training. The models are two ResNet-18 with CREMA-D's shapes, and the two
perceptrons of the preset `mfeat`. Epochs of all three are trained in turn, so other load on the
machine affects all alike. The table shows the median over rounds of the time ratio within a round.
The plain loop shuffles, keeps the loss and the correct answers of each step, and does nothing else.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tests.benchmarks.methods import PAIRS, Pair
from tests.benchmarks.tables import Row, markdown

THREADS = 2
ROUNDS = {"ResNet-18 pair, batch of 8": 6, "perceptron pair (mfeat), batch of 64": 40}
GOALS = {
    "ResNet-18 pair, batch of 8": "at most 1.05",
    "perceptron pair (mfeat), batch of 64": "at most 1.3",
}


class Plain(nn.Module):
    """Encoders, and a linear layer over their concatenated features."""

    def __init__(self, encoders: list[nn.Module], widths: list[int], classes: int):
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.head = nn.Linear(sum(widths), classes)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        """Return logits of shape (B, classes)."""
        logits: Tensor = self.head(
            torch.cat([encode(x) for encode, x in zip(self.encoders, inputs, strict=True)], 1)
        )
        return logits


def plain_epoch(pair: Pair) -> Callable[[], None]:
    """Return a function that trains one epoch in a plain PyTorch loop."""
    trainer = pair.trainer("joint")
    config, encoders = trainer.config, trainer.model.encoders
    widths = [config.get_encoder(name).features for name in trainer.model.modalities]
    model = Plain([encoders[name] for name in trainer.model.modalities], widths, pair.classes)
    sgd = config.optimizer
    assert sgd.type == "sgd"
    optimizer = torch.optim.SGD(
        model.parameters(), sgd.lr, momentum=sgd.momentum, weight_decay=sgd.weight_decay
    )
    split = pair.split()
    inputs = [torch.from_numpy(np.asarray(split.inputs[name])) for name in trainer.model.modalities]
    labels = torch.from_numpy(np.asarray(split.labels))

    def epoch() -> None:
        model.train()
        losses, right = [], []
        for index in torch.randperm(len(labels)).split(pair.batch):
            x, y = [values[index] for values in inputs], labels[index]
            optimizer.zero_grad()
            logits = model(x)
            loss = F.cross_entropy(logits, y)
            loss.backward()
            optimizer.step()
            losses.append(loss.detach())
            right.append((logits.argmax(1) == y).sum())
        assert torch.stack(losses).mean().isfinite()
        assert torch.stack(right).sum() >= 0

    return epoch


def own_epoch(pair: Pair, method: str) -> Callable[[], None]:
    """Return a function that trains one epoch with ibml's trainer, including its mean metrics."""
    trainer = pair.trainer(method)

    def epoch() -> None:
        trainer.epoch = 5  # within every window, and always the same
        trainer._build_train_row(trainer._train_steps())

    return epoch


def compare(pair: Pair) -> tuple[float, float, float]:
    """Return seconds of a plain epoch, and the ratios of joint to plain and of IBML to joint."""
    epochs = [plain_epoch(pair), own_epoch(pair, "joint"), own_epoch(pair, "ibml")]
    times: list[list[float]] = [[], [], []]
    for round_ in range(-1, ROUNDS[pair.name]):
        for run, kept in zip(epochs, times, strict=True):
            began = time.perf_counter()
            run()
            if round_ >= 0:  # the first allocates
                kept.append(time.perf_counter() - began)
    plain, joint, ibml = times
    by_plain = statistics.median(own / other for own, other in zip(joint, plain, strict=True))
    by_joint = statistics.median(own / other for own, other in zip(ibml, joint, strict=True))
    return statistics.median(plain), by_plain, by_joint


def rows() -> list[Row]:
    """Run the benchmark, and return its rows."""
    found = []
    torch.set_num_threads(THREADS)
    for pair in PAIRS:
        _, by_plain, by_joint = compare(pair)
        found += [
            (
                f"{pair.name}: joint relative to a plain PyTorch loop",
                f"{by_plain:.2f}",
                "at most 1.1",
            ),
            (f"{pair.name}: IBML relative to joint", f"{by_joint:.2f}", GOALS[pair.name]),
        ]
    return found


if __name__ == "__main__":
    print(markdown(rows()))
