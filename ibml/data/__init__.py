"""Data sets: `load` gives the splits of a configuration, `fingerprint` names the data's content, and `ready` checks and
decodes what lies in files before anything is trained on it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable

from ibml.common.errors import IbmlError
from ibml.config.data import DataConfig, DataPluginConfig
from ibml.config.datasets import DataPart, FilesConfig
from ibml.config.failures import in_a_line
from ibml.data.base import AnySplit, Dataset, Split, StreamedSplit
from ibml.data.digests import Progress
from ibml.data.embedded import load_mfeat, mfeat_fingerprint
from ibml.data.listing import DataError
from ibml.data.opened import Opened, no_progress, open_files

__all__ = ["AnySplit", "DataError", "Dataset", "Split", "StreamedSplit", "fingerprint", "load", "notes", "ready"]

MOST_SHOWN = 4000
"""Characters that a tag of every store takes."""

_opened: dict[str, Opened] = {}
_fingerprints: dict[str, str] = {}
"""What this process has opened, and what packages have said of their data sets, by configuration; a study asks for each
of its trials, and `ready` looks again."""


def ready(configs: Iterable[DataConfig], say: Callable[[str], None] = print, progress: Progress = no_progress) -> None:
    """Check data sets as a whole, and decode what was not decoded before, so that trials need not. What is to be said
    goes to `say`. Raises `DataError` for a data set that is not there or has samples that cannot be used."""
    for key, config in {_key(config): config for config in configs}.items():
        _opened.pop(key, None)
        _fingerprints.pop(key, None)
        if isinstance(config, FilesConfig):
            _opened[key] = open_files(config, say, progress)


def load(config: DataConfig, modalities: tuple[str, ...], seed: int) -> Dataset:
    """The data set with the given modalities, split by the seed."""
    if isinstance(config, FilesConfig):
        from ibml.data.loading import split_for

        return split_for(_open(config), config, modalities, seed)
    if isinstance(config, DataPluginConfig):
        made: Dataset = config.load_implementation()(config.typed_options).load(modalities, seed)
        return made
    return load_mfeat(config, modalities, seed)


def fingerprint(config: DataConfig) -> str:
    """A hash of the data's content, part of every trial's key."""
    if isinstance(config, DataPluginConfig):
        key = _key(config)
        if key not in _fingerprints:
            _fingerprints[key] = _plugin_fingerprint(config)
        return _fingerprints[key]
    return _open(config).fingerprint if isinstance(config, FilesConfig) else mfeat_fingerprint()


def _plugin_fingerprint(config: DataPluginConfig) -> str:
    try:
        return str(config.load_implementation()(config.typed_options).fingerprint())
    except IbmlError:
        raise
    except Exception as error:
        raise DataError(f"the data set {config.target} has no fingerprint: {in_a_line(error)}") from error


def notes(config: DataConfig) -> dict[str, str]:
    """What a trial's run should say of the data: its classes, and how many samples are left out."""
    if not isinstance(config, FilesConfig):
        return {}
    opened = _open(config)
    skipped = {"skipped": str(opened.skipped)} if opened.skipped else {}
    return {"classes": json.dumps(opened.classes, ensure_ascii=False)[:MOST_SHOWN], **skipped}


def _open(config: FilesConfig) -> Opened:
    key = _key(config)
    if key not in _opened:
        _opened[key] = open_files(config, lambda text: None, no_progress)
    return _opened[key]


def _key(config: DataPart) -> str:
    return config.model_dump_json()
