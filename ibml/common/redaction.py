"""Redaction of secrets in URLs of stores and databases, and in messages about them."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, unquote_plus

HIDDEN = "***"
_PARAMETER = re.compile(r"(?<=[?&;#])([^?&;#=]*)=([^&]*)")
_SECRET_NAME = re.compile(
    r"(pass|pwd|secret|token|api_?key|credential|signature|odbc_connect)[^=]*=", re.IGNORECASE
)
_LONG, _LONG_WITH_MARKS = 4, 3
"""Minimum length of secrets that are redacted as a word: alphanumeric, or with other characters."""
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_WORD = r"(?<!\w){}(?!\w)"
_SHORT = r"""(?<=['"`]){0}(?=['"`@])|(?<=[:=]){0}(?=[@&])|(?<==){0}(?!\w)|(?<=//){0}(?=@)"""
"""Pattern of a short secret: in quotes, or between the delimiters of a URL."""
_DELIMITERS = re.compile(r"[@/?#:\[\]]")


def redact_url(url: str) -> str:
    """Replace the password, token and secret parameters of a URL by `***`.

    If a malformed URL is ambiguous, more is redacted than necessary.

    Args:
        url: URL of a store or database, or a file name.

    Returns:
        The URL to show to users.
    """
    prefix, rest = _split(url)
    user, place = _split_user(prefix, rest)
    if user is None:
        return prefix + _redact_parameters(rest)
    name, _, password = user.partition(":")
    kept = f"{_redact_parameters(name)}:" if password else ""
    return f"{prefix}{kept}{HIDDEN}@{_redact_parameters(place)}"


def redact_secrets(text: str, url: str) -> str:
    """Redact the secrets of a URL in a message of another program.

    The URL itself is replaced by its redacted form. Elsewhere a secret is redacted if it is a word
    of the text, in plain or encoded form. A short secret could be part of any sentence; it is
    redacted only in quotes or between the delimiters of a URL.

    Args:
        text: Message of the other program.
        url: URL with its secrets.

    Returns:
        The message without secrets.
    """
    prefix, rest = _split(url)
    user, _ = _split_user(prefix, rest)
    name, _, password = (user or "").partition(":")
    secrets = [password or name]
    secrets += [found[2] for found in _PARAMETER.finditer(rest) if _is_secret(found)]
    forms: set[str] = set()
    for secret in secrets:
        for form in _generate_forms(secret):
            # If a password contains a delimiter, drivers mistake a piece of it for the host or
            # port and quote that piece.
            forms |= {form, *_DELIMITERS.split(form)}
    text = text.replace(url, redact_url(url))
    for form in sorted(forms - {""}, key=len, reverse=True):
        word_length = _LONG if form.isalnum() else _LONG_WITH_MARKS
        pattern = _WORD if len(form) >= word_length else _SHORT
        text = re.sub(pattern.format(re.escape(form)), HIDDEN, text)
    return text


def _split(url: str) -> tuple[str, str]:
    """Split a URL behind `://`; the first part is empty if there is no scheme."""
    scheme, mark, rest = url.partition("://")
    if not mark:
        return "", url
    return scheme + mark, rest


def _split_user(prefix: str, rest: str) -> tuple[str | None, str]:
    """Split off the user information before the host, if it contains a secret.

    A user name alone counts as a secret for web servers, which accept tokens in this place. The
    result is the user information, or None, and the rest of the URL.
    """
    is_file = prefix.lower().startswith(("sqlite", "file:")) and rest.startswith("/")
    user, at, place = rest.rpartition("@")
    has_secret = ":" in user or prefix.lower().startswith("http")
    if at and not is_file and has_secret:
        return user, place
    return None, rest


def _is_secret(parameter: re.Match[str]) -> bool:
    return bool(_SECRET_NAME.search(unquote_plus(parameter[0])))


def _redact_parameters(text: str) -> str:
    return _PARAMETER.sub(lambda m: f"{m[1]}={HIDDEN}" if _is_secret(m) else m[0], text)


def _generate_forms(secret: str) -> set[str]:
    """Return the spellings of a secret: as given, decoded, re-encoded, encoded twice, as repr."""
    plain = unquote(secret)
    forms = [
        secret,
        plain,
        unquote_plus(secret),
        quote(plain, safe=""),
        quote(secret, safe=""),
        repr(plain)[1:-1],
    ]
    return {_ENCODED.sub(case, form) for form in forms for case in (r"\g<0>", _lower, _upper)}


def _lower(encoded: re.Match[str]) -> str:
    return encoded[0].lower()


def _upper(encoded: re.Match[str]) -> str:
    return encoded[0].upper()
