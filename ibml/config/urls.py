"""Addresses of stores and databases, without the secrets that may be in them."""

from __future__ import annotations

import re
from urllib.parse import quote, unquote, unquote_plus

HIDDEN = "***"
_PARAMETER = re.compile(r"(?<=[?&;#])([^?&;#=]*)=([^&]*)")
_SECRET_NAME = re.compile(r"(pass|pwd|secret|token|api_?key|credential|signature|odbc_connect)[^=]*=", re.IGNORECASE)
_DELIMITERS = re.compile(r"[@/?#:\[\]]")


def shown_url(url: str) -> str:
    """The URL without password, token, and secret parameters. Where one that is not written as it should be leaves
    open what is a password, rather too much is left out."""
    prefix, rest = _split(url)
    user, place = _user(prefix, rest)
    if user is None:
        return prefix + _without_parameters(rest)
    name, _, password = user.partition(":")
    kept = f"{_without_parameters(name)}:" if password else ""
    return f"{prefix}{kept}{HIDDEN}@{_without_parameters(place)}"


def without_secrets(text: str, url: str) -> str:
    """What another program says about a URL, without the URL's secrets in any form."""
    prefix, rest = _split(url)
    user, _ = _user(prefix, rest)
    name, _, password = (user or "").partition(":")
    secrets = [password or name, *(m[2] for m in _PARAMETER.finditer(rest) if _is_secret(m))]
    forms = {form for secret in secrets for form in _forms(secret) if form}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, HIDDEN)
    for piece in {piece for form in forms for piece in _DELIMITERS.split(form) if piece} - forms:
        # of a password with a delimiter in it, drivers take a piece for the host or the port and name it
        text = re.sub(rf"(?<!\w){re.escape(piece)}(?!\w)", HIDDEN, text)
    return text


def _split(url: str) -> tuple[str, str]:
    scheme, mark, rest = url.partition("://")
    return (scheme + mark, rest) if mark else ("", url)


def _user(prefix: str, rest: str) -> tuple[str | None, str]:
    """What stands before the host, if there is a secret in it, and what follows. A name alone is one to a web server,
    which takes tokens so."""
    of_file = prefix.lower().startswith(("sqlite", "file:")) and rest.startswith("/")
    user, at, place = rest.rpartition("@")
    secret = at and not of_file and (":" in user or prefix.lower().startswith("http"))
    return (user, place) if secret else (None, rest)


def _is_secret(parameter: re.Match[str]) -> bool:
    return bool(_SECRET_NAME.search(unquote_plus(parameter[0])))


def _without_parameters(text: str) -> str:
    return _PARAMETER.sub(lambda m: f"{m[1]}={HIDDEN}" if _is_secret(m) else m[0], text)


def _forms(secret: str) -> list[str]:
    """As it was written, decoded, encoded anew, and as Python shows it."""
    plain = unquote(secret)
    return [secret, plain, unquote_plus(secret), quote(plain, safe=""), repr(plain)[1:-1]]
