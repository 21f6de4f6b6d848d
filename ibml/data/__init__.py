"""Data sets: `load` gives the splits of a configuration, `fingerprint` names the data's content."""

from __future__ import annotations

from ibml.config.data import DataConfig
from ibml.data.base import Dataset, Split
from ibml.data.embedded import load_mfeat, mfeat_fingerprint

__all__ = ["Dataset", "Split", "fingerprint", "load"]


def load(config: DataConfig, modalities: tuple[str, ...], seed: int) -> Dataset:
    """The data set with the given modalities, split by the seed."""
    return load_mfeat(config, modalities, seed)


def fingerprint(config: DataConfig) -> str:
    """A hash of the data's content, part of every trial's key."""
    return mfeat_fingerprint()
