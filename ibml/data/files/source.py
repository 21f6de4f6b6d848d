"""Data sets in files, as the trainer's source of data."""

from __future__ import annotations

import json
from collections.abc import Callable

from ibml.config.datasets import FilesConfig
from ibml.data.base import BuiltInSource, Dataset, Progress, ignore_progress
from ibml.data.files.file_dataset import FileDataset, open_file_dataset
from ibml.data.files.loading import load_splits

MOST_SHOWN = 4000
"""Characters that a tag of every store takes."""

_datasets: dict[str, FileDataset] = {}
"""Data sets that this process has opened, by configuration: a study asks for each of its trials."""


class FilesSource(BuiltInSource):
    """A data set below a folder, opened once by a process."""

    options: FilesConfig

    def prepare(self, say: Callable[[str], None], progress: Progress) -> None:
        key = self.options.model_dump_json()
        _datasets.pop(key, None)
        _datasets[key] = open_file_dataset(self.options, say, progress)

    def fingerprint(self) -> str:
        return self._open().fingerprint

    def load(self, modalities: tuple[str, ...], seed: int) -> Dataset:
        return load_splits(self._open(), self.options, modalities, seed)

    def describe(self) -> dict[str, str]:
        """Return the classes, and the number of samples that are left out."""
        dataset = self._open()
        skipped = {"skipped": str(dataset.skipped)} if dataset.skipped else {}
        return {"classes": json.dumps(dataset.classes, ensure_ascii=False)[:MOST_SHOWN], **skipped}

    def _open(self) -> FileDataset:
        key = self.options.model_dump_json()
        if key not in _datasets:
            _datasets[key] = open_file_dataset(self.options, lambda text: None, ignore_progress)
        return _datasets[key]
