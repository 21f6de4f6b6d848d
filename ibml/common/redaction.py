"""Addresses of stores and databases, without the secrets that may be in them."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, unquote_plus

HIDDEN = "***"
_PARAMETER = re.compile(r"(?<=[?&;#])([^?&;#=]*)=([^&]*)")
_SECRET_NAME = re.compile(
    r"(pass|pwd|secret|token|api_?key|credential|signature|odbc_connect)[^=]*=", re.IGNORECASE
)
_LONG, _LONG_WITH_MARKS = 4, 3
"""The length from which on a secret is looked for as a word: of letters and digits alone, or with others."""
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_WORD = r"(?<!\w){}(?!\w)"
_SHORT = r"""(?<=['"`]){0}(?=['"`@])|(?<=[:=]){0}(?=[@&])|(?<==){0}(?!\w)|(?<=//){0}(?=@)"""
"""A short secret that is quoted, or a part of a URL."""
_DELIMITERS = re.compile(r"[@/?#:\[\]]")


def redact_url(url: str) -> str:
    """The URL without password, token, and secret parameters. Where one that is not written as it should be leaves
    open what is a password, rather too much is left out."""
    prefix, rest = _split(url)
    user, place = _split_user(prefix, rest)
    if user is None:
        return prefix + _redact_parameters(rest)
    name, _, password = user.partition(":")
    kept = f"{_redact_parameters(name)}:" if password else ""
    return f"{prefix}{kept}{HIDDEN}@{_redact_parameters(place)}"


def redact_secrets(text: str, url: str) -> str:
    """Mask the secrets of a URL in what another program says about it.

    URLs in the text are masked as such. Elsewhere a secret is masked where it stands as a word, in any form; a short
    one, which could be a part of any sentence, only where it is quoted or between the delimiters of a URL.

    Args:
        text: The words of the other program.
        url: The URL with its secrets.
    """
    prefix, rest = _split(url)
    user, _ = _split_user(prefix, rest)
    name, _, password = (user or "").partition(":")
    secrets = [password or name, *(m[2] for m in _PARAMETER.finditer(rest) if _is_secret(m))]
    forms = {form for secret in secrets for form in _generate_forms(secret) if form}
    # of a password with a delimiter in it, drivers take a piece for the host or the port and name it
    forms |= {piece for form in forms for piece in _DELIMITERS.split(form) if piece}
    text = text.replace(url, redact_url(url))
    for form in sorted(forms, key=len, reverse=True):
        pattern = _WORD if len(form) >= (_LONG if form.isalnum() else _LONG_WITH_MARKS) else _SHORT
        text = re.sub(pattern.format(re.escape(form)), HIDDEN, text)
    return text


def _split(url: str) -> tuple[str, str]:
    scheme, mark, rest = url.partition("://")
    return (scheme + mark, rest) if mark else ("", url)


def _split_user(prefix: str, rest: str) -> tuple[str | None, str]:
    """What stands before the host, if there is a secret in it, and what follows. A name alone is one to a web server,
    which takes tokens so."""
    of_file = prefix.lower().startswith(("sqlite", "file:")) and rest.startswith("/")
    user, at, place = rest.rpartition("@")
    secret = at and not of_file and (":" in user or prefix.lower().startswith("http"))
    return (user, place) if secret else (None, rest)


def _is_secret(parameter: re.Match[str]) -> bool:
    return bool(_SECRET_NAME.search(unquote_plus(parameter[0])))


def _redact_parameters(text: str) -> str:
    return _PARAMETER.sub(lambda m: f"{m[1]}={HIDDEN}" if _is_secret(m) else m[0], text)


def _generate_forms(secret: str) -> set[str]:
    """The secret as it was written, decoded, encoded anew, encoded twice, and as Python shows it."""
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
