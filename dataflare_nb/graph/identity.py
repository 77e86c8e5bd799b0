"""Which columns tell one result of a window from another, so that a revision can take the place of what it revises."""

from __future__ import annotations

from .aggregation import window_columns
from .graph import Graph
from .node import COLUMN_NODES, Aggregate, Cast, Drop, Filter, KeyBy, Rename, Select, WithColumns, split_ref


def identity(graph: Graph, ref: str) -> tuple[str, ...]:
    """Return the window and key columns of results that may be revised; nothing where there are none, or not all."""
    node_id, tag = split_ref(ref)
    item = graph.nodes[node_id]
    kept = set(graph.edge(ref).schema)
    while tag == "main" and isinstance(item, (*COLUMN_NODES, KeyBy)):
        if not isinstance(item, Select | WithColumns | Filter | Drop | Rename | Cast | KeyBy):
            return ()
        before = graph.edge(item.inputs[0]).schema
        after = graph.edge(item.id)
        if isinstance(item, Rename):
            return ()
        kept &= {name for name, dtype in before.items() if after.schema.get(name) == dtype}
        node_id, tag = split_ref(item.inputs[0])
        item = graph.nodes[node_id]
    if tag != "main" or not isinstance(item, Aggregate):
        return ()
    inner = graph.edge(item.inputs[0])
    made = window_columns(inner)
    if "revision" not in made:
        return ()
    times = [name for name in ("window_start", "window_end") if name in made]
    names = (*times, *(name for name in made if name not in (*times, "pane", "revision")))
    return names if kept.issuperset(names) else ()
