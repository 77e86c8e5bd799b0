"""How a deployment shows itself: what runs in how many instances, the files, what to know, and what to do next."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from .blobs import FOLDER
from .remote.sketch import Sketch

if TYPE_CHECKING:
    from .deployment import Deployment

_FILES = {
    "README.md": "five commands, and what must be there before",
    "graph.json": "the stream, as a document",
    "job.json": "which stages run together, and in how many instances",
    "job.py": "starts the job",
    "dataflare.lock": "versions and sums of all that is here",
    "Dockerfile": "the image, with a user that is not root",
    "requirements.txt": "the packages of the image, to the version",
    "flinkdeployment.yaml": "the job, for the Flink Kubernetes Operator",
    "kustomization.yaml": "all manifests, for kubectl apply -k",
    "configmap.yaml": "the environment variables",
    "serviceaccount.yaml": "who the pods are",
    "rbac.yaml": "what they may do",
    "networkpolicy.yaml": "who may talk to them",
    "poddisruptionbudget.yaml": "how many may be missing",
    "podmonitor.yaml": "metrics, for Prometheus",
}
_BLOBS = {
    "wasm": "WebAssembly",
    "json": "what a plugin is told",
    "arrow": "a frame",
    "function": "a Python function",
}
_LONGEST = 100
_CELL = "text-align:left;vertical-align:top;padding:2px 10px;border-bottom:1px solid var(--jp-border-color2,#ccc)"


def text(shown: Deployment) -> str:
    """Return it as text."""
    lines = [f"Deployment {shown.name}: {len(shown.files)} files in {shown.folder}, sha256 {shown.bundle.sha256[:12]}"]
    for name, does, reads, times in _vertices(shown):
        lines.append(f"  {times:>5} x  {name}" + (f", reads {reads}" if reads else ""))
        lines += [f"           {_cut(step)}" for step in does if step != name]
    lines += [f"  * {note}" for note in shown.notes]
    return "\n".join([*lines, "next:", *(f"  {command}" for command in _next(shown))])


def html(shown: Deployment) -> str:
    """Return it as HTML that follows the page's light or dark theme."""
    vertices = [
        (f"<b>{escape(name)}</b>", escape(reads) or "&mdash;", "<br>".join(map(escape, does)), f"{times:,}")
        for name, does, reads, times in _vertices(shown)
    ]
    files = [(f"<code>{escape(path)}</code>", _purpose(path)) for path in sorted(shown.files, key=_rank)]
    notes = "".join(f"<li>{escape(note)}</li>" for note in shown.notes)
    return (
        f"<div><p><b>{escape(shown.name)}</b> in <code>{escape(str(shown.folder))}</code>, "
        f"sha256 <code>{shown.bundle.sha256[:12]}</code></p>"
        f"{_table(('runs', 'reads', 'does', 'instances'), vertices)}"
        f"{f'<ul>{notes}</ul>' if notes else ''}"
        f"<details><summary>{len(files)} files</summary>{_table(('file', 'is'), files)}</details>"
        f"<p>Next:</p><pre>{escape(chr(10).join(_next(shown)))}</pre></div>"
    )


def _vertices(shown: Deployment) -> list[tuple[str, tuple[str, ...], str, int]]:
    """Return what Flink runs: its name, the steps in it, what it reads, and in how many instances."""
    sketch = Sketch.of_graph(shown.name, shown.graph, shown.target)
    stages = sketch.outline.stages
    times = shown.parallelism
    reads: list[list[str]] = [[] for _ in stages]
    for pipe in sketch.outline.pipes:
        sender = stages[pipe.sender].label
        reads[pipe.receiver].append(sender if pipe.tag == "main" else f"{sender}.{pipe.tag}")
    return [
        (stage.label, stage.does, ", ".join(read), times[stage.id]) for stage, read in zip(stages, reads, strict=True)
    ]


def _cut(step: str) -> str:
    return step if len(step) <= _LONGEST else step[: _LONGEST - 1] + "…"


def _next(shown: Deployment) -> list[str]:
    if shown.cluster is None:
        return shown.commands
    return [
        "job = deployment.submit()    # on the cluster of this machine; `job` shows the dashboard",
        "deployment.result()          # its rows, when it has ended",
        "deployment.compare()         # the rows of the cluster beside those of this process",
    ]


def _purpose(path: str) -> str:
    if path.startswith(f"{FOLDER}/"):
        return _BLOBS.get(path.rpartition(".")[2], "")
    return _FILES.get(path, "")


def _rank(path: str) -> tuple[int, str]:
    known = list(_FILES)
    return (known.index(path) if path in known else len(known), path)


def _table(titles: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head, *body = (
        "<tr>" + "".join(f'<{cell} style="{_CELL}">{content}</{cell}>' for content in row) + "</tr>"
        for cell, row in [("th", titles), *(("td", row) for row in rows)]
    )
    return (
        '<table style="border-collapse:collapse;font-size:12px">'
        f"<thead>{head}</thead><tbody>{''.join(body)}</tbody></table>"
    )
