"""Source of the data sets in files."""

from __future__ import annotations

import json
from collections.abc import Callable

from ibml.config.datasets import FilesConfig
from ibml.data.base import BuiltInSource, Dataset, Progress, ignore_progress
from ibml.data.files.file_dataset import FileDataset, open_file_dataset
from ibml.data.files.loading import load_splits

MOST_SHOWN = 4000
"""Number of characters that a tag of every supported store can have."""

_datasets: dict[str, FileDataset] = {}
"""Data sets opened by this process, by configuration, since a study loads one for each trial."""


class FilesSource(BuiltInSource):
    """Data set in files below a folder, opened once per process.

    Args:
        options: Configuration of the data set.
    """

    options: FilesConfig

    def prepare(self, say: Callable[[str], None], progress: Progress) -> None:
        """Open the data set again, even if this process has opened it before.

        Args:
            say: Called with every message for the user.
            progress: Called while files are read and decoded.

        Raises:
            DataError: The data set does not exist or has samples that cannot be used.
        """
        key = self.options.model_dump_json()
        _datasets.pop(key, None)
        _datasets[key] = open_file_dataset(self.options, say, progress)

    def fingerprint(self) -> str:
        """Return a hash of the usable samples and their files."""
        return self._open().fingerprint

    def load(self, modalities: tuple[str, ...], seed: int) -> Dataset:
        """Load the three splits.

        Args:
            modalities: Modalities to load.
            seed: Seed of the trial, from which validation is drawn if the files have none.

        Returns:
            The splits, streamed from the cache.
        """
        return load_splits(self._open(), self.options, modalities, seed)

    def describe(self) -> dict[str, str]:
        """Return the classes, and the number of samples that are left out."""
        dataset = self._open()
        entries = {"classes": json.dumps(dataset.classes, ensure_ascii=False)[:MOST_SHOWN]}
        if dataset.skipped:
            entries["skipped"] = str(dataset.skipped)
        return entries

    def _open(self) -> FileDataset:
        key = self.options.model_dump_json()
        if key not in _datasets:
            _datasets[key] = open_file_dataset(self.options, lambda text: None, ignore_progress)
        return _datasets[key]
