"""The text of a module for reading: indented, with the lines of Python that its parts come from."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

_TOKEN = re.compile(r'\(;@(\d+):(\d+);\)|;;[^\n]*|"(?:[^"\\]|\\.)*"|[()]|[^\s()";]+')
_SHORT = 96
_INDENT = "  "
_OPENS_BODY = frozenset({"module", "func", "block", "loop", "if", "then", "else"})


class _Node:
    """An expression in parentheses, and what stands in it."""

    def __init__(self) -> None:
        self.parts: list[_Node | str] = []
        self.flat: str | None = None

    def closed(self) -> None:
        """Remember the expression on one line, if it may stand on one."""
        texts = []
        for part in self.parts:
            text = part if isinstance(part, str) else part.flat
            if text is None or text.startswith(";;") or len(text) > _SHORT:
                return
            texts.append(text)
        flat = f"({' '.join(texts)})"
        self.flat = flat if len(flat) <= _SHORT else None


def readable(text: str, lines: Mapping[tuple[int, int], str]) -> str:
    """Return a module's text laid out; `lines` has the source of each mark by its number and line."""
    root = _Node()
    stack = [root]
    for found in _TOKEN.finditer(text):
        token = found[0]
        if token == "(":
            node = _Node()
            stack[-1].parts.append(node)
            stack.append(node)
        elif token == ")":
            stack.pop().closed()
        elif found[1] is not None:
            said = lines.get((int(found[1]), int(found[2])))
            if said is not None:
                stack[-1].parts.append(f";; {said}")
        else:
            stack[-1].parts.append(token)
    return "\n".join(line for part in root.parts for line in _laid_out(part, 0)) + "\n"


def _laid_out(part: _Node | str, depth: int) -> Iterator[str]:
    pad = _INDENT * depth
    if isinstance(part, str):
        yield pad + part
        return
    if part.flat is not None:
        yield pad + part.flat
        return
    head: list[str] = []
    rest = list(part.parts)
    while rest and not (isinstance(rest[0], str) and rest[0].startswith(";;")):
        first = rest[0] if isinstance(rest[0], str) else rest[0].flat
        heads = isinstance(rest[0], str) or (first is not None and first.startswith(("(param", "(result", "(export")))
        if first is None or not heads:
            break
        head.append(first)
        rest.pop(0)
    yield f"{pad}({' '.join(head)}"
    for inner in rest:
        yield from _laid_out(inner, depth + 1)
    yield f"{pad})"
