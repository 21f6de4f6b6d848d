"""Checkpoints of one trial in its folder: states to resume from, and the selected weights."""

from __future__ import annotations

import io
import pickle
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from types import MappingProxyType
from typing import Any

import torch

from ibml.common.atomic_files import DamagedFileError, read_sealed, remove_unfinished, write_sealed
from ibml.common.storage import StoragePath, parse_storage_path
from ibml.config.optimization import TrainerConfig
from ibml.config.trial import TrialConfig
from ibml.inputs import InputSpec
from ibml.models.multimodal import MultimodalModel
from ibml.training.checkpoint_retention import SELECTED, list_states, parse_epochs
from ibml.training.device import platform
from ibml.training.trainer import Trainer
from ibml.training.trial_result import EpochMetrics

MAX_STATES = 2
"""Maximum number of states of a running trial."""
_COST_SHARE = 20
"""Writing takes at most this fraction of the time: one part in `_COST_SHARE`."""


class TrialCheckpoints:
    """Checkpoints of one trial: the state after an epoch, such as `state-000012.ckpt` after twelve.

    The last two states are kept, so that training can resume if the last one is damaged. A state is
    written `checkpoint_seconds` after the previous one, or later if writing is slow. A failed write
    does not stop the training; it becomes a note.

    Args:
        folder: Folder of the trial.
        config: Configuration of the trainer.
        warm_start_candidates: States of trials with a common prefix: number of epochs, and file.
        checkpoints_to_save: States to write for other trials: number of epochs -> file.
    """

    def __init__(
        self,
        folder: StoragePath,
        config: TrainerConfig,
        warm_start_candidates: Sequence[tuple[int, StoragePath]] = (),
        checkpoints_to_save: Mapping[int, StoragePath] = MappingProxyType({}),
    ):
        self.folder = folder
        self.config = config
        self.warm_start_candidates = warm_start_candidates
        self.checkpoints_to_save = checkpoints_to_save
        self._shared_epochs = 0
        self._saved_sizes: dict[int, int] = {}
        self._notes: list[str] = []
        self._noted: set[str] = set()
        self._written = time.monotonic()
        self._cost = 0.0
        self._last_epoch = 0  # epoch of the last written state

    def take_notes(self) -> list[str]:
        """Return the notes for the user since the last call."""
        notes = self._notes
        self._notes = []
        return notes

    def take_report(self) -> dict[str, Any]:
        """Return the report for the driver since the last call.

        Returns:
            `notes` for the user, the number of epochs `shared` with another trial, and the states
            `left` for other trials: number of epochs -> size in bytes.
        """
        report = {
            "notes": self.take_notes(),
            "shared": self._shared_epochs,
            "left": self._saved_sizes,
        }
        self._shared_epochs = 0
        self._saved_sizes = {}
        return report

    def save_if_due(self, trainer: Trainer, rows: list[EpochMetrics]) -> None:
        """Write the state if it is due, and for other trials if they need it.

        The state after the last epoch is written only if `keep` is `all`.

        Args:
            trainer: Trainer after an epoch.
            rows: Metrics of all its epochs.
        """
        path = self.checkpoints_to_save.get(trainer.epoch)
        if path is not None and not trainer.diverged:
            self._save_shared(path, trainer, rows)
        due = self._due
        if trainer.done:
            due = self.config.keep == "all" and not trainer.diverged
        if due:
            self.save(trainer, rows)

    @property
    def _due(self) -> bool:
        seconds = self.config.checkpoint_seconds
        if seconds == 0:
            return True
        return time.monotonic() - self._written >= max(seconds, _COST_SHARE * self._cost)

    def save(self, trainer: Trainer, rows: list[EpochMetrics]) -> None:
        """Write the state, unless it is already written or the trainer diverged.

        Args:
            trainer: Trainer after an epoch.
            rows: Metrics of all its epochs.
        """
        if trainer.diverged or trainer.epoch == self._last_epoch:
            return
        self._last_epoch = trainer.epoch
        started = time.monotonic()
        content = {"rows": rows, "state": trainer.state_dict()}
        if self._write(self.folder / f"state-{trainer.epoch:06}.ckpt", content):
            with suppress(OSError):
                for path in list_states(self.folder)[MAX_STATES:]:
                    path.unlink(missing_ok=True)
        self._written = time.monotonic()
        self._cost = self._written - started

    def _save_shared(self, path: StoragePath, trainer: Trainer, rows: list[EpochMetrics]) -> None:
        content = {
            "rows": rows,
            "state": trainer.state_dict(),
            "platform": platform(trainer.device),
        }
        with suppress(OSError):
            remove_unfinished(path.parent)
            if path.is_file() or self._write(path, content):
                self._saved_sizes[trainer.epoch] = path.stat().st_size

    def save_selected(self, trainer: Trainer, final: Mapping[str, float]) -> None:
        """Write the weights of the selected epoch for `load_model`, unless training diverged.

        Args:
            trainer: Trainer after its last epoch.
            final: Final metrics of the trial.
        """
        if self.config.keep == "none" or trainer.diverged or trainer.selected is None:
            return
        content = {
            "config": trainer.config.for_inference().model_dump_json(),
            "shapes": {name: list(spec.shape) for name, spec in trainer.specs.items()},
            "words": _describe_vocabularies(trainer.specs),
            "classes": len(trainer.classes),
            "labels": list(trainer.classes),
            "weights": trainer.selected.weights,
            "metrics": {**trainer.selected.row, **final},
        }
        self._write(self.folder / SELECTED, content)

    def restore(self, build: Callable[[], Trainer]) -> tuple[Trainer, list[EpochMetrics]]:
        """Return a trainer in the latest usable state.

        A damaged state is removed, one of another version of ibml skipped; both become notes.

        Args:
            build: Function that builds a new trainer.

        Returns:
            The trainer, new if there is no usable state, and the metrics of its epochs.
        """
        own: list[tuple[int, StoragePath]] = []
        try:
            remove_unfinished(self.folder)
            own = [(parse_epochs(path), path) for path in list_states(self.folder)]
        except OSError as error:
            self._note(f"checkpoints in {self.folder} cannot be read: {error}")
        candidates = [*own, *self.warm_start_candidates]
        for epochs, path in sorted(candidates, key=lambda state: state[0], reverse=True):
            content = self._read_checkpoint(path)
            if content is None:
                continue
            trainer = build()
            machine = platform(trainer.device)
            if content.get("platform", machine) != machine:
                continue  # results differ between kinds of machines
            try:
                trainer.load_state_dict(content["state"])
                rows: list[EpochMetrics] = content["rows"]
            except (RuntimeError, KeyError, ValueError) as error:  # intact, but of another version
                self._note(f"skipped checkpoint {path}: it does not fit this ibml version: {error}")
                continue
            self._shared_epochs = 0 if path.parent == self.folder else epochs
            return trainer, rows
        return build(), []

    def _read_checkpoint(self, path: StoragePath) -> dict[str, Any] | None:
        """Return the content of a checkpoint, or None if it cannot be read.

        A file is removed only if its checksum proves that it is damaged.
        """
        try:
            return _load_checkpoint(path)
        except FileNotFoundError:
            return None  # removed to make room
        except DamagedFileError as error:
            self._note(f"skipped and removed a checkpoint: {error}")
            with suppress(OSError):
                path.unlink(missing_ok=True)
        except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
            self._note(f"skipped checkpoint {path}: {error}")
        return None

    def _write(self, path: StoragePath, content: Mapping[str, Any]) -> bool:
        try:
            write_sealed(path, partial(torch.save, content))
        except (OSError, RuntimeError) as error:  # torch reports a full disk as either
            self._note(f"checkpoints cannot be written to {self.folder}: {error}")
            return False
        return True

    def _note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._notes.append(text)


def load_model(path: str | StoragePath) -> MultimodalModel:
    """Load the model of a trial's selected epoch.

    The model maps inputs by modality, (n, ...) each, to joint logits, (n, C), and unimodal logits,
    (M, n, C). `labels` are the names of the classes. Folders of pretrained models that the
    configuration names must exist; other files are not needed.

    Args:
        path: The trial's `selected.ckpt`, a local file or an object in a store.

    Returns:
        The model on the CPU, in evaluation mode.

    Raises:
        DamagedFileError: The file is not as it was written.
        OSError: The file cannot be read.
    """
    content = _load_checkpoint(parse_storage_path(path))
    config = TrialConfig.model_validate_json(content["config"], strict=False)
    words = content.get("words", {})  # files from before text modalities do not have it
    specs = {}
    for name, shape in content["shapes"].items():
        specs[name] = _build_spec(shape, **words.get(name, {}))
    model = MultimodalModel(config, specs, content["classes"])
    model.load_state_dict(content["weights"])
    model.labels = tuple(content.get("labels", ()))
    return model.eval()


def _describe_vocabularies(specs: Mapping[str, InputSpec]) -> dict[str, dict[str, Any]]:
    """Return the words of each text and the width of their vectors, which are in the weights."""
    described = {}
    for name, spec in specs.items():
        if spec.vocabulary:
            width = None if spec.vectors is None else spec.vectors.shape[1]
            described[name] = {"vocabulary": list(spec.vocabulary), "width": width}
    return described


def _build_spec(
    shape: Sequence[int], vocabulary: Sequence[str] = (), width: int | None = None
) -> InputSpec:
    vectors = None if width is None else torch.zeros(len(vocabulary) + 1, width)
    return InputSpec(tuple(shape), tuple(vocabulary), vectors)


def _load_checkpoint(path: StoragePath) -> dict[str, Any]:
    stream = io.BytesIO(read_sealed(path))
    content: dict[str, Any] = torch.load(stream, map_location="cpu", weights_only=True)
    return content
