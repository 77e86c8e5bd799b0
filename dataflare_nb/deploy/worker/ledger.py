"""Where the rows of a pipeline are: counted as they pass, told as metrics while it runs, and when it has ended."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from ...runtime.host import Host
from ...types import Json
from .combiner import Combiner

LEDGER = "__ledger"
"""The name under which the ledgers of pipelines are kept beside the rows of outputs."""
SCHEMA = {"stage": pl.String, "name": pl.String, "value": pl.Int64}


class Ledger:
    """Counts by stage: `rows_in`, `rows_out`, each side output, and what operators count themselves."""

    def __init__(self, stages: Iterable[str]) -> None:
        self._counts: dict[str, dict[str, int]] = {stage: {"rows_in": 0, "rows_out": 0} for stage in stages}
        self._closed = False

    def took(self, stage: str, rows: int) -> None:
        """Note rows that a stage was given."""
        self._counts[stage]["rows_in"] += rows

    def gave(self, stage: str, tag: str, rows: int) -> None:
        """Note rows that a stage has put out."""
        counts = self._counts[stage]
        name = "rows_out" if tag == "main" else tag
        counts[name] = counts.get(name, 0) + rows

    def close(self) -> bool:
        """Tell, once, that the last row has been seen."""
        closed, self._closed = self._closed, True
        return not closed

    def of(self, stage: str, hosts: Mapping[str, Host], combiners: Iterable[Combiner]) -> dict[str, int]:
        """Return the counts of a stage, with those of its operator and of halves of windows that are done here."""
        found = dict(self._counts.get(stage, {}))
        if (host := hosts.get(stage)) is not None:
            found["held"] = host.operator.held()
            for name, value in host.counters.items():
                found[name] = found.get(name, 0) + value
        for half in combiners:
            if half.node_id == stage:
                # What is late there never gets to the other half.
                found["rows_in"] = found.get("rows_in", 0) + half.late
                for name, value in {"late": half.late, **half.counters}.items():
                    found[name] = found.get(name, 0) + value
        return found

    def frame(self, hosts: Mapping[str, Host], combiners: Iterable[Combiner]) -> pl.DataFrame:
        """Return all counts as rows."""
        halves = list(combiners)
        stages = dict.fromkeys([*self._counts, *(half.node_id for half in halves)])
        rows = [(stage, name, value) for stage in stages for name, value in self.of(stage, hosts, halves).items()]
        return pl.DataFrame(rows, schema=SCHEMA, orient="row")

    def snapshot(self) -> Json:
        """Return the counts."""
        return {"counts": self._counts, "closed": self._closed}

    def restore(self, saved: Json) -> None:
        """Go on counting."""
        self._counts, self._closed = saved["counts"], saved["closed"]


def sums(frames: Iterable[pl.DataFrame]) -> pl.DataFrame:
    """Return the counts of all pipelines of a job, each stage with its own, `stage`, `name` and `value`."""
    together = pl.concat([pl.DataFrame(schema=SCHEMA), *frames])
    return together.group_by("stage", "name", maintain_order=True).agg(pl.col("value").sum())
