"""A graph as text, HTML and Mermaid. The pictures hold no addresses, times or rates, so they can be compared."""

from __future__ import annotations

import re
from html import escape

import polars as pl

from ..dtypes import short
from ..types import Schema
from .aggregation import holds
from .graph import Graph
from .node import AnyNode, Read, Window, Write, is_named, split_ref

_MOST = 96


def text(graph: Graph, head: str = "") -> str:
    """Return the graph as lines, each stage under what it reads; `head` is the side output it is drawn for, if one.

    Stages in a row share an indentation and a branch is drawn as a tree. A stage with several inputs stands in full
    where it is met last; before that, a line says that the stream goes there.
    """
    lines: list[str] = []
    missing = {item.id: len(item.inputs) for item in graph}
    for item in graph:
        if not item.inputs:
            _walk(graph, item, "", "", lines, missing)
    side = split_ref(head)[1]
    if side != "main":
        lines.append(f"{_lead(lines[-1])}-> [{side}]")
    return "\n".join(lines)


def _lead(line: str) -> str:
    """Return what stands before a line that follows this one."""
    found = re.match(r"(?:\|  |   |`- )*", line)
    return found[0].replace("`- ", "   ") if found is not None else ""


def _walk(graph: Graph, item: AnyNode, lead: str, below: str, lines: list[str], missing: dict[str, int]) -> None:
    missing[item.id] -= 1
    if missing[item.id] > 0:
        lines.append(f"{lead}({_headline(item)}, below)")
        return
    lines.append(f"{lead}{_headline(item)}")
    consumers = graph.consumers(item.id)
    for number, (consumer, _, tag) in enumerate(consumers):
        mark = f"[{tag}] " if tag != "main" else ""
        if len(consumers) == 1:
            _walk(graph, consumer, f"{below}-> {mark}", below, lines, missing)
        else:
            last = number == len(consumers) - 1
            corner, rest = ("`- ", "   ") if last else ("|- ", "|  ")
            _walk(graph, consumer, f"{below}{corner}{mark}", below + rest, lines, missing)


def mermaid(graph: Graph, head: str = "") -> str:
    """Return the graph as a Mermaid flowchart."""
    # The ids of the chart are ours: `end` and `class` are good names for a stage and break a chart.
    ids = {item.id: f"n{number}" for number, item in enumerate(graph)}
    lines = ["flowchart LR"]
    for item in graph:
        match item:
            case Read() | Write():
                left, right = "[(", ")]"
            case Window():
                left, right = "{{", "}}"
            case _:
                left, right = "[", "]"
        lines.append(f'  {ids[item.id]}{left}"{_mermaid(_headline(item))}"{right}')
    for item in graph:
        for ref in item.inputs:
            node_id, tag = split_ref(ref)
            lines.append(f"  {ids[node_id]} -->{'' if tag == 'main' else f'|{tag}|'} {ids[item.id]}")
    node_id, side = split_ref(head)
    if side != "main":
        lines += [f'  n{len(ids)}["{side}"]', f"  {ids[node_id]} -->|{side}| n{len(ids)}"]
    return "\n".join(lines)


_CELL = "text-align:left;vertical-align:top;padding:2px 10px;border-bottom:1px solid var(--jp-border-color2,#ccc)"


def html(graph: Graph, head: str = "") -> str:
    """Return the graph as HTML that follows the page's light or dark theme: the drawing, and a row for each stage.

    A row says what a stage reads, what it does, how the columns change (all of them unfold), what is known of time and
    keys, and what its state holds.
    """
    rows = [_row(_cells(graph, item)) for item in graph]
    node_id, side = split_ref(head)
    if side != "main":
        columns = _columns(graph.edge(head).schema, graph.edge(node_id).schema)
        rows.append(_row((f"<b>{escape(head)}</b>", escape(node_id), f"the {side} rows", columns, "", "")))
    titles = _row(("stage", "reads", "does", "gives", "knows", "holds"), cell="th")
    return (
        f'<div><pre style="line-height:1.3">{escape(text(graph, head))}</pre>'
        '<table style="border-collapse:collapse;font-size:12px">'
        f"<thead>{titles}</thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _cells(graph: Graph, item: AnyNode) -> tuple[str, ...]:
    edge = graph.edges[item.id]
    facts = [] if edge.bounded else ["never ends"]
    if edge.event_time is not None:
        facts.append(f"time {edge.event_time.column}")
    if edge.keys:
        facts.append(f"key {', '.join(edge.keys)}")
    if edge.window is not None:
        facts.append(f"window {edge.window.window}")
    facts += [f"side output {tag}" for tag in edge.sides]
    inner = graph.edge(item.inputs[0]) if item.inputs else None
    columns = _columns(edge.schema, inner.schema if inner is not None else Schema())
    return (
        f"<b>{escape(item.id)}</b>",
        ", ".join(escape(ref) for ref in item.inputs) or "&mdash;",
        escape(_cut(item.label(), 4 * _MOST)),
        columns,
        escape("; ".join(facts)),
        escape(holds(item, inner, graph.blobs) if inner is not None else ""),
    )


def _columns(schema: Schema, before: Schema) -> str:
    """Say how columns differ from those before; all of them where most are new, else folded away."""
    every = ", ".join(_column(name, dtype) for name, dtype in schema.items())
    added = [_column(name, dtype) for name, dtype in schema.items() if name not in before]
    other = [_column(name, dtype) for name, dtype in schema.items() if name in before and before[name] != dtype]
    gone = [escape(name) for name in before if name not in schema]
    if 2 * (len(added) + len(other) + len(gone)) > len(schema):
        return every
    words = {"with": added, "now": other, "without": gone}
    changes = [f"{word} {', '.join(names)}" for word, names in words.items() if names]
    summary = "; ".join(changes) or "the same columns"
    return f"<details><summary>{summary}</summary>{every}</details>"


def _column(name: str, dtype: pl.DataType) -> str:
    return f"{escape(name)}&nbsp;<i>{escape(_cut(short(dtype)))}</i>"


def _row(cells: tuple[str, ...], cell: str = "td") -> str:
    return "<tr>" + "".join(f'<{cell} style="{_CELL}">{content}</{cell}>' for content in cells) + "</tr>"


def _headline(item: AnyNode) -> str:
    return _cut((f"{item.id}: " if is_named(item) else "") + item.label())


def _cut(label: str, most: int = _MOST) -> str:
    label = " ".join(label.split())
    return label if len(label) <= most else label[: most - 1] + "…"


_ENTITIES = {"#": "#35;", '"': "#quot;", "<": "#lt;", ">": "#gt;", "&": "#amp;", "`": "#96;", "\\": "#92;"}


def _mermaid(label: str) -> str:
    return "".join(_ENTITIES.get(sign, sign) for sign in label)
