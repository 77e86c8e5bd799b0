"""Sign a plugin, and verify one: what `dataflare plugin sign` and `verify` do."""

from __future__ import annotations

import base64
import datetime as dt
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from ..errors import WasmConfiguration
from ..types import Clock
from .keys import generate_key, key_id, private_key
from .plugin import Plugin
from .statement import Signature, statement
from .trust import Signer, today, trust_key, trusted_keys, verified

__all__ = ["Signer", "generate_key", "sign", "trust_key", "trusted_keys", "verify"]


def sign(
    plugin: str | os.PathLike[str],
    key: str | os.PathLike[str],
    *,
    password: str | None = None,
    expires: dt.date | None = None,
    clock: Clock | None = None,
) -> Signature:
    """Sign a plugin, a folder or its plugin.json, with a private key; the signature is written into the plugin.json."""
    path = _description(plugin)
    loaded = Plugin.read(path)
    secret = private_key(Path(key), password=password)
    now = today(clock)
    if expires is not None and expires < now:
        raise WasmConfiguration(f"a signature until {expires} would never hold; today is {now}", plugin=loaded.name)
    unsigned = Signature(key=key_id(secret.public_key()), sha256=loaded.sha256, signed=now, expires=expires)
    raw = secret.sign(statement(loaded.config, unsigned))
    signature = msgspec.structs.replace(unsigned, ed25519=base64.b64encode(raw).decode())
    _replace(path, _carrying(path.read_bytes().decode(), signature).encode())
    return signature


def verify(plugin: Plugin | str | os.PathLike[str], *, trust: Path | None = None, clock: Clock | None = None) -> Signer:
    """Return whose signature a plugin carries; `WasmUntrusted` says why it is not to be trusted."""
    loaded = plugin if isinstance(plugin, Plugin) else Plugin.read(_description(plugin))
    return verified(loaded, trust=trust, clock=clock)


def _description(plugin: str | os.PathLike[str]) -> Path:
    path = Path(plugin)
    return path / "plugin.json" if path.is_dir() else path


def _carrying(text: str, signature: Signature) -> str:
    """Return a description with a signature in it; all else stands as it stood."""
    told = {name: value for name, value in msgspec.to_builtins(signature).items() if value is not None}
    members = list(_members(text))
    first = text[text.index("{") + 1 : members[0].begin]
    indent, line_end = first.rpartition("\n")[2], "\r\n" if "\r\n" in first else "\n"
    value = json.dumps(told, indent=indent).replace("\n", line_end + indent) if "\n" in first else json.dumps(told)
    for member in reversed(members):
        if member.name == "signature":
            return text[: member.value] + value + text[member.end :]
    end = members[-1].end
    return f'{text[:end]},{first or " "}"signature": {value}{text[end:]}'


class _Member(NamedTuple):
    """A member of an object in JSON: its name, where it and its value begin, and where they end."""

    name: str
    begin: int
    value: int
    end: int


def _members(text: str) -> Iterator[_Member]:
    """Yield the members of the object that a text holds, which is JSON."""
    read = json.JSONDecoder().raw_decode
    at = text.index("{") + 1
    while True:
        begin = _after(text, at)
        if text[begin] == "}":
            return
        name, at = read(text, begin)
        value = _after(text, at)
        _, at = read(text, value)
        yield _Member(name, begin, value, at)


def _after(text: str, at: int) -> int:
    """Return where the next name, value or bracket begins."""
    return len(text) - len(text[at:].lstrip(" \t\r\n:,"))


def _replace(path: Path, data: bytes) -> None:
    try:
        handle, made = tempfile.mkstemp(dir=path.parent, prefix=".plugin-")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.chmod(made, path.stat().st_mode & 0o777)
            os.replace(made, path)
        except BaseException:
            os.unlink(made)
            raise
    except OSError as error:
        raise WasmConfiguration(f"cannot write {path}: {error.strerror}") from None
