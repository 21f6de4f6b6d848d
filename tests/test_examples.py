"""Examples in the docstrings of the public API run as written."""

from __future__ import annotations

import doctest
import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

import ibml
from ibml.common import errors
from tests.conftest import ROOT
from tests.support.stores import EMPTY_STORE

# The docstring of TrialConfig is the description of the JSON schema; `ibml` has its example.
WITHOUT_EXAMPLE = ("__version__", "TrialConfig")
DOCUMENTED = {name: getattr(ibml, name) for name in ibml.__all__ if name not in WITHOUT_EXAMPLE}
OTHERS = {"ibml": ibml, "format_suggestion": errors.format_suggestion}


@pytest.fixture(scope="module", autouse=True)
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Working folder with the shipped studies, in which `ablations/smoke.yaml` was run."""
    folder = tmp_path_factory.mktemp("examples")
    shutil.copytree(ROOT / "ablations", folder / "ablations", ignore=shutil.ignore_patterns("*.md"))
    EMPTY_STORE.copy_to(folder / "mlflow.db", folder)
    with pytest.MonkeyPatch.context() as patch:
        for variable in ("MLFLOW_TRACKING_URI", "OPTUNA_STORAGE", "IBML_CHECKPOINTS"):
            patch.delenv(variable, raising=False)
        patch.chdir(folder)
        ibml.ablate("ablations/smoke.yaml", backend="local", workers=1)
        yield folder


@pytest.mark.parametrize("name", [*DOCUMENTED, *OTHERS])
def test_the_examples_of_a_public_name_run(name: str) -> None:
    """The docstring has examples, and they give the results that it shows."""
    documented = {**DOCUMENTED, **OTHERS}[name]
    (found,) = doctest.DocTestFinder(recurse=False).find(documented, name, globs={})
    assert found.examples, f"{name} has no example"
    report = io.StringIO()
    result = doctest.DocTestRunner().run(found, out=report.write)
    assert result.failed == 0, report.getvalue()
