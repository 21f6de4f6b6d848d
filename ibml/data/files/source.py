"""Data sets in files, as the trainer's source of data."""

from __future__ import annotations

import json
from collections.abc import Callable

from ibml.config.datasets import FilesConfig
from ibml.data.base import BuiltInSource, Dataset, Progress, no_progress
from ibml.data.files.loading import split_for
from ibml.data.files.opened import Opened, open_files

MOST_SHOWN = 4000
"""Characters that a tag of every store takes."""

_opened: dict[str, Opened] = {}
"""Data sets that this process has opened, by configuration: a study asks for each of its trials."""


class FilesSource(BuiltInSource):
    """A data set below a folder, opened once by a process."""

    options: FilesConfig

    def prepare(self, say: Callable[[str], None], progress: Progress) -> None:
        key = self.options.model_dump_json()
        _opened.pop(key, None)
        _opened[key] = open_files(self.options, say, progress)

    def fingerprint(self) -> str:
        return self._open().fingerprint

    def load(self, modalities: tuple[str, ...], seed: int) -> Dataset:
        return split_for(self._open(), self.options, modalities, seed)

    def notes(self) -> dict[str, str]:
        """Return the classes, and the number of samples that are left out."""
        opened = self._open()
        skipped = {"skipped": str(opened.skipped)} if opened.skipped else {}
        return {"classes": json.dumps(opened.classes, ensure_ascii=False)[:MOST_SHOWN], **skipped}

    def _open(self) -> Opened:
        key = self.options.model_dump_json()
        if key not in _opened:
            _opened[key] = open_files(self.options, lambda text: None, no_progress)
        return _opened[key]
