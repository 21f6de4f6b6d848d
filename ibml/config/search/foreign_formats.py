"""Translation of search spaces in the format of other tools, for error messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ibml.common.yaml.documents import KeyPath, dump_inline

_OWN = ("low", "high", "log", "step", "choices", "value", "when")
_FOREIGN = {
    **dict.fromkeys(("values", "choice", "options", "categories", "grid_search"), "choices"),
    **dict.fromkeys(("min", "minimum", "lower", "lower_bound"), "low"),
    **dict.fromkeys(("max", "maximum", "upper", "upper_bound"), "high"),
    **dict.fromkeys(("q", "quantization"), "step"),
    **dict.fromkeys(("constant", "default"), "value"),
    **dict.fromkeys(("distribution", "type", "scale", "prior", "probabilities", "mu", "sigma"), ""),
}
"""Key of Weights & Biases, Optuna, Ray Tune and similar tools -> ibml's key; empty if none."""
_SCALES = ("distribution", "type", "scale", "prior")
_FILE_KEYS = {
    "metric": "objectives",
    "goal": "direction",
    "run_cap": "trials",
    "n_trials": "trials",
    "num_samples": "trials",
    "early_terminate": "scheduler",
    "pruner": "scheduler",
}
"""Top-level key of other tools -> ibml's key."""
_FORMS = "{low: ..., high: ...}, {choices: [...]} or {value: ...}"


def explain_parameter(parameter: Any) -> str:
    """Return the correct notation of a parameter in another tool's format.

    Args:
        parameter: The parameter as YAML reads it.

    Returns:
        A message; empty if the parameter may be in ibml's format.
    """
    if isinstance(parameter, list | tuple):
        return _explain_list(list(parameter))
    if not isinstance(parameter, Mapping):
        if isinstance(parameter, str) or parameter is None:
            return f"a parameter is {_FORMS}"
        return f"a parameter is {_FORMS}; for a constant write {dump_inline({'value': parameter})}"
    keys = [str(key) for key in parameter]
    foreign = [repr(key) for key in keys if key in _FOREIGN]
    if len(foreign) == 1:
        return f"{foreign[0]} is not a key of a parameter; write {_translate(parameter)}"
    if foreign:
        named = f"{', '.join(foreign[:-1])} and {foreign[-1]}"
        return f"{named} are not keys of a parameter; write {_translate(parameter)}"
    has_own_keys = bool(set(keys) & set(_OWN))
    is_nested = bool(keys) and all(isinstance(part, Mapping) for part in parameter.values())
    if is_nested and not has_own_keys:
        path, part = _find_first_nested(parameter)
        return (
            "nested parameters are written as dotted paths, for instance"
            f" ...{path}: {_translate(part)}"
        )
    return ""


def _find_first_nested(parameter: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    """Return the path and the value of the first parameter inside nested mappings."""
    steps: list[str] = []
    while not set(parameter) & {*_OWN, *_FOREIGN}:
        step, inner = next(iter(parameter.items()), ("", None))
        if not isinstance(inner, Mapping):
            break
        parameter = inner
        steps += [] if step == "parameters" else [str(step)]
    return ".".join(steps), parameter


def translate_key(path: KeyPath, value: Any) -> str:
    """Translate a key of another tool's search file.

    Args:
        path: Path of the key in the file.
        value: Value of the key.

    Returns:
        ibml's key; empty if the key is not known.
    """
    if path == ("method",) and isinstance(value, str):
        return "sampler"
    if path[0] == "objectives" and path[-1] == "name":
        return "metric"
    return _FILE_KEYS.get(str(path[-1]), "")


def explain_bounds(condition: Mapping[str, Any]) -> str:
    """Return the correct notation of the bounds of a condition in another tool's format.

    Args:
        condition: The condition as YAML reads it.

    Returns:
        A message; empty if the bounds may be in ibml's format.
    """
    foreign: dict[str, Any] = {}
    own: dict[str, Any] = {}
    for key, value in condition.items():
        if key in ("low", "high"):
            own[key] = value
        elif _FOREIGN.get(key) in ("low", "high"):
            foreign[_FOREIGN[key]] = value
    if not foreign:
        return ""
    return f"bounds are 'low' and 'high'; write {dump_inline(foreign | own)}"


def _explain_list(values: list[Any]) -> str:
    text = f"a list of values is {dump_inline({'choices': values})}"
    if len(values) == 2 and all(_is_number(value) for value in values):
        bounds = {"low": values[0], "high": values[1]}
        text += f", and a range between two numbers is {dump_inline(bounds)}"
    return text


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _translate(parameter: Mapping[str, Any]) -> str:
    """Format a parameter of another tool in ibml's format, as far as possible."""
    made: dict[str, Any] = {}
    for key, value in parameter.items():
        own = _FOREIGN.get(key, key)
        if own:
            made.setdefault(own, value)
        elif key in _SCALES and "log" in str(value).casefold() and "choices" not in parameter:
            made["log"] = True
    if "choices" in made:
        made = {key: made[key] for key in ("choices", "when") if key in made}
    elif {"low", "high"} & made.keys():
        made.pop("value", None)
    made = {key: made[key] for key in _OWN if key in made}
    if {"low", "high"} <= made.keys() or {"choices", "value"} & made.keys():
        return dump_inline(made)
    return _FORMS
