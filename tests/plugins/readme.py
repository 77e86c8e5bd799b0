"""The example of a plugin's README: its code, and what it gives.

python -m tests.plugins.readme     write into each README what its example gives
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import polars as pl

import dataflare_nb as flare

from .helpers import PLUGINS

EXAMPLE = re.compile(r"```python\n(?P<code>.*?)```\n(?:\n```text\n(?P<told>.*?)```\n)?", re.DOTALL)


def given(code: str) -> str:
    """Run an example and return what a notebook would show."""
    body, last = re.fullmatch(r"(.*\n|)(\S.*)\n", code, re.DOTALL).groups()  # type: ignore[union-attr]
    names: dict[str, Any] = {"flare": flare, "pl": pl}
    exec(body, names)
    with pl.Config(tbl_width_chars=120, fmt_str_lengths=60, tbl_cols=12):
        return f"{eval(last, names)}\n"


def write(readme: Path) -> None:
    text = readme.read_text()
    readme.write_text(
        EXAMPLE.sub(lambda m: f"```python\n{m['code']}```\n\n```text\n{given(m['code'])}```\n", text, count=1)
    )


if __name__ == "__main__":
    for path in sorted(PLUGINS.glob("*/README.md")):
        write(path)
