"""What a plugin may do, and how much: written by the user, checked as a whole."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from ..errors import WasmConfiguration, listing, nearest
from .folders import Folder
from .hosts import HostPattern

MOST_MEMORY = (2 << 30) - 65536
"""Addresses of a guest are non-negative 32-bit integers, so that negative answers can be error codes."""
LEAST_MEMORY = 65536
MOST_TIME_MS = 3_600_000

T = TypeVar("T")
_SIZES = {"": 1, "b": 1, "kb": 1000, "mb": 1000**2, "gb": 1000**3, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30}
_TIMES = {"": 1.0, "ms": 1.0, "s": 1e3, "m": 6e4, "h": 3.6e6}


class SecurityPolicy(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a plugin may do. Nothing, unless it is said here.

    Bytes are integers or text such as `"64MiB"`; times are milliseconds or text such as `"2s"`.
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
    wrong = [f"`{name}` is not known.{nearest(str(name), fields)}" for name in source if name not in fields]
    values: dict[str, Any] = {}
    for name, field in fields.items():
        if name not in source:
            if field.required:
                wrong.append(f"`{name}` is missing")
            continue
        try:
            reader = readers.get(name)
            values[name] = reader(source[name]) if reader else msgspec.convert(source[name], field.type)
        except (ValueError, TypeError, msgspec.ValidationError) as error:
            wrong.append(f"`{name}`: {error}")
    return values, wrong


def settle(struct: msgspec.Struct, readers: Mapping[str, Callable[[Any], Any]]) -> None:
    """Turn the text a user may write into what the fields hold, or name every mistake."""
    wrong = []
    for name, reader in readers.items():
        given = getattr(struct, name)
        try:
            msgspec.structs.force_setattr(struct, name, given if given is None else reader(given))
        except ValueError as error:
            wrong.append(f"`{name}`: {error}")
    if wrong:
        raise WasmConfiguration(f"{type(struct).__name__} does not hold: " + "; ".join(wrong))


def memory_size(value: Any) -> int:
    """Return bytes from `67108864` or `"64MiB"`, within what a guest may have."""
    size = _quantity(value, _SIZES, "bytes or text such as '64MiB'")
    if not LEAST_MEMORY <= size <= MOST_MEMORY:
        raise ValueError(f"{value!r} is outside {LEAST_MEMORY} to {MOST_MEMORY} bytes")
    return size


def milliseconds(value: Any) -> int:
    """Return milliseconds from `5000` or `"5s"`, within an hour."""
    time = _quantity(value, _TIMES, "milliseconds or text such as '5s'")
    if not 1 <= time <= MOST_TIME_MS:
        raise ValueError(f"{value!r} is outside 1 ms to 1 h")
    return time


def variable(name: str) -> str:
    """Return the name of an environment variable."""
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
        raise ValueError(f"{name!r} is not the name of an environment variable; each is written out, without patterns")
    return name


def _quantity(value: Any, units: Mapping[str, float], wanted: str) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", value) if isinstance(value, str) else None
    if found is None or found[2].lower() not in units:
        raise ValueError(f"{value!r} is not {wanted}")
    return int(float(found[1]) * units[found[2].lower()])
