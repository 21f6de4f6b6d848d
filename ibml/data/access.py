"""Access to the data of a configuration: its splits, its fingerprint and its preparation."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from ibml.common.errors import IbmlError
from ibml.config.data import DataConfig, DataPluginConfig
from ibml.config.plugins.failures import format_error
from ibml.data.base import BuiltInSource, Dataset, Progress, Source, ignore_progress
from ibml.data.listing import DataError

_plugin_fingerprints: dict[str, str] = {}
"""Fingerprints of plug-in data sets by configuration, since a study asks for each of its trials."""


def prepare_datasets(
    configs: Iterable[DataConfig],
    say: Callable[[str], None] = print,
    progress: Progress = ignore_progress,
) -> None:
    """Check data sets as a whole and decode what is not in the cache, so that trials need not.

    Args:
        configs: Configurations of the data sets; equal ones are checked once.
        say: Called with every message for the user.
        progress: Called while files are read and decoded.

    Raises:
        DataError: A data set does not exist or has samples that cannot be used.
    """
    unique = {config.model_dump_json(): config for config in configs}
    for key, config in unique.items():
        _plugin_fingerprints.pop(key, None)
        if not isinstance(config, DataPluginConfig):
            _build_built_in_source(config).prepare(say, progress)


def load(config: DataConfig, modalities: tuple[str, ...], seed: int) -> Dataset:
    """Load the three splits of a data set.

    Args:
        config: Configuration of the data set.
        modalities: Modalities to load.
        seed: Seed of the trial, which determines random splits.

    Returns:
        The splits, with exactly these modalities.

    Raises:
        DataError: The data set does not exist or has samples that cannot be used.
    """
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
    """Return the entries of a trial's record about its data: classes, and samples left out."""
    if isinstance(config, DataPluginConfig):
        return {}
    return _build_built_in_source(config).describe()


def _build_source(config: DataConfig) -> Source:
    source: Source = config.load_implementation()(config.typed_options)
    return source


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
        reason = format_error(error)
        message = f"the fingerprint of the data set {config.target} failed: {reason}"
        raise DataError(message) from error
