"""Which parameters can change while a trial trains."""

from __future__ import annotations

from ibml.common.errors import Problem
from ibml.config.search.space import ConstantParameter
from ibml.config.trial import flatten
from ibml.search.space import Dimension, Space

_MUTABLE = ("optimizer.", "method.bio.", "method.tcm.")


def check_mutable(space: Space) -> list[Problem]:
    """The dimensions that would change what cannot be changed in the middle of a training. A constant is one of them
    where conditions switch it on and off."""
    problems, varying = [], set[str]()
    for dimension in space.dimensions:
        if isinstance(dimension.parameter, ConstantParameter) and not varying & set(
            dimension.parameter.when
        ):
            continue
        varying.add(dimension.path)
        for path in _list_paths(dimension):
            if not path.startswith(_MUTABLE) or path.endswith(".type"):
                message = f"pbt changes values while a member trains, and {path} {_explain(path)}; it can change"
                message += " optimizer.* (but the type), method.bio.* and method.tcm.*"
                problems.append(Problem(dimension.source, message))
                break
    return problems


def _list_paths(dimension: Dimension) -> list[str]:
    """The paths that the values of a dimension set."""
    return list(
        dict.fromkeys(
            path for value in dimension.list_examples() for path in flatten({dimension.path: value})
        )
    )


def _explain(path: str) -> str:
    if path == "optimizer.type":
        return "decides what its state is"
    if path.startswith(("fusion.", "encoders.")):
        return "decides which weights the model has"
    if path.startswith("data."):
        return "decides what the data is"
    return "holds for the whole training"
