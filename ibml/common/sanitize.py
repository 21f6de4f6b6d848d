"""Text without the characters that change what is shown around them."""

from __future__ import annotations

import re

# Control characters besides newline and tab can rewrite a terminal, bidirectional overrides make text read as another
# one, and half of a surrogate pair cannot be written at all.
_HIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def strip_control_characters(text: str) -> str:
    """The text as far as it can be shown."""
    return _HIDDEN.sub("", text)


def is_printable(text: str) -> bool:
    """Whether all of it can be shown."""
    return not _HIDDEN.search(text)
