"""The signature in a plugin.json, and what it is a signature of."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

_HEAD = b"dataflare plugin signature 1\n"
_NOT_SAID = ("signature", "module_path", "sha256")
"""The module's own sum is said by the signature; the description may say it too."""


class Signature(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who signed what, when, and until when it holds.

    `key` names the public key by its sum, `sha256` is that of the module, the dates are days in UTC.
    """

    key: str
    sha256: str
    signed: dt.date
    expires: dt.date | None = None
    ed25519: str = ""


def statement(config: msgspec.Struct, signature: Signature) -> bytes:
    """Return the bytes that are signed: the module's sum and the meaning of the description.

    What a description leaves out means the same as the default written out, and text such as `"64MiB"` the same as
    its number, so a plugin.json may be formatted anew. Where the module lies does not matter; any other change does.
    """
    plugin = {name: value for name, value in _meaning(config).items() if name not in _NOT_SAID}
    told = {"plugin": plugin, "signature": _meaning(msgspec.structs.replace(signature, ed25519=""))}
    return _HEAD + msgspec.json.encode(told, order="sorted")


def _meaning(struct: msgspec.Struct) -> dict[str, Any]:
    found = {}
    for field in msgspec.structs.fields(struct):
        value = getattr(struct, field.name)
        default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory
        default = default() if callable(default) else default
        if value != default:
            found[field.encode_name] = _meaning(value) if isinstance(value, msgspec.Struct) else value
    return found
