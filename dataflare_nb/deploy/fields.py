"""Read the options of a target one by one, each with its own words for what does not hold."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from ..errors import BadOption, nearest, shown
from ..windows import microseconds

Read: TypeAlias = Callable[[Any], Any]

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?"
_SUBDOMAIN = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*"
_IMAGE = re.compile(
    r"([a-z0-9]([a-z0-9.-]*[a-z0-9])?(:\d{1,5})?/)?[a-z0-9]+([._/-]+[a-z0-9]+)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_UNITS = {"k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class Wrong(ValueError):  # noqa: N818 - reads as a word
    """What does not hold about a value."""


def pattern(expression: str, told: str, most: int = 253) -> Read:
    """Return a reader of text that fits an expression."""
    wanted = re.compile(expression)

    def read(value: Any) -> str:
        if not isinstance(value, str) or not wanted.fullmatch(value) or len(value) > most:
            raise Wrong(f"{shown(value)} is not {told}")
        return value

    return read


def optional(reader: Read) -> Read:
    """Return a reader that lets None pass."""
    return lambda value: None if value is None else reader(value)


def whole(least: int, most: int) -> Read:
    """Return a reader of whole numbers."""

    def read(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise Wrong(f"{shown(value)} is not an int")
        if not least <= value <= most:
            raise Wrong(f"{value} is not between {least} and {most}")
        return value

    return read


def number(least: float, most: float) -> Read:
    """Return a reader of numbers."""

    def read(value: Any) -> float:
        if not isinstance(value, int | float) or isinstance(value, bool):
            raise Wrong(f"{shown(value)} is not a number")
        if not least <= value <= most:
            raise Wrong(f"{value} is not between {least} and {most}")
        return float(value)

    return read


def choice(*allowed: str) -> Read:
    """Return a reader of one of some words."""

    def read(value: Any) -> str:
        if value not in allowed:
            guess = nearest(value, allowed) if isinstance(value, str) else ""
            raise Wrong(f"{shown(value)} is not {' or '.join(map(repr, allowed))}.{guess}".removesuffix("."))
        return str(value)

    return read


def flag(value: Any) -> bool:
    """Read True or False."""
    if not isinstance(value, bool):
        raise Wrong(f"{shown(value)} is not True or False")
    return value


def duration(least: str, most: str) -> Read:
    """Return a reader of durations, in milliseconds."""
    low, high = (microseconds(each, "a bound") // 1000 for each in (least, most))

    def read(value: Any) -> int:
        try:
            told = microseconds(value, "it")
        except BadOption as error:
            raise Wrong(str(error)) from None
        if told % 1000 or not low <= told // 1000 <= high:
            raise Wrong(f"{shown(value)} is not between {least} and {most}, in whole milliseconds")
        return told // 1000

    return read


def memory(least: str, most: str) -> Read:
    """Return a reader of sizes such as `"2g"`, in MiB."""

    def read(value: Any) -> int:
        mib = _mib(value)
        if mib is None:
            raise Wrong(f"{shown(value)} is not a size such as '2g' or '1536m'")
        low, high = _mib(least), _mib(most)
        assert low is not None
        assert high is not None
        if not low <= mib <= high:
            raise Wrong(f"{shown(value)} is not between {least} and {most}")
        return mib

    return read


def _mib(value: Any) -> int | None:
    found = re.fullmatch(r"(\d{1,9})\s*([kmgt])(i?b)?", value, re.IGNORECASE) if isinstance(value, str) else None
    return int(found[1]) * _UNITS[found[2].lower()] >> 20 if found is not None else None


def image(value: Any) -> str:
    """Read the name of a container image."""
    if not isinstance(value, str) or not _IMAGE.fullmatch(value) or len(value) > 512:
        raise Wrong(f"{shown(value)} is not an image such as 'registry.example/flights:1'")
    return value


def storage(value: Any) -> str:
    """Read where checkpoints go: a URI that all pods reach."""
    if not isinstance(value, str) or not re.fullmatch(r"(s3|s3p|s3a|gs|abfss?|wasbs?|hdfs|oss|file)://\S+", value):
        raise Wrong(f"{shown(value)} is not a URI such as 's3://bucket/flights' or 'file:///data/flights'")
    if re.search(r"://[^/@]*:[^/@]*@", value):
        raise Wrong("it holds a password; give that to the cluster with secrets=")
    if value.startswith("file://") and not value.startswith("file:///"):
        raise Wrong(f"{shown(value)} has a host; write 'file:///' and the path")
    return value.rstrip("/")


def mapping(key: Read, value: Read) -> Read:
    """Return a reader of a mapping, sorted by key, in which each key and value is read."""

    def read(given: Any) -> Mapping[Any, Any]:
        if not isinstance(given, Mapping):
            raise Wrong(f"{shown(given)} is not a dict")
        made: dict[Any, Any] = {}
        wrong: list[str] = []
        for name, each in given.items():
            try:
                made[key(name)] = value(each)
            except Wrong as error:
                wrong.append(f"at {shown(name)}, {error}")
        if wrong:
            raise Wrong("; ".join(wrong))
        return dict(sorted(made.items()))

    return read


def nested(kind: Any) -> Read:
    """Return a reader of an options struct, from a dict or as it is."""

    def read(given: Any) -> Any:
        if isinstance(given, kind):
            return given
        if not isinstance(given, Mapping):
            raise Wrong(f"{shown(given)} is not a {kind.__name__} or a dict of its options")
        try:
            return kind(**given)
        except (BadOption, TypeError) as error:
            # Which option it is stands before it, and the line is the same.
            raise Wrong(str(error).partition(": ")[2] or str(error)) from None

    return read


def read_all(given: Mapping[str, Any], readers: Mapping[str, Read]) -> tuple[dict[str, Any], list[str]]:
    """Return what holds, and every mistake."""
    wrong = [f"`{name}` is not an option.{nearest(str(name), readers)}" for name in given if name not in readers]
    values: dict[str, Any] = {}
    for name, reader in readers.items():
        if name in given:
            try:
                values[name] = reader(given[name])
            except Wrong as error:
                wrong.append(f"{name}: {error}")
    return values, wrong


def told(mistakes: Iterable[str]) -> str:
    """Put mistakes in one sentence."""
    return "; ".join(each.removesuffix(".") for each in mistakes)


label_name = pattern(rf"({_SUBDOMAIN}/)?{_LABEL}", "a name of a label", 316)
label_value = pattern(rf"({_LABEL})?", "a value of a label: at most 63 letters, digits, '-', '_' and '.'", 63)
dns_label = pattern(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", "a name of small letters, digits and '-', at most 63", 63)
dns_name = pattern(_SUBDOMAIN, "a name of small letters, digits, '-' and '.'")
