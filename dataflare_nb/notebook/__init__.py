"""What `%load_ext dataflare_nb` adds to a notebook: its magics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .wasm_magic import WasmMagics

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

__all__ = ["load", "unload"]


def load(shell: InteractiveShell) -> None:
    """Add the magics to a shell. May be called twice."""
    shell.register_magics(WasmMagics)


def unload(shell: InteractiveShell) -> None:
    """Take them away again."""
    for kind in ("line", "cell"):
        shell.magics_manager.magics[kind].pop("wasm", None)
