"""A real IPython shell, one for all tests, as IPython wants it."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from IPython.utils.capture import capture_output


@dataclass
class Cell:
    """What came of a cell: its error, and what it printed and showed."""

    result: ExecutionResult
    out: str
    err: str
    shown: list[dict[str, Any]]

    @property
    def error(self) -> BaseException | None:
        return self.result.error_in_exec or self.result.error_before_exec

    @property
    def value(self) -> Any:
        return self.result.result


class Shell:
    """Run cells as a notebook does."""

    def __init__(self) -> None:
        self.ip = InteractiveShell.instance(colors="nocolor")

    def run(self, cell: str) -> Cell:
        with capture_output() as captured:
            result = self.ip.run_cell(cell, store_history=True)
        return Cell(result, captured.stdout, captured.stderr, [each.data for each in captured.outputs])

    @property
    def number(self) -> int:
        """The number of the cell that comes next."""
        return int(self.ip.execution_count)

    def __getitem__(self, name: str) -> Any:
        return self.ip.user_ns[name]


@contextlib.contextmanager
def shell() -> Iterator[Shell]:
    """Lend a shell with the extension loaded and nothing of ours in its namespace."""
    lent = Shell()
    before = dict(lent.ip.user_ns)
    with contextlib.redirect_stdout(io.StringIO()):
        lent.ip.run_line_magic("load_ext", "dataflare_nb")
    try:
        yield lent
    finally:
        lent.ip.run_line_magic("unload_ext", "dataflare_nb")
        lent.ip.user_ns.clear()
        lent.ip.user_ns.update(before)
