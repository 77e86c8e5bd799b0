"""Tell a secret that is named from one that is written out."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

PREFIX = "env:"
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SECRET = re.compile(
    r"passw(or)?d|passphrase|secret|token|credential|(api|access|private|account|signing)[_.-]?key|sasl[_.-]?jaas",
    re.IGNORECASE,
)
_IN_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/@\s:]*:[^/@\s]+@")


def references(value: Any) -> Iterator[str]:
    """Name the environment variables that options ask for by `env:NAME`, at any depth."""
    match value:
        case str() if value.startswith(PREFIX) and VARIABLE.fullmatch(value.removeprefix(PREFIX)):
            yield value.removeprefix(PREFIX)
        case Mapping():
            for each in value.values():
                yield from references(each)
        case list() | tuple():
            for each in value:
                yield from references(each)


def written_out(options: Mapping[str, Any], path: str = "") -> Iterator[str]:
    """Name each option that holds a secret itself, by its path; the secret is never told.

    >>> list(written_out({"user": "me", "sasl": {"password": "hunter2"}, "token": "env:TOKEN"}))
    ['sasl.password']
    """
    for name, value in options.items():
        yield from _in(f"{path}{name}", value, bool(_SECRET.search(str(name))))


def _in(path: str, value: Any, secret: bool) -> Iterator[str]:
    match value:
        case Mapping():
            for name, each in value.items():
                yield from _in(f"{path}.{name}", each, secret or bool(_SECRET.search(str(name))))
        case str():
            named = any(True for _ in references(value))
            if _IN_URL.search(value) or (secret and value and not named):
                yield path
        case Sequence():
            for number, each in enumerate(value):
                yield from _in(f"{path}[{number}]", each, secret)


def looks_secret(name: str) -> bool:
    """Tell whether a variable of that name holds what nobody should read."""
    return bool(_SECRET.search(name))
