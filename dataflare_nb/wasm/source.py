"""Where a Python function stands, so that an error can point at it."""

from __future__ import annotations

import ast
import inspect
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import UdfError

_AS_PYTHON = "To keep the function as it is, run it in Python: stream.map_batches(...)"


@dataclass(frozen=True, slots=True)
class Source:
    """The text of one function: `first` is the line of the file at which `lines` begin."""

    file: str
    first: int
    lines: tuple[str, ...]
    tree: ast.FunctionDef

    @classmethod
    def of(cls, function: Callable[..., Any]) -> Source:
        """Read a function's source from its file or notebook cell."""
        code = getattr(function, "__code__", None)
        if code is None:
            raise UdfError(f"@udf takes a Python function with annotations, not {type(function).__name__}")
        if hasattr(function, "__wrapped__"):
            raise UdfError(f"`{function.__name__}` is wrapped by another decorator; put @flare.udf innermost")
        file = _label(code.co_filename)
        try:
            lines, first = inspect.getsourcelines(function)
        except (OSError, TypeError, SyntaxError):
            prompt = ": Python's own prompt keeps what is typed from 3.13 on" if file == "<stdin>" else ""
            raise UdfError(
                f"the source of `{function.__name__}` ({file}) cannot be read{prompt}; "
                "define it in a file, a notebook cell or IPython"
            ) from None
        text = textwrap.dedent("".join(lines))
        try:
            tree: ast.AST | None = ast.parse(text)
        except SyntaxError:
            # The lines of a lambda may be any part of what stands around it.
            tree = None
        found = next((n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)), None) if tree is not None else None
        if found is None or found.name != function.__name__:
            advice = "; give the lambda a name" if function.__name__ == "<lambda>" else ""
            raise UdfError(f"{file}, line {first}: @udf takes a function written with `def`{advice}")
        return cls(file, max(first, 1), tuple(text.splitlines()), found)

    @property
    def docstring(self) -> str | None:
        """What the function says of itself."""
        return ast.get_docstring(self.tree)

    def line(self, node: ast.AST) -> int:
        """Return the line of a node in its file."""
        return self.first + getattr(node, "lineno", 1) - 1

    def place(self, node: ast.AST) -> str:
        """Return `flights.py, line 12` or `In[4], line 3`."""
        return f"{self.file}, line {self.line(node)}"

    def text(self, node: ast.AST) -> str:
        """Return the line of source a node begins on."""
        return self.lines[getattr(node, "lineno", 1) - 1]

    def error(self, node: ast.AST, what: str) -> UdfError:
        """Return an error that shows the line with a caret under the node."""
        line = self.text(node)
        start = len(line.encode()[: getattr(node, "col_offset", 0)].decode(errors="ignore"))
        if getattr(node, "end_lineno", None) == getattr(node, "lineno", None):
            stop = len(line.encode()[: getattr(node, "end_col_offset", 0)].decode(errors="ignore"))
        else:
            stop = len(line)
        indent = len(line) - len(line.lstrip())
        marks = " " * max(start - indent, 0) + "^" * max(stop - start, 1)
        return UdfError(f"{self.place(node)}: {what}\n    {line.strip()}\n    {marks}\n{_AS_PYTHON}")


def _label(filename: str) -> str:
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    if shell is not None:
        label = shell.compile.format_code_name(filename)
        if label is not None:
            return str(label[1]).replace("Input ", "")
    return Path(filename).name
