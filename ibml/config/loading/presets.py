"""Presets: configurations of trials that ship with the data sets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ibml.config.components.registry import DATASETS

_PACKAGE = Path(__file__).parents[2]
DATASET_PRESET = "preset"
"""Stem of the preset that has its data set's name; every other .yaml file in the folder has its own stem as name."""


@cache
def find_presets() -> dict[str, Path]:
    """Return the files of all presets by their names, sorted."""
    found = {}
    for dataset, target in DATASETS.items():
        module = target.partition(":")[0]
        folder = _PACKAGE.joinpath(*module.split(".")[1:-1])
        for path in folder.glob("*.yaml"):
            found[dataset if path.stem == DATASET_PRESET else path.stem] = path
    return dict(sorted(found.items()))
