"""Checkpoints of one trial, in a folder of its own: what training goes on from, and what stays of it."""

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
from ibml.training.trainer import EpochMetrics, Trainer

MAX_STATES = 2
"""How many states of a running trial there are at most."""
_COST_SHARE = 20
"""Writing takes at most one part in so many of the time."""


class TrialCheckpoints:
    """States after whole epochs, `state-000012.ckpt` being that after twelve. The last two are kept, so that there is
    one to go on from where the last is damaged.

    A state is due `checkpoint_seconds` after the last, but later where writing takes long. What cannot be written does
    not stop the training. States to `warm_start_candidates` from are other trials', which train alike until there: after how many
    epochs, and the file. Those to `checkpoints_to_save` are for others.
    """

    def __init__(
        self,
        folder: StoragePath,
        config: TrainerConfig,
        warm_start_candidates: Sequence[tuple[int, StoragePath]] = (),
        checkpoints_to_save: Mapping[int, StoragePath] = MappingProxyType({}),
    ):
        self.folder, self.config, self.warm_start_candidates, self.checkpoints_to_save = (
            folder,
            config,
            warm_start_candidates,
            checkpoints_to_save,
        )
        self._shared_epochs = 0
        self._saved_sizes: dict[int, int] = {}
        self._notes: list[str] = []
        self._noted: set[str] = set()
        self._written, self._cost = time.monotonic(), 0.0
        self._epoch = 0  # of the last state that was written

    def take_notes(self) -> list[str]:
        """What a person should know of the checkpoints and was not told yet."""
        notes, self._notes = self._notes, []
        return notes

    def take_report(self) -> dict[str, Any]:
        """What a driver should know and was not told yet: `notes`, how many epochs are `shared` with another trial, and
        after which epochs states were `left`, with their sizes in bytes."""
        said = {
            "notes": self.take_notes(),
            "shared": self._shared_epochs,
            "left": self._saved_sizes,
        }
        self._shared_epochs, self._saved_sizes = 0, {}
        return said

    def save_if_due(self, trainer: Trainer, rows: list[EpochMetrics]) -> None:
        """Keep the state of a trainer and the rows of all its epochs, if it is time to, and where it is to be left for
        others. The last state is kept only where it is to stay."""
        place = self.checkpoints_to_save.get(trainer.epoch)
        if place is not None and not trainer.diverged:
            self._save_shared(place, trainer, rows)
        if self._due if not trainer.done else self.config.keep == "all" and not trainer.diverged:
            self.save(trainer, rows)

    @property
    def _due(self) -> bool:
        seconds = self.config.checkpoint_seconds
        return seconds == 0 or time.monotonic() - self._written >= max(
            seconds, _COST_SHARE * self._cost
        )

    def save(self, trainer: Trainer, rows: list[EpochMetrics]) -> None:
        """Write the state of a trainer and the rows of all its epochs, unless the last state is this one."""
        if trainer.diverged or trainer.epoch == self._epoch:
            return
        self._epoch = trainer.epoch
        began = time.monotonic()
        content = {"rows": rows, "state": trainer.state_dict()}
        if self._write(self.folder / f"state-{trainer.epoch:06}.ckpt", content):
            with suppress(OSError):
                for path in list_states(self.folder)[MAX_STATES:]:
                    path.unlink(missing_ok=True)
        self._written = time.monotonic()
        self._cost = self._written - began

    def _save_shared(self, place: StoragePath, trainer: Trainer, rows: list[EpochMetrics]) -> None:
        content = {
            "rows": rows,
            "state": trainer.state_dict(),
            "platform": platform(trainer.device),
        }
        with suppress(OSError):
            remove_unfinished(place.parent)
            if place.is_file() or self._write(place, content):
                self._saved_sizes[trainer.epoch] = place.stat().st_size

    def save_selected(self, trainer: Trainer, final: Mapping[str, float]) -> None:
        """Of a training that has ended, keep the weights of the selected epoch with what `load_model` needs, unless it
        diverged."""
        if self.config.keep == "none" or trainer.diverged or trainer.selected is None:
            return
        content = {
            "config": trainer.config.for_inference().model_dump_json(),
            "shapes": {name: list(spec.shape) for name, spec in trainer.specs.items()},
            "words": {
                name: _describe_vocabulary(spec)
                for name, spec in trainer.specs.items()
                if spec.vocabulary
            },
            "classes": len(trainer.classes),
            "labels": list(trainer.classes),
            "weights": trainer.selected.weights,
            "metrics": {**trainer.selected.row, **final},
        }
        self._write(self.folder / SELECTED, content)

    def restore(self, build: Callable[[], Trainer]) -> tuple[Trainer, list[EpochMetrics]]:
        """A trainer in the furthest state that is whole, and the epochs before it; a new one where there is none. A
        damaged state is named and removed; one of another version is named and passed over."""
        own: list[tuple[int, StoragePath]] = []
        try:
            remove_unfinished(self.folder)
            own = [(parse_epochs(path), path) for path in list_states(self.folder)]
        except OSError as error:
            self._note(f"checkpoints in {self.folder} are out of reach: {error}")
        for epochs, path in sorted(
            [*own, *self.warm_start_candidates], key=lambda state: state[0], reverse=True
        ):
            content = self._read_checkpoint(path)
            if content is None:
                continue
            trainer = build()
            if content.get("platform", platform(trainer.device)) != platform(trainer.device):
                continue  # another kind of machine's
            try:
                trainer.load_state_dict(content["state"])
                rows: list[EpochMetrics] = content["rows"]
            except (RuntimeError, KeyError, ValueError) as error:  # whole, but of another version
                self._note(
                    f"a checkpoint was passed over: {path} does not fit this version of ibml: {error}"
                )
                continue
            self._shared_epochs = 0 if path.parent == self.folder else epochs
            return trainer, rows
        return build(), []

    def _read_checkpoint(self, path: StoragePath) -> dict[str, Any] | None:
        """Return what a checkpoint has, or None for one that is out of reach or damaged.

        Only a file whose checksum proves that it is damaged is removed.
        """
        try:
            return _load_checkpoint(path)
        except FileNotFoundError:
            return None  # there was no more room for it
        except DamagedFileError as error:
            self._note(f"a checkpoint was passed over: {error}")
            with suppress(OSError):
                path.unlink(missing_ok=True)
        except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
            self._note(f"a checkpoint was passed over: {path}: {error}")
        return None

    def _write(self, path: StoragePath, content: Mapping[str, Any]) -> bool:
        try:
            write_sealed(path, partial(torch.save, content))
        except (OSError, RuntimeError) as error:  # torch reports a full disk as either
            self._note(f"no checkpoint could be written to {self.folder}: {error}")
            return False
        return True

    def _note(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._notes.append(text)


def load_model(path: str | StoragePath) -> MultimodalModel:
    """The model of a trial's selected epoch from its `selected.ckpt`, on the CPU and ready to evaluate: inputs per
    modality (n, ...) -> joint logits (n, C) and unimodal logits (M, n, C), whose classes are `labels`. Of the files
    that its encoders name it needs the folders of pretrained models.

    Raises `DamagedFileError` where the file is not what was written, `OSError` where it cannot be read.
    """
    content = _load_checkpoint(parse_storage_path(path))
    config = TrialConfig.model_validate_json(content["config"], strict=False)
    words = content.get("words", {})  # which files of before there were texts do not have
    specs = {
        name: _build_spec(shape, **words.get(name, {})) for name, shape in content["shapes"].items()
    }
    model = MultimodalModel(config, specs, content["classes"])
    model.load_state_dict(content["weights"])
    model.labels = tuple(content.get("labels", ()))
    return model.eval()


def _describe_vocabulary(spec: InputSpec) -> dict[str, Any]:
    """The words of a text, and how wide their vectors are, which are themselves among the weights."""
    return {
        "vocabulary": list(spec.vocabulary),
        "width": None if spec.vectors is None else spec.vectors.shape[1],
    }


def _build_spec(
    shape: Sequence[int], vocabulary: Sequence[str] = (), width: int | None = None
) -> InputSpec:
    vectors = None if width is None else torch.zeros(len(vocabulary) + 1, width)
    return InputSpec(tuple(shape), tuple(vocabulary), vectors)


def _load_checkpoint(path: StoragePath) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(
        io.BytesIO(read_sealed(path)), map_location="cpu", weights_only=True
    )
    return content
