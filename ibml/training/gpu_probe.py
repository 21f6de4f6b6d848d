"""How much memory of a GPU a trial takes, from a few steps of it."""

from __future__ import annotations

from itertools import islice

import torch

from ibml.config.trial import TrialConfig
from ibml.training.trainer import Trainer

STEPS = 3


def run_probe_steps(trainer: Trainer) -> None:
    """Some steps of the first epoch and of the first in the method's window, and a batch of the evaluation: what takes
    most memory in a training. What a method does before an epoch is done too."""
    for epoch in sorted({0, trainer.method.window[0]}):
        trainer.epoch = min(epoch, trainer.config.trainer.epochs - 1)
        for log in islice(trainer.run_steps(), STEPS):
            trainer.method.observe([log])
    trainer.model.eval()
    size = min(trainer.config.trainer.eval_batch_size, len(trainer.val_split.labels))
    for _, inputs, _ in trainer.val_split.batches([torch.arange(size)]):
        with torch.no_grad(), trainer.precision.autocast:
            trainer.model(inputs)


def measure_gpu_memory(config: TrialConfig) -> tuple[int, int]:
    """Bytes that the current GPU has, and that a trial reserved there at its peak. Raises `DeviceError` where this
    process sees no GPU."""
    on_gpu = config.trainer.model_copy(update={"device": "cuda"})
    trainer = Trainer(config.model_copy(update={"trainer": on_gpu}))
    torch.cuda.reset_peak_memory_stats(trainer.device)
    run_probe_steps(trainer)
    torch.cuda.synchronize(trainer.device)
    total: int = torch.cuda.get_device_properties(trainer.device).total_memory
    return total, torch.cuda.max_memory_reserved(trainer.device)
