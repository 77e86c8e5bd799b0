"""Folders a plugin may see: how they are written, what they are called inside, which are never granted."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import WasmConfiguration

NEVER = ("/", "/proc", "/sys", "/dev")
"""Through these a guest would reach the process it runs in, its environment or the machine's devices."""


@dataclass(frozen=True, slots=True)
class Folder:
    """One entry of `allowed_paths`: `HOST`, `HOST:rw`, `HOST=/GUEST` or `HOST=/GUEST:rw`.

    >>> Folder.read("data/ref")
    Folder(host='data/ref', guest='/data/ref', writable=False)
    >>> Folder.read("../out=/out:rw")
    Folder(host='../out', guest='/out', writable=True)
    """

    host: str
    guest: str
    writable: bool = False

    @classmethod
    def read(cls, text: str) -> Folder:
        """Return the folder that a text grants, or say what is wrong with the text."""
        rest, colon, access = text.rpartition(":")
        if not colon or not re.fullmatch(r"[A-Za-z]{1,3}", access):
            rest, access = text, "ro"
        if access not in ("ro", "rw"):
            raise ValueError(f"{text!r} ends in `:{access}`; write `:rw` for reading and writing, nothing for reading")
        host, equals, guest = rest.rpartition("=/")
        if not equals:
            host, guest = rest, _inside(rest, text)
        else:
            guest = "/" + guest
        if not host or "\0" in text or ".." in PurePosixPath(guest).parts or not guest.strip("/"):
            raise ValueError(f"{text!r} is not a folder such as `data`, `data:rw` or `../lake/ref=/ref`")
        if _never(os.path.normpath(host)):
            raise ValueError(f"{text!r} is never granted, since it reaches the machine; name the folder of the data")
        return cls(host, "/" + "/".join(p for p in PurePosixPath(guest).parts if p != "/"), access == "rw")

    def real(self, *, plugin: str, ours: tuple[Path, ...] = ()) -> Path:
        """Return where the folder is now; `ours` are folders that keep the wall itself and are not granted."""
        try:
            path = Path(self.host).expanduser().resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise WasmConfiguration(
                f"its policy grants {self.host}, which is not there ({error}); relative paths start at {Path.cwd()}",
                plugin=plugin,
            ) from None
        if not path.is_dir():
            raise WasmConfiguration(f"its policy grants {self.host}, which is a file; name its folder", plugin=plugin)
        if _never(str(path)):
            raise WasmConfiguration(f"its policy grants {self.host}, but {path} is never granted", plugin=plugin)
        for own in ours:
            kept = own.expanduser().resolve()
            if kept.is_relative_to(path) or path.is_relative_to(kept):
                raise WasmConfiguration(
                    f"its policy grants {self.host}, where dataflare keeps keys or compiled modules ({kept}); "
                    "name a folder with data only",
                    plugin=plugin,
                )
        return path


def _never(path: str) -> bool:
    path = re.sub("^/+", "/", path)
    return path == "/" or any(path == root or path.startswith(root + "/") for root in NEVER[1:])


def _inside(host: str, text: str) -> str:
    parts = PurePosixPath(host).parts
    if not parts or parts[0].startswith("~") or ".." in parts:
        raise ValueError(f"{text!r} has no name of its own; say what the plugin calls it, as `{host or '.'}=/data`")
    return "/" + "/".join(part for part in parts if part != "/")
