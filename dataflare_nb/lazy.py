"""Import a module when it is first used: what a notebook does not need does not slow its first cell."""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any


class LazyModule(ModuleType):
    """Stands for a module and imports it at the first look at one of its names. Safe from any thread."""

    def __getattr__(self, name: str) -> Any:
        found = getattr(importlib.import_module(self.__name__), name)
        # Kept, so that the next look at it is one at any module.
        setattr(self, name, found)
        return found


def lazy(name: str) -> Any:
    """Return a stand-in for the module of that name."""
    return LazyModule(name)
