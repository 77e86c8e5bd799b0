"""Renew what is generated: the table in docs/flink.md, and the golden manifests. `python -m tests.deploy.renew`."""

from __future__ import annotations

from pathlib import Path

from dataflare_nb.deploy.support import markdown

from .test_manifests import GOLDEN, TARGETS, golden

DOCS = Path(__file__).parents[2] / "docs" / "flink.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"

if __name__ == "__main__":
    before, _, rest = DOCS.read_text().partition(BEGIN)
    DOCS.write_text(f"{before}{BEGIN}\n{markdown()}\n{END}{rest.partition(END)[2]}")
    for name, target in TARGETS.items():
        (GOLDEN / name).mkdir(parents=True, exist_ok=True)
        for path, content in golden(target).items():
            (GOLDEN / name / path).write_bytes(content)
