"""The pictures of a graph, as a person sees them."""

from __future__ import annotations

import re
from html.parser import HTMLParser

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.graph import draw

from .streams import FLIGHTS, HOURLY, STREAMS

FIRST_CELL = """\
read frame
-> event time sched, 15m behind
-> filter dep_delay.is_not_null()
-> gained = gained(dep_delay, arr_delay)
-> wasm carrier_code(carrier)
-> key by origin
-> tumbling(1h), 10m late allowed, early after_count(2)
-> hourly: agg flights = len(), gained = gained.mean(), worst = dep_delay.max()"""

BRANCHES = """\
read frame
|- filter dep_delay > 0
|  -> (union, below)
`- small: filter (dep_delay <= 0) & (carrier == "AA")
   -> union
   |- select origin
   `- drop tags"""

SIDES = (
    FIRST_CELL
    + """
|- write parquet out/
|- [late] write csv late/
`- select origin"""
)
HOSTILE = '</pre><script>alert("1")</script>'


def test_a_row_of_steps_is_drawn_down_the_left_edge() -> None:
    assert HOURLY.draw() == FIRST_CELL


def test_branches_and_diamonds_are_drawn_as_a_tree() -> None:
    small = FLIGHTS.filter((pl.col("dep_delay") <= 0) & (pl.col("carrier") == "AA")).named("small")
    both = FLIGHTS.filter(pl.col("dep_delay") > 0).union(small)
    graph = both.select("origin").graph.merge(both.drop("tags").graph)
    assert draw.text(graph) == BRANCHES


def test_side_outputs_are_marked() -> None:
    graph = HOURLY.write_parquet("out/").graph.merge(HOURLY.late.write_csv("late/").graph)
    assert draw.text(graph.merge(HOURLY.select("origin").graph)) == SIDES


def test_a_side_output_is_drawn_at_the_end() -> None:
    assert HOURLY.late.draw() == FIRST_CELL + "\n-> [late]"
    assert HOURLY.late.mermaid().splitlines()[-2:] == ['  n8["late"]', "  n7 -->|late| n8"]
    text = "".join(page(HOURLY.late).text)
    assert "hourly.late" in text
    assert FIRST_CELL + "\n-> [late]" in text
    assert "missed_start\xa0Datetime[μs, America/New_York]" in text
    both = FLIGHTS.filter(pl.col("dep_delay") > 0).union(FLIGHTS.filter(pl.col("dep_delay") < 0)).event_time("sched")
    assert both.invalid.draw().splitlines()[-2:] == ["   -> event time sched", "   -> [invalid]"]


def test_a_stage_shows_what_changes_and_unfolds_to_all_columns() -> None:
    read = page(FLIGHTS.select("carrier", "dep_delay", "origin").filter(pl.col("dep_delay") > 0).drop("origin"))
    assert read.seen.count("details") == 2
    text = "".join(read.text)
    assert "the same columns" in text
    assert "without origin" in text
    added = page(FLIGHTS.with_columns(far=pl.lit(True)))
    assert "with far\xa0Boolean" in "".join(added.text)
    assert "now dep_delay\xa0Float32" in "".join(page(FLIGHTS.cast({"dep_delay": pl.Float32})).text)
    assert added.seen.count("summary") == 1


def test_a_graph_shows_its_stages_in_short() -> None:
    assert repr(HOURLY.graph).startswith("Graph(read-")
    assert repr(HOURLY.graph).endswith(", hourly)")
    assert len(repr(HOURLY.graph)) < 250


def test_a_stream_shows_its_path() -> None:
    assert repr(HOURLY) == "Stream(read -> event_time -> filter -> udf -> wasm -> key_by -> window -> hourly)"
    assert repr(HOURLY.late).endswith("hourly.late)")


@pytest.mark.parametrize("name", STREAMS)
def test_a_drawing_has_each_stage_once_and_no_address(name: str) -> None:
    graph = STREAMS[name].graph
    lines = draw.text(graph).splitlines()
    assert len([line for line in lines if "below)" not in line]) == len(graph)
    for picture in (draw.text(graph), draw.html(graph), draw.mermaid(graph), repr(STREAMS[name])):
        assert "0x" not in picture


class Page(HTMLParser):
    """Reads HTML, and refuses what is not closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.open.append(tag)
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page(stream: flare.Stream) -> Page:
    read = Page()
    read.feed(stream._repr_html_())
    assert not read.open
    return read


def test_the_rich_display_shows_the_graph_the_schema_of_each_edge_and_what_is_stateful() -> None:
    read = page(HOURLY)
    text = "".join(read.text)
    assert FIRST_CELL in text
    assert read.seen.count("tr") == len(HOURLY.graph) + 1
    for said in (
        "hourly",
        "Float64",
        "time sched",
        "key origin",
        "side output late",
        "one partial result per key and pane",
    ):
        assert said in text
    median = HOURLY.at(HOURLY.graph.nodes["hourly"].inputs[0]).agg(mid=pl.col("dep_delay").median())
    assert "the rows of open windows: mid needs them all at once" in "".join(page(median).text)


def test_what_needs_the_order_across_panes_holds_rows() -> None:
    timed = FLIGHTS.event_time("sched")
    for window, held in [
        (flare.hopping("1h", every="5m"), "the rows of open windows: f needs their order"),
        (flare.tumbling("1h"), "one partial result per pane"),
    ]:
        assert held in "".join(page(timed.window(window).agg(f=pl.col("dep_delay").first())).text)


def test_names_and_expressions_cannot_break_out_of_the_page() -> None:
    frame = pl.DataFrame({HOSTILE: [1], "a": [1]})
    stream = flare.from_frame(frame).with_columns(x=pl.lit(HOSTILE)).key_by(HOSTILE).rename({"a": "<b>"})
    html = stream._repr_html_()
    assert "<script" not in html
    assert HOSTILE in "".join(page(stream).text)
    chart = stream.mermaid()
    assert "<" not in chart
    assert "script#gt;" in chart


NODE = re.compile(r'  n\d+(?:\[\("[^"]*"\)\]|\{\{"[^"]*"\}\}|\["[^"]*"\])')
LINK = re.compile(r"  n\d+ -->(\|\w+\|)? n\d+")


@pytest.mark.parametrize("name", STREAMS)
def test_a_chart_is_made_of_nodes_and_links(name: str) -> None:
    first, *lines = STREAMS[name].mermaid().splitlines()
    assert first == "flowchart LR"
    for line in lines:
        assert NODE.fullmatch(line) or LINK.fullmatch(line), line


def test_words_of_mermaid_are_good_names_for_a_stage() -> None:
    chart = FLIGHTS.drop("tags").named("end").drop("place").named("subgraph").mermaid()
    assert '  n1["end: drop tags"]' in chart
    assert "  n0 --> n1" in chart


def test_pictures_are_the_same_each_time() -> None:
    again = FLIGHTS.filter(pl.col("dep_delay") > 1)
    other = FLIGHTS.filter(pl.col("dep_delay") > 1)
    assert again._repr_html_() == other._repr_html_()
    assert again.mermaid() == other.mermaid()
    assert again.draw() == other.draw()


def test_a_long_expression_is_cut_in_the_drawing() -> None:
    stream = FLIGHTS.filter(pl.all_horizontal(pl.col("dep_delay") > n for n in range(100)))
    assert max(map(len, stream.draw().splitlines())) < 110
    assert "…" in stream.draw()
