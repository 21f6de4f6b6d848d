"""The state of a trainer as bytes, to go on elsewhere."""

from __future__ import annotations

import io

import torch

from ibml.training.trainer import Trainer


def pack_state(trainer: Trainer) -> bytes:
    """What a trainer has come to."""
    stream = io.BytesIO()
    torch.save(trainer.state_dict(), stream)
    return stream.getvalue()


def unpack_state(content: bytes, trainer: Trainer, copied: bool = False) -> None:
    """Let a trainer go on from a packed state. It is read to the CPU, from where each part moves to where the trainer
    has it: Adam keeps its counts on the CPU whatever computes. Of a `copied` state the selection is left behind, since
    those epochs are another trial's."""
    trainer.load_state_dict(torch.load(io.BytesIO(content), map_location="cpu", weights_only=True))
    if copied:
        trainer.selected = None
