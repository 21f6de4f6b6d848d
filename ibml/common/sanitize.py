"""Sanitizing of text that is printed: control characters and bidirectional overrides."""

from __future__ import annotations

import re

# Control characters other than newline and tab can rewrite a terminal. Bidirectional overrides can
# disguise a text. Unpaired surrogates cannot be encoded.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def strip_control_characters(text: str) -> str:
    """Return the text without characters that are unsafe to print."""
    return _HIDDEN.sub("", text)


def is_printable(text: str) -> bool:
    """Return True if the text has no characters that are unsafe to print."""
    return not _HIDDEN.search(text)
