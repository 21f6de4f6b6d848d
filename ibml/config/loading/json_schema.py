"""JSON schemas of the YAML files, for completion and validation in editors."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel

from ibml.common.errors import ConfigError, Problem, SourceLocation, format_suggestion
from ibml.common.yaml import documents
from ibml.config.loading.file_kinds import SPACE, STUDY, TRIAL, find_kind
from ibml.config.search.space import SearchSpaceConfig
from ibml.config.study.study import StudyConfig
from ibml.config.trial import TrialConfig

SchemaKind = Literal["ablation", "trial", "search"]

_MODELS: dict[SchemaKind, type[BaseModel]] = {
    "ablation": StudyConfig,
    "trial": TrialConfig,
    "search": SearchSpaceConfig,
}


_KIND_OF_FILE: dict[str, SchemaKind] = {
    STUDY.noun: "ablation",
    TRIAL.noun: "trial",
    SPACE.noun: "search",
}
_SYNONYMS: dict[str, SchemaKind] = {
    "study": "ablation",
    "space": "search",
    "config": "trial",
    "preset": "trial",
}


def find_schema_kind(name: str) -> SchemaKind:
    """Validate the name of a kind of file.

    Args:
        name: Name given by the user.

    Returns:
        The kind.

    Raises:
        ConfigError: There is no such kind. For the name of a file, the message names its kind.
    """
    known: tuple[SchemaKind, ...] = get_args(SchemaKind)
    for kind in known:
        if name == kind:
            return kind
    hint = format_suggestion(_SYNONYMS.get(name, name), known)
    message = f"{name!r} is not a kind of file{hint}"
    if Path(name).is_file():
        found = find_kind(documents.read(Path(name)).data)
        wanted = _KIND_OF_FILE.get(found.noun) if found else None
        message = (
            f"{name!r} is {found.noun}; its schema is: ibml schema {wanted}"
            if found and wanted
            else message
        )
    raise ConfigError([Problem(SourceLocation("schema"), message)])


def build_schema(kind: SchemaKind) -> dict[str, Any]:
    """Build the schema of a kind of file (JSON Schema 2020-12).

    The schema includes the dotted paths of overrides of a trial's configuration.

    Args:
        kind: The kind of file.

    Returns:
        The schema.
    """
    made = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **_MODELS[kind].model_json_schema(),
    }
    if kind == "trial":
        return made
    trial = TrialConfig.model_json_schema()
    paths = _collect_paths(trial, trial["$defs"])
    definitions = made["$defs"] = {**made.get("$defs", {}), **trial["$defs"]}
    if kind == "search":
        made["properties"]["parameters"]["propertyNames"] = {
            "anyOf": [
                {"enum": sorted(paths)},
                {"pattern": r"^(encoders|data\.columns|(data|method|fusion)\.options)\."},
            ]
        }
        return made
    definitions["Overrides"] = {"type": ["object", "null"], "properties": paths}
    overrides = {"$ref": "#/$defs/Overrides"}
    made["properties"]["overrides"] = overrides
    made["properties"]["datasets"]["anyOf"][0]["additionalProperties"] = overrides
    definitions["ArmsDesign"]["properties"]["arms"]["additionalProperties"] = overrides
    definitions["OneFactorDesign"]["properties"]["factors"]["properties"] = {
        path: {"type": "array", "items": value} for path, value in paths.items()
    }
    return made


def _collect_paths(
    node: dict[str, Any], definitions: dict[str, Any], prefix: str = ""
) -> dict[str, Any]:
    """Return the schema of each dotted path, over all types of the components."""
    if "$ref" in node:
        return _collect_paths(definitions[node["$ref"].rpartition("/")[2]], definitions, prefix)
    found: dict[str, Any] = {}
    for option in node.get("oneOf", node.get("anyOf", ())):
        for path, value in _collect_paths(option, definitions, prefix).items():
            known = found.get(path)
            found[path] = value if known is None else _merge_schemas(known, value)
    for name, value in node.get("properties", {}).items():
        below = _collect_paths(value, definitions, f"{prefix}{name}.")
        found |= below or {f"{prefix}{name}": value}
    return found


def _merge_schemas(first: dict[str, Any], second: dict[str, Any]) -> dict[str, Any]:
    """Merge two schemas of one path; schemas that differ only in the description are equal."""
    options = [*first.get("anyOf", [first])]
    known = [_drop_description(option) for option in options]
    if _drop_description(second) in known:
        return first
    return {"anyOf": [*options, second]}


def _drop_description(node: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in node.items() if key != "description"}
