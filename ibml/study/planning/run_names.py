"""Names of studies with overrides from the command line: `mine+seeds=2+trainer.epochs=5`.

The name contains the overrides, so that the study of the file keeps its record. `-o name=...` sets
another name.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from pathlib import PurePath
from typing import Any

from ibml.common.errors import ConfigError
from ibml.common.yaml.documents import parse_value
from ibml.config.loading.layers import Setting

_LONGEST = 80
"""Maximum number of characters after the study's name."""
_LONGEST_OVERRIDE = 50
_LONGEST_PATH, _LONGEST_VALUE = 40, 24
_WHOLE = 10**15
_PLAIN = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
"""Text that needs no quoting in a shell and is safe as the name of a directory."""


def format_run_name(study: str, overrides: Iterable[Setting]) -> str:
    """Return the name of a study with overrides.

    Args:
        study: Name of the study.
        overrides: Overrides; their order does not matter.

    Returns:
        The name.
    """
    parts = sorted({setting.path: _format_override(setting) for setting in overrides}.values())
    if len("+".join(parts)) > _LONGEST:
        first, rest = parts[0], parts[1:]
        parts = [first, f"{len(rest)}-more-{_digest(rest)}"]
    return "+".join([study, *parts])


def _format_override(setting: Setting) -> str:
    """Return `path=value`; a part of the hash is added if the text does not determine the value."""
    path = ".".join(setting.path)
    text = _format_value(setting.value)
    whole = f"{path}={text}"
    is_plain = len(whole) <= _LONGEST_OVERRIDE and _PLAIN.fullmatch(path)
    if is_plain and _is_read_back(text, setting.value):
        return whole
    shown = [_make_plain(path)[-_LONGEST_PATH:].lstrip("-."), _make_plain(text)[:_LONGEST_VALUE]]
    return f"{'='.join(filter(None, shown))}-{_digest([path, setting.value])}"


def _format_value(value: Any) -> str:
    if isinstance(value, str):
        return PurePath(value).name
    if isinstance(value, list):
        return "-".join(map(_format_value, value))
    if isinstance(value, float) and value.is_integer() and abs(value) < _WHOLE:
        value = int(value)  # a field of numbers takes 1 and 1.0 alike
    return json.dumps(value).replace("e+", "e")


def _is_read_back(text: str, value: Any) -> bool:
    """Return True if a text determines the value, and does not look like the name of a file."""
    if not _PLAIN.fullmatch(text) or text.endswith((".yaml", ".yml", ".html")):
        return False
    try:
        known = parse_value(text, "").data["value"]
    except ConfigError:
        return False
    same_kind = type(known) is type(value) or {type(known), type(value)} == {int, float}
    return same_kind and bool(known == value)


def _make_plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", text).strip("-.")


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:8]
