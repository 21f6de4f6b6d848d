"""Runs the examples in docstrings of `ibml.data`."""

from __future__ import annotations

import doctest

from ibml.data import base


def test_the_example_of_a_source_runs() -> None:
    failed, attempted = doctest.testmod(base)
    assert attempted > 0
    assert failed == 0
