"""What `%load_ext dataflare_nb` adds to a notebook: its magics, and the completion of names in strings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .completion import Completer
from .flare_magic import FlareMagics
from .wasm_magic import WasmMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]


def load(shell: InteractiveShell) -> None:
    """Add the magics and completions to a shell. May be called twice."""
    unload(shell)
    shell.register_magics(WasmMagics, FlareMagics)
    _matchers(shell).append(Completer(shell).matcher)


def unload(shell: InteractiveShell) -> None:
    """Take them away again."""
    for kind in ("line", "cell"):
        for name in ("wasm", "flare"):
            shell.magics_manager.magics[kind].pop(name, None)
    matchers = _matchers(shell)
    matchers[:] = [each for each in matchers if getattr(each, "matcher_identifier", "") != "dataflare_nb"]


def _matchers(shell: InteractiveShell) -> list[Any]:
    matchers: list[Any] = shell.Completer.custom_matchers
    return matchers
