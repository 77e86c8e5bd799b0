"""url_parts says what urllib says, and in a fraction of the time of a regular expression."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import polars as pl
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dataflare_nb.errors import WasmConfiguration, WasmPluginExecution
from dataflare_nb.wasm import Session

from .helpers import answers, called

ALL = ["scheme", "host", "port", "path", "query", "fragment"]
PARAMS = ["q", "utm_source", "a b", "é", ""]


@pytest.fixture(scope="module")
def session() -> Iterator[Session]:
    with called("url_parts", parts=ALL, params=PARAMS, prefix="_") as session:
        yield session


def reference(url: str | None) -> dict[str, Any]:
    """What urllib makes of it, with null for what is not there."""
    if url is None:
        return dict.fromkeys(ALL + PARAMS)
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    rest = url.partition("#")[0]
    after = rest[len(parts.scheme) + 1 :] if parts.scheme else rest
    found = {
        "scheme": parts.scheme or None,
        "host": (parts.hostname or "") if after.startswith("//") else None,
        "port": port,
        "path": parts.path,
        "query": parts.query if "?" in rest else None,
        "fragment": parts.fragment if "#" in url else None,
    }
    values = dict(reversed(parse_qsl(parts.query, keep_blank_values=True)))
    return {**found, **{name: values.get(name) for name in PARAMS}}


def split(session: Session, urls: list[str | None]) -> list[dict[str, Any]]:
    frame = session.call(pl.DataFrame({"url": urls}, schema={"url": pl.String}))
    return frame.rename({name: name.removeprefix("_") for name in frame.columns}).to_dicts()


WORDS = st.text("abcXYZ019-._~!$'()*;,é中😀", max_size=20)
QUERIES = st.lists(
    st.tuples(
        st.sampled_from(["q", "utm_source", "a+b", "a%20b", "%C3%A9", "é", "", "other", "Q"]),
        st.text("az09+%=. é/?:@", max_size=20)
        | st.sampled_from(["%41", "%", "%4", "%zz", "%c3%a9", "%ff%fe", "%e2%82", "%f0%9f%98x"]),
        st.sampled_from(["=", ""]),
    ),
    max_size=5,
).map(lambda pairs: "&".join(name + equals + value for name, value, equals in pairs))


@st.composite
def urls(draw: st.DrawFn) -> str:
    scheme = draw(
        st.sampled_from(["http:", "https:", "HTTPS:", "ftp:", "mailto:", "a+b.c-d:", "x" * 17 + ":", "1a:", "", ":"])
    )
    user = draw(st.sampled_from(["", "", "me@", "me:secret@", "a@b@"]))
    host = draw(
        st.sampled_from(["Example.COM", "sub.example.org", "127.0.0.1", "[::1]", "[FE80::1]", "h" * 40, "", "a_b-C"])
    )
    port = draw(st.sampled_from(["", "", ":", ":80", ":8080", ":080", ":65535", ":65536", ":x", ":-1", ":99999999999"]))
    authority = draw(st.sampled_from(["", f"//{user}{host}{port}", f"//{user}{host}{port}"]))
    path = draw(st.lists(WORDS, max_size=4)).copy()
    query = draw(st.just("") | QUERIES.map(lambda query: "?" + query))
    fragment = draw(st.just("") | WORDS.map(lambda word: "#" + word))
    return scheme + authority + "".join("/" + part for part in path) + query + fragment


@given(st.lists(urls() | st.none() | WORDS, max_size=20))
@example(
    ["http://h"] * 3 + [None, "", "//", "///", "http://", "http:", "?", "#", "?#", "a?b?c#d#e", "x://@", "x://:@:"]
)
def test_parts_are_those_of_urllib(session: Session, given: list[str | None]) -> None:
    assert split(session, given) == [reference(url) for url in given]


def test_schemes_and_hosts_are_lower_case_but_not_the_zone_of_an_address(session: Session) -> None:
    found = split(session, ["HTTP://[FE80::1%ETH0]:80/", "HTTPS://ÄB.Example/"])
    assert (found[0]["scheme"], found[0]["host"], found[0]["port"]) == ("http", "fe80::1%ETH0", 80)
    assert found[1]["host"] == "Äb.example"


def test_settings_choose_columns_and_their_names() -> None:
    frame = pl.DataFrame({"url": ["http://h:1/p?q=1&utm=2#f", None]})
    assert answers("url_parts", frame).schema == {
        "host": pl.String,
        "port": pl.UInt16,
        "path": pl.String,
        "query": pl.String,
    }
    assert answers("url_parts", frame, parts=["host"], prefix="url_").to_dict(as_series=False) == {
        "url_host": ["h", None]
    }
    only = answers("url_parts", frame, parts=[], params=["utm", "none"])
    assert only.to_dict(as_series=False) == {"utm": ["2", None], "none": [None, None]}
    with pytest.raises(WasmConfiguration, match="parts may be scheme, host"):
        answers("url_parts", frame, parts=["hots"])
    with pytest.raises(WasmConfiguration, match="at most 16 params"):
        answers("url_parts", frame, params=[str(i) for i in range(17)])


def test_another_type_is_refused_in_its_own_words() -> None:
    with pytest.raises(WasmPluginExecution, match=r"url_parts takes one text column; cast it to pl\.String"):
        answers("url_parts", pl.DataFrame({"url": [1]}))


def test_a_long_value_of_a_parameter_finds_room(session: Session) -> None:
    value = "%ff" * 20_000
    rows = split(session, ["?q=" + value, "?q=short", "?utm_source=" + "x" * 100_000])
    assert rows[0]["q"] == "�" * 20_000
    assert rows[1]["q"] == "short"
    assert rows[2]["utm_source"] == "x" * 100_000


def test_the_host_takes_a_fraction_of_the_time_of_a_regular_expression() -> None:
    """The aim is 0.15 on an idle machine, where it is 0.11; here there is room for a busy one."""
    rng = random.Random(7)
    rows = [
        f"https://www.{rng.choice(['Example', 'shop', 'news'])}{rng.randrange(1000)}.com{rng.choice(['', ':8080'])}"
        f"/a/b{rng.randrange(10**6)}/page.html?utm_source=x{rng.randrange(100)}&id={rng.randrange(10**9)}#frag"
        for _ in range(65536)
    ]
    frame = pl.DataFrame({"url": rows})
    pattern = r"^[A-Za-z][A-Za-z0-9+.-]*://(?:[^/?#@]*@)?([^/?#:]+)"
    ratios = []
    with called("url_parts", parts=["host"]) as session:
        for _ in range(9):
            started = time.perf_counter()
            ours = session.call(frame)
            between = time.perf_counter()
            theirs = frame.select(pl.col("url").str.extract(pattern))
            ratios.append((between - started) / (time.perf_counter() - between))
    assert ours["host"].equals(theirs["url"].str.to_lowercase().alias("host"))
    assert statistics.median(ratios) < 0.4
