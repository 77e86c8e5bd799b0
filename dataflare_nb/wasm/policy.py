"""What a plugin may do, and how much: written by the user, checked as a whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any, TypeVar

import msgspec

from ..errors import BadOption, WasmConfiguration, listing, nearest, shown
from ..windows import microseconds
from .folders import Folder
from .hosts import HostPattern

MOST_MEMORY = (2 << 30) - 65536
"""Addresses of a guest are non-negative 32-bit integers, so that negative answers can be error codes."""
LEAST_MEMORY = 65536
MOST_TIME_MS = 3_600_000

T = TypeVar("T")
_SIZES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_SIZE = re.compile(r"\s*([0-9]{1,15}(?:\.[0-9]{1,15})?)\s*([A-Za-z]*)\s*")
_MOST_UNKNOWN = 12


class SecurityPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plugin may do. Nothing, unless it is said here.

    Bytes are integers or text such as `"64MiB"`; times are milliseconds, text such as `"2s"` or `"1m30s"`, or a
    `timedelta`.
    """

    allow_network: bool = False
    allow_file_system: bool = False
    allow_env_vars: bool = False
    max_memory: int = 64 << 20
    max_execution_time: int = 5_000
    allowed_paths: tuple[str, ...] = ()
    allowed_hosts: tuple[str, ...] = ()
    allowed_env_vars: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        settle(self, {"max_memory": memory_size, "max_execution_time": milliseconds})

    @classmethod
    def load(cls, source: Mapping[str, Any], *, plugin: str | None = None) -> SecurityPolicy:
        """Return the policy that a mapping describes, or name all that is wrong with it."""
        policy, wrong = read_policy(source)
        if policy is None or wrong:
            raise WasmConfiguration("its security_policy does not hold: " + "; ".join(wrong), plugin=plugin)
        return policy

    def refused(self) -> list[str]:
        """Return what this policy grants and cannot be enforced as it stands, and where it contradicts itself."""
        doors: list[tuple[str, bool, str, tuple[str, ...], Callable[[str], object]]] = [
            ("allow_network", self.allow_network, "allowed_hosts", self.allowed_hosts, HostPattern.read),
            ("allow_file_system", self.allow_file_system, "allowed_paths", self.allowed_paths, Folder.read),
            ("allow_env_vars", self.allow_env_vars, "allowed_env_vars", self.allowed_env_vars, variable),
        ]
        wrong = []
        for switch, on, names, listed, read in doors:
            if on and not listed:
                wrong.append(
                    f"`{switch}` is true and `{names}` is empty, which would grant everything or nothing: "
                    f"list what the plugin needs, or set `{switch}` to false"
                )
            elif listed and not on:
                wrong.append(
                    f"`{names}` lists {listing(listed)} and `{switch}` is false: set it to true, or empty the list"
                )
            for text in listed:
                try:
                    read(text)
                except ValueError as error:
                    wrong.append(f"`{names}`: {error}")
        seen = [folder.guest for folder in self.folders()] if not wrong else []
        twice = sorted({name for name in seen if seen.count(name) > 1})
        if twice:
            wrong.append(
                f"`allowed_paths`: two folders would be called {listing(twice)}; "
                "give one another name, as `data=/other`"
            )
        return wrong

    def folders(self) -> tuple[Folder, ...]:
        """Return the folders that are granted."""
        return tuple(map(Folder.read, self.allowed_paths)) if self.allow_file_system else ()

    def hosts(self) -> tuple[HostPattern, ...]:
        """Return the hosts that are granted."""
        return tuple(map(HostPattern.read, self.allowed_hosts)) if self.allow_network else ()

    def variables(self) -> tuple[str, ...]:
        """Return the environment variables that are granted."""
        return self.allowed_env_vars if self.allow_env_vars else ()


def read_policy(source: Any) -> tuple[SecurityPolicy | None, list[str]]:
    """Return the policy, if there is one, and every mistake."""
    if isinstance(source, SecurityPolicy):
        return source, source.refused()
    if not isinstance(source, Mapping):
        return None, [f"it is {type(source).__name__}, not an object"]
    readers: dict[str, Callable[[Any], Any]] = {"max_memory": memory_size, "max_execution_time": milliseconds}
    values, wrong = read_fields(SecurityPolicy, source, readers)
    if wrong:
        return None, wrong
    policy = SecurityPolicy(**values)
    return policy, policy.refused()


def read_fields(
    kind: type[msgspec.Struct], source: Mapping[str, Any], readers: Mapping[str, Callable[[Any], Any]]
) -> tuple[dict[str, Any], list[str]]:
    """Read each field of a struct by its own reader or type; return the values and every mistake."""
    fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
    wrong = unknown(source, fields)
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in source:
            if field.required:
                wrong.append(f"`{name}` is missing")
            continue
        try:
            values[name] = _read(source[name], field.type, readers.get(name))
        except _MISTAKES as error:
            wrong.append(f"`{name}`: {error}")
    return values, wrong


def unknown(source: Iterable[Any], known: Collection[str]) -> list[str]:
    """Say which names are not known; of many the first, since anybody may have written them."""
    names = [name for name in source if name not in known]
    wrong = [f"`{shown(name)[1:-1]}` is not known.{nearest(str(name)[:64], known)}" for name in names[:_MOST_UNKNOWN]]
    more = len(names) - _MOST_UNKNOWN
    return [*wrong, f"{more} more are not known"] if more > 0 else wrong


def settle(struct: msgspec.Struct, readers: Mapping[str, Callable[[Any], Any]]) -> None:
    """Turn what a user may write in Python into what the fields hold, or name every mistake."""
    wrong = []
    for field in msgspec.structs.fields(struct):
        given = getattr(struct, field.name)
        try:
            value = _read(given, field.type, readers.get(field.name) if given is not None or field.required else None)
            msgspec.structs.force_setattr(struct, field.name, value)
        except _MISTAKES as error:
            wrong.append(f"`{field.name}`: {error}")
    if wrong:
        raise WasmConfiguration(f"{type(struct).__name__} does not hold: " + "; ".join(wrong))


_MISTAKES = (ValueError, TypeError, msgspec.ValidationError, RecursionError, WasmConfiguration)


def _read(given: Any, kind: Any, reader: Callable[[Any], Any] | None) -> Any:
    return reader(given) if reader is not None else msgspec.convert(given, kind)


def memory_size(value: Any) -> int:
    """Return bytes from `67108864` or `"64MiB"`, within what a guest may have."""
    size = value
    if not isinstance(value, int) or isinstance(value, bool):
        found = _SIZE.fullmatch(value) if isinstance(value, str) else None
        if found is None or found[2].lower() not in _SIZES:
            raise ValueError(f"{shown(value)} is not bytes or text such as '64MiB'")
        size = int(float(found[1]) * _SIZES[found[2].lower()])
    if not LEAST_MEMORY <= size <= MOST_MEMORY:
        raise ValueError(f"{shown(value)} is outside {LEAST_MEMORY} to {MOST_MEMORY} bytes")
    return int(size)


def milliseconds(value: Any) -> int:
    """Return milliseconds from `5000`, `"5s"` or a `timedelta`, within an hour."""
    if isinstance(value, int) and not isinstance(value, bool):
        time = value
    else:
        try:
            time = -(-microseconds(value, "it") // 1000)
        except BadOption:
            raise ValueError(
                f"{shown(value)} is not milliseconds, text such as '5s', '250ms' or '1m30s', or a timedelta"
            ) from None
    if not 1 <= time <= MOST_TIME_MS:
        raise ValueError(f"{shown(value)} is outside 1 ms to 1 h")
    return time


def variable(name: str) -> str:
    """Return the name of an environment variable."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(
            f"{shown(name)} is not the name of an environment variable; each is written out, without patterns"
        )
    return name
