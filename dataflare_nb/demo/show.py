"""Run the demo on a terminal: progress, then the graph, the windows, the ledger, the files and the pictures."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from .. import terminal
from ..graph import draw
from ..runtime.probe import Reading
from . import data, job


def run(out: Path, *, rows: int | None = None, workers: int | None = None, picture: bool = True) -> None:
    """Run the main job into the folder `out` and tell what came of it."""
    if picture:
        # Ask for matplotlib before the work, not after it.
        from . import picture as pictures
    out.mkdir(parents=True, exist_ok=True)
    source = out / "flights.parquet"
    with terminal.step("Reading the flights of 2013 from New York and sorting them by departure"):
        flights = data.flights(rows)
        flights.write_parquet(source)
    running = job.start(source, out, workers=workers)
    print("\nThe job, as a graph:\n")
    print(draw.text(running.graph), end="\n\n", flush=True)
    reading = terminal.follow(running, total=flights.height)
    hourly, late = pl.read_parquet(out / "hourly.parquet"), pl.read_parquet(out / "late.parquet")
    print("\nThe last windows of an hour, in New York's time:\n")
    print(terminal.table(_shown(hourly)))
    print("\nThe ledger, where every row is accounted for:\n")
    print(terminal.ledger(running))
    print(f"\n{_summary(reading, hourly, late)}\n")
    files = {"windows": "hourly.parquet", "late rows": "late.parquet", "input": "flights.parquet"}
    if picture:
        pictures.draw(flights, hourly, late, out / "flights.png")
        running.plot().savefig(out / "job.png", dpi=110, metadata={"Software": None})
        files |= {"picture": "flights.png", "the job itself": "job.png"}
    for what, name in files.items():
        print(f"  {what + ':':<16} {out / name}")
    print(f"\n{_further()}")


def _shown(hourly: pl.DataFrame) -> pl.DataFrame:
    hour = pl.col("window_start").dt.strftime("%Y-%m-%d %H:%M").alias("hour")
    return hourly.tail(9).select("origin", hour, pl.exclude("origin", "window_start", "window_end"))


def _summary(reading: Reading, hourly: pl.DataFrame, late: pl.DataFrame) -> str:
    rows = terminal.rows_read(reading)
    invalid = sum(node.sides.get("invalid", 0) for node in reading.nodes.values())
    revised = hourly.filter(pl.col("pane") == "late").height
    return (
        f"{rows:,} rows in {reading.elapsed:.1f} s: {rows / reading.elapsed:,.0f} rows/s. "
        f"{hourly.height - revised:,} windows, {revised:,} of them updated later; "
        f"{late.height:,} rows too late ({late.height / max(rows, 1):.1%}), {invalid:,} invalid.\n"
        f"A watermark each {job.WATERMARK_EVERY} rows, and windows that late rows revise, are what takes the time:\n"
        "without them, flights by the hour go through some 80 times as fast."
    )


def _further() -> str:
    """Say how to go on: from a checkout by its Makefile, else by JupyterLab itself."""
    door = "make lab" if (Path.cwd() / "Makefile").exists() and (Path.cwd() / "notebooks").exists() else "jupyter lab"
    return f"Go on in JupyterLab:  {door}"
