"""Presets: trial configurations shipped with the data sets."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from ibml.config.components.registry import DATASETS

_PACKAGE = Path(__file__).parents[2]
DATASET_PRESET = "preset"
"""Stem of the preset named like its data set; other .yaml files are presets named by their stem."""


@cache
def find_presets() -> dict[str, Path]:
    """Find all presets: name -> file, sorted by name."""
    found = {}
    for dataset, target in DATASETS.items():
        module = target.partition(":")[0]
        folder = _PACKAGE.joinpath(*module.split(".")[1:-1])
        for path in folder.glob("*.yaml"):
            name = dataset if path.stem == DATASET_PRESET else path.stem
            found[name] = path
    return dict(sorted(found.items()))
