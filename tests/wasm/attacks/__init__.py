"""Hostile modules as a table: what each tries, and the error it ends in. `python -m tests.wasm.attacks` prints it."""

from __future__ import annotations

from .answers import ANSWERS
from .attack import Attack
from .doors import DOORS
from .formats import FORMATS
from .loading import LOADING
from .running import RUNNING

ATTACKS: tuple[Attack, ...] = (*RUNNING, *ANSWERS, *FORMATS, *DOORS, *LOADING)

__all__ = ["ATTACKS", "Attack"]
