"""Whose plugins are trusted: a folder of public keys, and what a plugin needs to be one of theirs.

A key is trusted because its owner's user put it there; there is no trust on first use.
"""

from __future__ import annotations

import datetime as dt
import os
import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ..clock import SystemClock
from ..errors import WasmConfiguration, WasmUntrusted, listing
from ..types import Clock
from .environment import REQUIRE_SIGNED, signatures_required, trust_folder
from .keys import PUBLIC, key_id, public_key, public_pem, signed_by, write_new
from .statement import statement

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from .plugin import Plugin


@dataclass(frozen=True, slots=True)
class Signer:
    """Whose signature was found; `name` is that of the key in the trust store."""

    name: str
    key: str
    signed: dt.date
    expires: dt.date | None


def trust_key(public: str | os.PathLike[str], *, name: str | None = None, trust: Path | None = None) -> Path:
    """Put a public key into the trust store; return the file."""
    public = Path(public)
    key = public_key(public)
    folder, called = trust or trust_folder(), name or public.stem
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", called):
        raise WasmConfiguration(f"{called!r} is not a name for a key; use letters, digits, `.`, `_`, `@` and `-`")
    try:
        folder.mkdir(parents=True, mode=0o700, exist_ok=True)
    except OSError as error:
        raise WasmConfiguration(f"cannot make the trust store {folder}: {error.strerror}") from None
    place = folder / f"{called}{PUBLIC}"
    write_new(place, public_pem(key), 0o644)
    return place


def trusted_keys(trust: Path | None = None) -> dict[str, tuple[str, Ed25519PublicKey]]:
    """Return the keys of a trust store by their ids, each with its name. A store that others can write is refused."""
    folder = trust or trust_folder()
    keys = {}
    try:
        for path in sorted(folder.glob(f"*{PUBLIC}")):
            _only_ours(folder)
            _only_ours(path)
            key = public_key(path)
            keys[key_id(key)] = (path.stem, key)
    except OSError as error:
        raise WasmConfiguration(f"the trust store {folder} cannot be read: {error.strerror}") from None
    return keys


def verified(plugin: Plugin, *, trust: Path | None = None, clock: Clock | None = None) -> Signer:
    """Return whose signature a plugin carries; `WasmUntrusted` unless it is there, of a trusted key, whole, in time."""
    name, signature = plugin.name, plugin.config.signature
    if signature is None:
        raise WasmUntrusted("it is not signed; its author signs it with `dataflare plugin sign`", plugin=name)
    if signature.sha256 != plugin.sha256:
        raise WasmUntrusted(
            f"its module was changed after it was signed (it has the sha256 {plugin.sha256}, "
            f"the signature says {signature.sha256})",
            plugin=name,
        )
    keys = trusted_keys(trust)
    if signature.key not in keys:
        known = listing(f"{called} ({key})" for key, (called, _) in keys.items())
        raise WasmUntrusted(
            f"it is signed with the key {signature.key}, which is not in the trust store {trust or trust_folder()}; "
            + (f"there is {known}" if keys else "nothing is in it yet; `dataflare plugin trust KEY.pub` adds one"),
            plugin=name,
        )
    signer, key = keys[signature.key]
    if not signed_by(key, signature.ed25519, statement(plugin.config, signature)):
        raise WasmUntrusted(
            f"its description was changed after it was signed, or it was not signed by {signer}", plugin=name
        )
    if signature.expires is not None and today(clock) > signature.expires:
        raise WasmUntrusted(
            f"the signature of {signer} held until {signature.expires}; have it signed anew", plugin=name
        )
    return Signer(signer, signature.key, signature.signed, signature.expires)


def enforce(plugin: Plugin, required: bool = False, *, trust: Path | None = None) -> None:
    """Verify a plugin if that is asked for, here or in the environment; nobody can ask for less than the latter."""
    if required:
        verified(plugin, trust=trust)
    elif signatures_required():
        try:
            verified(plugin, trust=trust)
        except WasmUntrusted as error:
            told = str(error).removeprefix(f"plugin {plugin.name}: ")
            raise WasmUntrusted(f"{told} ({REQUIRE_SIGNED} is set)", plugin=plugin.name) from None


def today(clock: Clock | None = None) -> dt.date:
    """Return the day in UTC."""
    return dt.datetime.fromtimestamp(int((clock or SystemClock()).now()) / 1e6, dt.UTC).date()


def _only_ours(path: Path) -> None:
    found = path.stat()
    if found.st_uid not in (os.geteuid(), 0) or found.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise WasmConfiguration(f"{path} can be changed by other users, so its keys cannot be trusted; chmod go-w it")
