"""From a graph and a target to a bundle; nothing outside is touched."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from ..errors import GraphError
from ..graph import Graph, node
from ..graph.node import split_ref
from ..runtime.plan import plan
from . import blobs, configuration, image, kubernetes, support, versions, yaml
from .bundle import LOCK, Bundle
from .layout import layout, partitions
from .support import Unsupported
from .target import Flink


class Refused(GraphError):  # noqa: N818 - says what it is
    """A graph that the cluster cannot run; `unsupported` holds each stage and the reason."""

    def __init__(self, unsupported: Sequence[Unsupported]) -> None:
        self.unsupported = tuple(unsupported)
        told = "".join(f"\n    {each}" for each in self.unsupported)
        super().__init__(f"Flink cannot run this graph as it is:{told}")


@dataclass(frozen=True, slots=True)
class Deployer:
    """Makes bundles for one target."""

    target: Flink

    def check(self, graph: Graph) -> Sequence[Unsupported]:
        """Name everything that the cluster cannot do, before anything is made."""
        return support.check(graph, self.target)

    def render(self, graph: Graph, heads: Sequence[str] | None = None) -> Bundle:
        """Return the bundle of what `heads` need, all that nothing else reads by default. Raises Refused."""
        heads = list(heads if heads is not None else graph.outputs())
        graph = graph.upstream(heads)
        if unsupported := self.check(graph):
            raise Refused(unsupported)
        name = self.target.name or _name([graph.called(head) for head in heads])
        index, files = blobs.write(graph.blobs)
        files = {
            **files,
            "graph.json": graph.to_json(indent=2) + b"\n",
            "job.json": _json(self._job(name, graph, heads)),
            "job.py": image.JOB.encode(),
            "requirements.txt": image.requirements(versions.pins()),
            "Dockerfile": image.dockerfile(),
        }
        if not index:
            # The Dockerfile copies the folder, which git would not keep without a file.
            files[f"{blobs.FOLDER}/.keep"] = b""
        called = self.target.image or f"dataflare/{name}:{Bundle(name, files).sha256[:12]}"
        for path, documents in kubernetes.manifests(name, called, self.target).items():
            files[path] = yaml.write(*documents)
        files["README.md"] = image.readme(
            name, called, self.target.namespace, self.target.secrets, support.notes(graph)
        )
        files[LOCK] = _json(_lock(name, called, index, files))
        return Bundle(name, dict(sorted(files.items())))

    def _job(self, name: str, graph: Graph, heads: Sequence[str]) -> dict[str, Any]:
        """Return what the workers are told beside the graph."""
        target = self.target
        return {
            "name": name,
            "heads": heads,
            "results": [head for head in heads if not isinstance(graph.nodes[split_ref(head)[0]], node.Write)],
            "key_groups": target.key_groups,
            "partitions": partitions(target),
            "checkpoint_interval": target.checkpoint_interval,
            "storage": target.checkpoints,
            "restart": configuration.restart(target),
            "vertices": [msgspec.to_builtins(vertex) for vertex in layout(graph, plan(graph), target)],
        }


def _lock(name: str, called: str, index: dict[str, blobs.Entry], files: dict[str, bytes]) -> dict[str, Any]:
    return {
        "version": 1,
        "name": name,
        "image": called,
        "python": versions.PYTHON,
        "packages": versions.pins(),
        "blobs": msgspec.to_builtins(index),
        "files": {path: hashlib.sha256(content).hexdigest() for path, content in sorted(files.items())},
    }


def _json(document: dict[str, Any]) -> bytes:
    return msgspec.json.format(msgspec.json.encode(document), indent=2) + b"\n"


def _name(stages: Sequence[str]) -> str:
    """Return a name that Kubernetes takes, from those of the stages."""
    told = re.sub(r"[^a-z0-9]+", "-", "-".join(stages).lower()).strip("-")
    return (told if told[:1].isalpha() else f"job-{told}")[:45].rstrip("-")
