"""The edges of functions whose inside nobody sees: Python over batches, plugins, compiled functions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from .. import dtypes
from ..errors import GraphFormat, WrongType
from ..types import Schema
from . import node
from .asking import at, refuse_reserved, require_columns
from .schema import Edge, carry


def map_batches(item: node.MapBatches, edge: Edge) -> Edge:
    """Return the edge after a Python function over batches."""
    return _opaque(item, edge, dtypes.from_json(item.schema))


def wasm(item: node.Wasm, edge: Edge) -> Edge:
    """Return the edge after a plugin."""
    invalid = Schema({**edge.schema, "reason": pl.String()})
    after = _opaque(item, edge, dtypes.from_json(item.schema))
    return replace(after, sides={"invalid": invalid} if item.on_error == "dead_letter" else {})


def udf(item: node.Udf, edge: Edge, blobs: Mapping[str, Any]) -> Edge:
    """Return the edge after a compiled function."""
    kernel: Any = blobs.get(item.udf)
    if not hasattr(kernel, "facts"):
        raise GraphFormat(f"{at(item)}: the blob `{item.udf}` is no compiled @udf")
    require_columns(item, item.args, edge.schema)
    settings = item.settings or {}
    given = len(item.args) + len(settings)
    if given != len(kernel.facts.params) or not settings.keys() <= {slot.name for slot in kernel.facts.params}:
        raise GraphFormat(f"{at(item)} passes {given} columns; the function has {len(kernel.facts.params)}")
    wrong = _unfitting(item, kernel) or kernel.mismatch(item.args, edge.schema, set(settings))
    if wrong is not None:
        raise WrongType(f"{at(item)} passes {wrong}")
    invalid = Schema({**edge.schema, "reason": pl.String()})
    sides = {"invalid": invalid} if item.on_error == "dead_letter" else {}
    made = kernel.columns(item.output, item.outputs)
    if not made:
        return replace(edge, sides=sides)
    schema = Schema({**edge.schema, **made})
    refuse_reserved(item, schema, edge.schema)
    kept = {name: name for name in edge.schema if name not in made}
    return replace(carry(edge, schema, kept, at(item)), sides=sides)


def _unfitting(item: node.Udf, kernel: Any) -> str | None:
    """Return which param cannot be given to the function."""
    known = {spec.name: spec for spec in node.params_of(item)}
    for slot in kernel.facts.params:
        if (name := (item.settings or {}).get(slot.name)) is None:
            continue
        if name not in known:
            raise GraphFormat(f"{at(item)} does not say what the param `{name}` is")
        if not kernel.takes(slot, known[name].polars):
            return f"the param `{name}`, which is {known[name].dtype}, as `{slot}` of {kernel.facts.name}"
    return None


def _opaque(item: node.AnyNode, edge: Edge, schema: Schema) -> Edge:
    refuse_reserved(item, schema, edge.schema)
    kept = {name: name for name, dtype in edge.schema.items() if schema.get(name) == dtype}
    return carry(edge, schema, kept, at(item))
