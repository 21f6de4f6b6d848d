"""How other tools write search spaces, so that a space written for them is answered with ibml's own words."""

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
"""Keys of Weights & Biases, Optuna, Ray Tune and their like -> ibml's key, or nothing where ibml has no such key."""
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
"""Keys of a whole search -> ibml's."""
_FORMS = "{low: ..., high: ...}, {choices: [...]} or {value: ...}"


def explain_parameter(parameter: Any) -> str:
    """Return how a parameter that is not in ibml's form is written; empty for one that may be."""
    if isinstance(parameter, list | tuple):
        return _explain_list(list(parameter))
    if not isinstance(parameter, Mapping):
        if isinstance(parameter, str) or parameter is None:
            return f"a parameter is {_FORMS}"
        return f"a parameter is {_FORMS}; for a constant write {dump_inline({'value': parameter})}"
    keys = [str(key) for key in parameter]
    foreign = [key for key in keys if key in _FOREIGN]
    if foreign:
        named = " and ".join(filter(None, [", ".join(map(repr, foreign[:-1])), repr(foreign[-1])]))
        what = "is no key" if len(foreign) == 1 else "are no keys"
        return f"{named} {what} of a parameter; write {_translate(parameter)}"
    if (
        keys
        and not set(keys) & set(_OWN)
        and all(isinstance(part, Mapping) for part in parameter.values())
    ):
        path, part = _find_first_nested(parameter)
        return f"nested parameters are written as dotted paths, for instance ...{path}: {_translate(part)}"
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
    """Return ibml's word for a key of the file of a search in another tool's form; empty for any other key."""
    if path == ("method",) and isinstance(value, str):
        return "sampler"
    if path[0] == "objectives" and path[-1] == "name":
        return "metric"
    return _FILE_KEYS.get(str(path[-1]), "")


def explain_bounds(condition: Mapping[str, Any]) -> str:
    """Return how the bounds of a condition are written; empty for those that may be in ibml's form."""
    found = {
        _FOREIGN[key]: value
        for key, value in condition.items()
        if _FOREIGN.get(key) in ("low", "high")
    }
    own = {key: value for key, value in condition.items() if key in ("low", "high")}
    return f"bounds are 'low' and 'high'; write {dump_inline({**found, **own})}" if found else ""


def _explain_list(values: list[Any]) -> str:
    text = f"a list of values is {dump_inline({'choices': values})}"
    if len(values) == 2 and all(
        isinstance(value, int | float) and not isinstance(value, bool) for value in values
    ):
        text += f", and a range between two numbers is {dump_inline({'low': values[0], 'high': values[1]})}"
    return text


def _translate(parameter: Mapping[str, Any]) -> str:
    """Write a parameter of another tool in ibml's form, as far as it has one."""
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
    return (
        dump_inline(made)
        if {"low", "high"} <= made.keys() or {"choices", "value"} & made.keys()
        else _FORMS
    )
