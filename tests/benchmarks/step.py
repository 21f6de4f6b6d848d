"""What a training step costs: `python -m tests.benchmarks.step`, or `make bench`. About two minutes on two cores.

On two ResNet-18 at CREMA-D's shapes and on the two perceptrons of the preset `mfeat`: joint training as a multiple of a
plain PyTorch loop over a model of the same layers, and IBML, within its window, as a multiple of joint training. Epochs
of all three are trained in turn, so that what else the machine does falls on all alike; shown is the median over the
rounds of the ratios within a round. The plain loop shuffles, keeps each step's loss and right answers, and does nothing
else.
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
    """Encoders and a linear layer over their features side by side."""

    def __init__(self, encoders: list[nn.Module], widths: list[int], classes: int):
        super().__init__()
        self.encoders = nn.ModuleList(encoders)
        self.head = nn.Linear(sum(widths), classes)

    def forward(self, inputs: list[Tensor]) -> Tensor:
        logits: Tensor = self.head(
            torch.cat([encode(x) for encode, x in zip(self.encoders, inputs, strict=True)], 1)
        )
        return logits


def plain_epoch(pair: Pair) -> Callable[[], None]:
    """One epoch of a loop as anybody would write it, over the pair's encoders and data."""
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
    """The training steps of one epoch by the project's trainer, with the means that it makes of them."""
    trainer = pair.trainer(method)

    def epoch() -> None:
        trainer.epoch = 5  # within every window, and always the same
        trainer._build_train_row(trainer._train_steps())

    return epoch


def compare(pair: Pair) -> tuple[float, float, float]:
    """Seconds of a plain epoch, joint by plain, and IBML by joint."""
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
    """(what, figure, goal) of everything that is measured."""
    found = []
    torch.set_num_threads(THREADS)
    for pair in PAIRS:
        _, by_plain, by_joint = compare(pair)
        found += [
            (f"{pair.name}: joint by a plain PyTorch loop", f"{by_plain:.2f}", "at most 1.1"),
            (f"{pair.name}: IBML by joint", f"{by_joint:.2f}", GOALS[pair.name]),
        ]
    return found


if __name__ == "__main__":
    print(markdown(rows()))
