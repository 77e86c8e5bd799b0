"""Event time, split by split, keeps the laws; so do stages in WebAssembly."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dataflare_nb.operators.event_time import AssignEventTime
from dataflare_nb.operators.wasm import WasmStage
from dataflare_nb.runtime.packet import Packet
from dataflare_nb.testing import check_operator
from dataflare_nb.types import NEVER, End, Watermark
from dataflare_nb.wasm import Plugin

from .helpers import ROWS, at, mark, operator, rows


def of(split: str, *messages):
    return [Packet(message, (split,)) for message in messages]


@pytest.mark.parametrize("unit", ["us", "ms", "ns"])
def test_event_time_keeps_the_laws(unit):
    word = Watermark(NEVER)
    no_time = rows(("x", 0, None, 5, 0.5))
    script = [
        *of("one", word, at(1, 5, 3), word),
        *of("two", word, no_time, at(2), word, at(-4)),
        *of("one", no_time, at(9), word, End()),
        *of("two", at(1), word, End()),
        End(),
    ]
    script = [
        packet.carrying(packet.message.cast({"t": pl.Datetime(unit)}))
        if isinstance(packet, Packet) and isinstance(packet.message, pl.DataFrame)
        else packet
        for packet in script
    ]
    schema = pl.Schema({**ROWS, "t": pl.Datetime(unit)})
    make = operator(lambda s: s.event_time("t", "2s"), schema)
    assert isinstance(make(), AssignEventTime)
    check_operator(make, script, ordered=True, exact=True)


@pytest.mark.parametrize("on_error", ["fail", "dead_letter"])
def test_a_plugin_keeps_the_laws(on_error):
    plugin = Plugin.load(Path(__file__).parents[2] / "plugins" / "carrier_code" / "plugin.json")
    carriers = ["AA", "B6", "UA", None, "DL"] if on_error == "fail" else ["AA", "B6", "UA", "??", "DL"]
    batch = pl.DataFrame({"carrier": carriers, "n": range(5)})
    script = [batch, mark(3), batch.head(2), batch.tail(1), mark(9), batch]
    make = lambda: WasmStage(plugin, columns=("carrier",), on_error=on_error)  # noqa: E731
    check_operator(make, script, ordered=True, exact=True)
