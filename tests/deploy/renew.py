"""Renew what is generated in docs/flink.md: `python -m tests.deploy.renew`."""

from __future__ import annotations

from pathlib import Path

from dataflare_nb.deploy.support import markdown

DOCS = Path(__file__).parents[2] / "docs" / "flink.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->"

if __name__ == "__main__":
    before, _, rest = DOCS.read_text().partition(BEGIN)
    DOCS.write_text(f"{before}{BEGIN}\n{markdown()}\n{END}{rest.partition(END)[2]}")
