"""Ed25519 keys as PEM files, through `cryptography`, which the extra `sign` brings."""

from __future__ import annotations

import base64
import binascii
import hashlib
import importlib
import os
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import WasmConfiguration
from ..lazy import lazy

if TYPE_CHECKING:
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519
else:
    serialization = lazy("cryptography.hazmat.primitives.serialization")
    ed25519 = lazy("cryptography.hazmat.primitives.asymmetric.ed25519")

PUBLIC = ".pub"
_MOST_BYTES = 16384


def generate_key(private: str | os.PathLike[str], *, password: str | None = None) -> Path:
    """Make a key: `private` is written for its owner alone, the public key beside it as `.pub`; return the latter."""
    needed()
    private = Path(private)
    key = ed25519.Ed25519PrivateKey.generate()
    locked: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if password:
        locked = serialization.BestAvailableEncryption(password.encode())
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    public = private.with_suffix(PUBLIC)
    if private.suffix == PUBLIC or public.exists():
        raise WasmConfiguration(f"{public} is there already; choose another name for the key")
    write_new(private, pem, 0o600)
    write_new(public, public_pem(key.public_key()), 0o644)
    return public


def private_key(path: Path, *, password: str | None = None) -> ed25519.Ed25519PrivateKey:
    """Read a private key, which nobody else may be able to read."""
    needed()
    data = _read(path)
    if path.stat().st_mode & 0o077:
        raise WasmConfiguration(f"the key {path} can be read by others; chmod 600 it")
    try:
        key = serialization.load_pem_private_key(data, password.encode() if password else None)
    except (ValueError, TypeError) as error:
        raise WasmConfiguration(f"the key {path} cannot be opened: {error}") from None
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        raise WasmConfiguration(f"{path} is not an Ed25519 key")
    return key


def public_key(path: Path) -> ed25519.Ed25519PublicKey:
    """Read a public key."""
    needed()
    try:
        key = serialization.load_pem_public_key(_read(path))
    except ValueError as error:
        raise WasmConfiguration(f"{path} is not a public key in PEM: {error}") from None
    if not isinstance(key, ed25519.Ed25519PublicKey):
        raise WasmConfiguration(f"{path} is not an Ed25519 key")
    return key


def public_pem(key: ed25519.Ed25519PublicKey) -> bytes:
    """Return a public key as it is written."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def key_id(key: ed25519.Ed25519PublicKey) -> str:
    """Return the name of a key: the beginning of the sum of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()[:32]


def signed_by(key: ed25519.Ed25519PublicKey, signature: str, data: bytes) -> bool:
    """Whether a signature in Base64 is that of a key over some bytes."""
    from cryptography.exceptions import InvalidSignature

    try:
        key.verify(base64.b64decode(signature, validate=True), data)
    except (InvalidSignature, binascii.Error, ValueError):
        return False
    return True


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Write a file that must not be there yet."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    except FileExistsError:
        raise WasmConfiguration(f"{path} is there already, and keys are not overwritten") from None
    except OSError as error:
        raise WasmConfiguration(f"cannot write {path}: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def needed() -> None:
    """Say how to install what is missing."""
    try:
        importlib.import_module("cryptography.exceptions")
    except ImportError:
        raise WasmConfiguration('signatures need `cryptography`: pip install "dataflare-nb[sign]"') from None


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise WasmConfiguration(f"{path} is too large for a key")
        return path.read_bytes()
    except OSError as error:
        raise WasmConfiguration(f"cannot read the key {path}: {error.strerror}") from None
