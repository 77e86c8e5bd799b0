"""A graph as text, HTML and Mermaid. The pictures hold no addresses, times or rates, so they can be compared."""

from __future__ import annotations

from html import escape

from .graph import Graph
from .node import AnyNode, Read, Window, Write, split_ref

_MOST = 72


def text(graph: Graph) -> str:
    """Return the graph as lines, each node under what it reads.

    Nodes in a row share an indentation; a branch is drawn as a tree.
    """
    lines: list[str] = []
    seen: set[str] = set()
    for item in graph:
        if not item.inputs:
            _walk(graph, item, "", "", lines, seen)
    return "\n".join(lines)


def _walk(graph: Graph, item: AnyNode, lead: str, below: str, lines: list[str], seen: set[str]) -> None:
    again = item.id in seen
    lines.append(f"{lead}{_name(item)}{_cut(item.label())}{' (above)' if again else ''}")
    if again:
        return
    seen.add(item.id)
    consumers = graph.consumers(item.id)
    for number, (consumer, _, tag) in enumerate(consumers):
        mark = f"[{tag}] " if tag != "main" else ""
        if len(consumers) == 1:
            _walk(graph, consumer, f"{below}-> {mark}", below, lines, seen)
        else:
            last = number == len(consumers) - 1
            corner, rest = ("`- ", "   ") if last else ("|- ", "|  ")
            _walk(graph, consumer, f"{below}{corner}{mark}", below + rest, lines, seen)


def mermaid(graph: Graph) -> str:
    """Return the graph as a Mermaid flowchart."""
    lines = ["flowchart LR"]
    for item in graph:
        left, right = (
            ("[(", ")]") if isinstance(item, Read | Write) else ("{{", "}}") if isinstance(item, Window) else ("[", "]")
        )
        shown = _cut((f"{item.id}: " if _is_named(item) else "") + item.label())
        lines.append(f'  {item.id}{left}"{_mermaid(shown)}"{right}')
    for item in graph:
        for ref in item.inputs:
            node_id, tag = split_ref(ref)
            lines.append(f"  {node_id} -->{'' if tag == 'main' else f'|{tag}|'} {item.id}")
    return "\n".join(lines)


def html(graph: Graph) -> str:
    """Return the graph as an HTML table that follows the page's light or dark theme: stage, work, what comes out."""
    rows = []
    for item in graph:
        edge = graph.edges[item.id]
        columns = ", ".join(f"{escape(name)}&nbsp;<i>{escape(str(dtype))}</i>" for name, dtype in edge.schema.items())
        facts = []
        if edge.event_time is not None:
            facts.append(f"time {edge.event_time.column}")
        if edge.keys:
            facts.append(f"key {', '.join(edge.keys)}")
        facts += [f"side output {tag}" for tag in edge.sides]
        inputs = ", ".join(escape(ref) for ref in item.inputs) or "&mdash;"
        rows.append(
            f"<tr><td><b>{escape(item.id)}</b></td><td>{inputs}</td><td>{escape(_cut(item.label()))}</td>"
            f"<td>{columns}</td><td>{escape('; '.join(facts))}</td></tr>"
        )
    style = "text-align:left;vertical-align:top;padding:2px 10px;border-bottom:1px solid var(--jp-border-color2,#ccc)"
    head = "".join(f'<th style="{style}">{name}</th>' for name in ("stage", "reads", "does", "gives", "knows"))
    body = "".join(rows).replace("<td>", f'<td style="{style}">')
    return f'<table style="border-collapse:collapse;font-size:12px"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _name(item: AnyNode) -> str:
    return f"{item.id}: " if _is_named(item) else ""


def _is_named(item: AnyNode) -> bool:
    head, _, tail = item.id.rpartition("-")
    return not (head == item.kind and len(tail) == 8)


def _cut(label: str) -> str:
    return label if len(label) <= _MOST else label[: _MOST - 1] + "…"


def _mermaid(label: str) -> str:
    return label.replace('"', "#quot;").replace("<", "#lt;").replace(">", "#gt;")
