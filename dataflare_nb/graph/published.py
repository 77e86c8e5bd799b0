"""The JSON Schema of graph documents as a file: `python -m dataflare_nb.graph.published` writes it anew."""

from __future__ import annotations

import json
from pathlib import Path

from .graph import Graph

PATH = Path(__file__).with_name("graph.schema.json")


def document() -> str:
    """Return what the file has to hold."""
    return json.dumps(Graph.json_schema(), indent=2, sort_keys=True) + "\n"


if __name__ == "__main__":
    PATH.write_text(document())
