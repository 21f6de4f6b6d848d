"""Parameters that population-based training may change during training."""

from __future__ import annotations

from ibml.common.errors import Problem
from ibml.config.search.space import ConstantParameter
from ibml.config.trial import flatten
from ibml.search.space import Dimension, Space

_MUTABLE = ("optimizer.", "method.bio.", "method.tcm.")


def check_mutable(space: Space) -> list[Problem]:
    """Check that every dimension can be changed during training.

    A constant counts only if its conditions depend on a searched parameter, since it is then
    switched on and off.

    Args:
        space: Search space of a population.

    Returns:
        One problem per dimension that cannot be changed.
    """
    problems: list[Problem] = []
    varying: set[str] = set()
    for dimension in space.dimensions:
        is_constant = isinstance(dimension.parameter, ConstantParameter)
        if is_constant and not varying & set(dimension.parameter.when):
            continue
        varying.add(dimension.path)
        for path in _list_paths(dimension):
            if not path.startswith(_MUTABLE) or path.endswith(".type"):
                problems.append(
                    Problem(
                        dimension.source,
                        f"pbt changes values during training, and {path} {_explain(path)}; it can"
                        " change optimizer.* (except the type), method.bio.* and method.tcm.*",
                    )
                )
                break
    return problems


def _list_paths(dimension: Dimension) -> list[str]:
    """Return the paths that the values of a dimension set."""
    paths: dict[str, None] = {}
    for value in dimension.list_examples():
        paths.update(dict.fromkeys(flatten({dimension.path: value})))
    return list(paths)


def _explain(path: str) -> str:
    if path == "optimizer.type":
        return "decides which state the optimizer has"
    if path.startswith(("fusion.", "encoders.")):
        return "decides which weights the model has"
    if path.startswith("data."):
        return "decides which data is used"
    return "is fixed for the whole training"
