"""A check that tests share: nothing in a result is not a number."""

from __future__ import annotations

import math
from dataclasses import fields, is_dataclass


def assert_finite(value: object) -> None:
    if is_dataclass(value):
        for field in fields(value):
            assert_finite(getattr(value, field.name))
    elif isinstance(value, dict | list | tuple):
        for item in value.values() if isinstance(value, dict) else value:
            assert_finite(item)
    elif isinstance(value, float):
        assert math.isfinite(value), value
