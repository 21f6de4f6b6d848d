"""Measurement of the GPU memory that a trial needs, from a few steps."""

from __future__ import annotations

from itertools import islice

import torch

from ibml.config.trial import TrialConfig
from ibml.training.trainer import Trainer

STEPS = 3
"""Number of training steps per probed epoch."""


def run_probe_steps(trainer: Trainer) -> None:
    """Run the parts of a training that need most memory.

    These are some steps of the first epoch and of the first epoch in the method's window, and one
    batch of the evaluation. The method's preparation of these epochs is included.

    Args:
        trainer: A new trainer; it cannot be used for training afterwards.
    """
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
    """Measure the memory of the current GPU that a trial needs.

    Args:
        config: Configuration of the trial.

    Returns:
        Memory of the GPU, and peak of the memory that the trial reserved, in bytes.

    Raises:
        DeviceError: The process sees no GPU.
    """
    on_gpu = config.trainer.model_copy(update={"device": "cuda"})
    trainer = Trainer(config.model_copy(update={"trainer": on_gpu}))
    torch.cuda.reset_peak_memory_stats(trainer.device)
    run_probe_steps(trainer)
    torch.cuda.synchronize(trainer.device)
    total: int = torch.cuda.get_device_properties(trainer.device).total_memory
    return total, torch.cuda.max_memory_reserved(trainer.device)
