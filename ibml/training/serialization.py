"""State of a trainer as bytes, to continue training in another process."""

from __future__ import annotations

import io

import torch

from ibml.training.trainer import Trainer


def pack_state(trainer: Trainer) -> bytes:
    """Return the state of a trainer as bytes."""
    stream = io.BytesIO()
    torch.save(trainer.state_dict(), stream)
    return stream.getvalue()


def unpack_state(content: bytes, trainer: Trainer, copied: bool = False) -> None:
    """Restore the state of a trainer.

    Args:
        content: Result of `pack_state`.
        trainer: Trainer to restore.
        copied: The state comes from another trial; its best epoch is not selected.
    """
    # Read to the CPU. Each part then moves to its device: Adam keeps its counts on the CPU.
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    trainer.load_state_dict(state)
    if copied:
        trainer.selected = None
