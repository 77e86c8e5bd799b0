"""Compiled functions made from text, as if each stood in a notebook cell."""

from __future__ import annotations

import linecache
import math
from typing import Any

from dataflare_nb.wasm import Udf, udf


def made(signature: str, body: str, **scope: Any) -> Udf:
    """Return the udf `def f<signature>` with that body; a body without `return` is an expression."""
    if "return " not in body:
        body = f"return {body}"
    text = f"def f{signature}:\n" + "".join(f"    {line}\n" for line in body.splitlines())
    filename = f"cell_{abs(hash(text))}.py"
    linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
    names: dict[str, Any] = {"math": math, **scope}
    exec(compile(text, filename, "exec"), names)
    return udf(names["f"])
