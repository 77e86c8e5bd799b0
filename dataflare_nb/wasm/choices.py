"""Choose between two values: without a branch where both are cheap, since a branch that follows the data costs more."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .unit import Frame

_MOST = 1500
"""Characters of code that is computed whether it is wanted or not."""
# What may fail, is seen from outside, or may take long. Slices and lengths of a text do none of it.
_HEAVY = re.compile(
    r"\(call (?!\$text_slice |\$text_length )|\(br|\(return|\(loop|unreachable|\.store|global\.set|memory\."
    r"|local\.set \$[vnc]_|div_|rem_|trunc_f"
)


def is_light(code: str) -> bool:
    """Whether code may be computed although it is not wanted."""
    return len(code) <= _MOST and _HEAVY.search(code) is None


def choose(frame: Frame, test: str, wat: str, then: str, other: str) -> str:
    """Return code for one of two values; what costs more than a little is only computed if it is wanted."""
    if not (is_light(then) and is_light(other)):
        return f"(if (result {wat}) {test} (then {then}) (else {other}))"
    flag = frame.temporary("i32")
    chosen = f"(select {then} {other} (local.get {flag}))"
    return f"(block (result {wat}) (local.set {flag} {test}) {chosen})"


def is_choice(body: Sequence[ast.stmt]) -> bool:
    """Whether statements do nothing but return one of several values, of which all but the last are constant texts."""
    match body:
        case [ast.Return(value=ast.IfExp())]:
            return True
        case [ast.If(body=[ast.Return(value=ast.Constant(value=str()))], orelse=[]), *rest]:
            return is_choice(rest) or (len(rest) > 0 and isinstance(rest[0], ast.Return) and rest[0].value is not None)
    return False
