"""Every data set of the registry has all its parts."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import astuple

import pytest

from ibml.common.imports import load_object
from ibml.config.components.registry import DATASETS
from ibml.config.data import DATASET_CONFIGS, PREPARATIONS
from ibml.config.datasets import BaseDataConfig, FilesConfig
from ibml.config.descriptions import get_field_descriptions
from ibml.config.loading.presets import find_presets
from ibml.config.preprocessing import Preprocessing
from ibml.data.base import BuiltInSource
from ibml.study.planning.plan import load_trial
from tests.data.miniatures import SHAPES, WRITERS


def is_own(kind: type[BaseDataConfig]) -> bool:
    """Return True for users' own files, which have no preset and no miniature."""
    return "root" in kind.model_fields and kind.model_fields["root"].is_required()


SHIPPED = [name for name, kind in DATASET_CONFIGS.items() if not is_own(kind)]
IN_FILES = [name for name, kind in DATASET_CONFIGS.items() if issubclass(kind, FilesConfig)]


@pytest.mark.parametrize("name", DATASET_CONFIGS)
def test_a_data_set_is_in_the_catalogue_and_names_what_reads_it(name: str) -> None:
    kind = DATASET_CONFIGS[name]
    assert all(astuple(kind.about))
    assert kind.__doc__ not in ("", BaseDataConfig.__doc__, FilesConfig.__doc__)
    assert issubclass(load_object(kind.implementation), BuiltInSource)


@pytest.mark.parametrize("name", DATASET_CONFIGS)
def test_every_field_is_described(name: str) -> None:
    kind = DATASET_CONFIGS[name]
    parts = [
        type(field.default)
        for field in kind.model_fields.values()
        if isinstance(field.default, Preprocessing)
    ]
    for model in (kind, *parts):
        assert set(get_field_descriptions(model)) == set(model.model_fields)


@pytest.mark.parametrize("name", IN_FILES)
def test_a_data_set_in_files_has_a_layout(name: str) -> None:
    kind = DATASET_CONFIGS[name]
    assert issubclass(kind, FilesConfig)
    assert callable(load_object(kind.layout))


@pytest.mark.parametrize("name", PREPARATIONS)
def test_what_prepares_a_data_set_is_there(name: str) -> None:
    assert callable(load_object(PREPARATIONS[name]))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_data_set_has_a_preset(name: str) -> None:
    assert load_trial(name, []).data.type == name


@pytest.mark.parametrize("name", find_presets())
def test_a_preset_is_named_by_its_data_set(name: str) -> None:
    assert load_trial(name, []).data.type == name.removesuffix("_small")


def test_presets_have_the_names_that_users_write() -> None:
    small = {"cremad_small", "food101_small", "mnist3d_small"}
    assert set(find_presets()) == {*SHIPPED, *small}


def test_a_data_set_in_files_has_a_miniature() -> None:
    assert list(WRITERS) == [name for name in IN_FILES if name in SHIPPED]
    assert set(SHAPES) == set(WRITERS)


def test_configurations_import_no_array_library() -> None:
    modules = [target.partition(":")[0] for target in DATASETS.values()]
    libraries = {"numpy", "torch", "ray", "mlflow"}
    code = f"import sys, {', '.join(modules)}; print({libraries} & {{*sys.modules}})"
    assert (
        subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True
        ).stdout
        == "set()\n"
    )
