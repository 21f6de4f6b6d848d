"""The examples in the docstrings of methods, models and training run."""

from __future__ import annotations

import doctest
import importlib
import pkgutil

import pytest

import ibml.methods
import ibml.models
import ibml.training


def find_examples() -> dict[str, doctest.DocTest]:
    finder = doctest.DocTestFinder(exclude_empty=True)
    found = {}
    for package in (ibml.methods, ibml.models, ibml.training):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            for example in finder.find(importlib.import_module(module.name)):
                if example.examples:
                    found[example.name] = example
    return found


EXAMPLES = find_examples()


def test_base_classes_have_examples() -> None:
    assert {
        "ibml.methods.base.Method",
        "ibml.models.fusion.Fusion",
        "ibml.models.encoders.build_encoder",
        "ibml.training.measures.base.MeasuredModel",
        "ibml.training.metrics.base.Predictions",
    } <= EXAMPLES.keys()


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_the_example_runs(name: str) -> None:
    example = EXAMPLES[name]
    # plain globals: an example must import everything that it uses
    example.globs = {"__name__": "example"}
    failures = doctest.DocTestRunner().run(example).failed
    assert failures == 0
