"""The data of a configuration: its splits, the fingerprint of its content, and its check before training."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ibml.common.errors import IbmlError
from ibml.config.data import DataConfig, DataPluginConfig
from ibml.config.plugins.failures import format_error
from ibml.data.base import BuiltInSource, Dataset, Progress, Source, ignore_progress
from ibml.data.listing import DataError

_plugin_fingerprints: dict[str, str] = {}
"""Fingerprints that packages have given, by configuration: a study asks for each of its trials."""


def prepare_datasets(
    configs: Iterable[DataConfig],
    say: Callable[[str], None] = print,
    progress: Progress = ignore_progress,
) -> None:
    """Check data sets as a whole, and decode what is not in the cache, so that trials need not.

    Args:
        configs: The data sets; equal ones are checked once.
        say: Called with every message for the user.
        progress: Called while files are read and decoded.

    Raises:
        DataError: A data set does not exist or has samples that cannot be used.
    """
    for key, config in {config.model_dump_json(): config for config in configs}.items():
        _plugin_fingerprints.pop(key, None)
        if not isinstance(config, DataPluginConfig):
            _build_built_in_source(config).prepare(say, progress)


def load(config: DataConfig, modalities: tuple[str, ...], seed: int) -> Dataset:
    """Return the data set with these modalities, split by the seed."""
    return _build_source(config).load(modalities, seed)


def fingerprint(config: DataConfig) -> str:
    """Return a hash of the data's content, which is part of every trial's key."""
    if not isinstance(config, DataPluginConfig):
        return _build_source(config).fingerprint()
    key = config.model_dump_json()
    if key not in _plugin_fingerprints:
        _plugin_fingerprints[key] = _compute_plugin_fingerprint(config)
    return _plugin_fingerprints[key]


def describe(config: DataConfig) -> dict[str, str]:
    """Return what a trial's record says about the data: its classes, and the number of samples that are left out."""
    return {} if isinstance(config, DataPluginConfig) else _build_built_in_source(config).describe()


def _build_source(config: DataConfig) -> Source:
    made: Source = config.load_implementation()(config.typed_options)
    return made


def _build_built_in_source(config: DataConfig) -> BuiltInSource:
    source = _build_source(config)
    assert isinstance(source, BuiltInSource)
    return source


def _compute_plugin_fingerprint(config: DataPluginConfig) -> str:
    try:
        return str(_build_source(config).fingerprint())
    except IbmlError:
        raise
    except Exception as error:
        raise DataError(
            f"the data set {config.target} has no fingerprint: {format_error(error)}"
        ) from error
