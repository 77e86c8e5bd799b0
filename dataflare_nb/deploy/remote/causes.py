"""What a job failed with, from the traces that Flink and Python wrote."""

from __future__ import annotations

import re

_CAUSE = re.compile(r"^\s*(?:Caused by: )?((?:[\w.]*(?:Error|Exception)|dataflare_nb\.[\w.]+): .*)$", re.MULTILINE)
_JAVAS = re.compile(r"^(?:java|org)\.[\w.$]+: ")


def cause(said: str) -> str:
    """Return the line that says why: the innermost cause, and Python's own error before Flink's words about it."""
    found = _CAUSE.findall(said)
    ours = [each for each in found if not each.startswith(("java.", "org.", "py4j.", "RuntimeError"))]
    told = (ours or found or said.strip().splitlines() or ["it said nothing"])[-1]
    return _JAVAS.sub("", told)
