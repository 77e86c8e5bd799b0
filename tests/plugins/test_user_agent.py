"""user_agent knows the headers of the day, and orders the names in any header as its tables say."""

from __future__ import annotations

import re

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dataflare_nb.errors import WasmPluginExecution

from .helpers import answers

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"
HEADERS = [
    (
        f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/126.0.0.0 Safari/537.36",
        "Chrome",
        126,
        "Windows",
        "desktop",
    ),
    (
        f"Mozilla/5.0 (Windows NT 10.0) {WEBKIT} Chrome/126.0 Safari/537.36 Edg/125.0.1",
        "Edge",
        125,
        "Windows",
        "desktop",
    ),
    (
        f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} Chrome/120.0 Safari/537.36 OPR/106.0",
        "Opera",
        106,
        "Linux",
        "desktop",
    ),
    (
        f"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) {WEBKIT} Chrome/119.0 Safari/537.36",
        "Chrome",
        119,
        "ChromeOS",
        "desktop",
    ),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0", "Firefox", 127, "Linux", "desktop"),
    ("Mozilla/5.0 (Android 14; Mobile; rv:127.0) Gecko/127.0 Firefox/127.0", "Firefox", 127, "Android", "mobile"),
    ("Mozilla/5.0 (Android 14; Tablet; rv:127.0) Gecko/127.0 Firefox/127.0", "Firefox", 127, "Android", "tablet"),
    (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 14_5) AppleWebKit/605.1.15 (KHTML) Version/17.5 Safari/605.1.15",
        *("Safari", 17, "macOS", "desktop"),
    ),
    (
        "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        "Version/17.5 Mobile/15E148 Safari/604.1",
        *("Safari", 17, "iOS", "mobile"),
    ),
    (
        "Mozilla/5.0 (iPad; CPU OS 17_5 like Mac OS X) AppleWebKit/605 (KHTML) CriOS/126.0 Mobile/15E148 Safari/604.1",
        *("Chrome", 126, "iPadOS", "tablet"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/124.0 Mobile Safari/537.36",
        "Chrome",
        124,
        "Android",
        "mobile",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-X906C) {WEBKIT} Chrome/124.0 Safari/537.36",
        "Chrome",
        124,
        "Android",
        "tablet",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 13; SM-S901B) {WEBKIT} SamsungBrowser/24.0 Chrome/117.0 Mobile Safari/537.36",
        *("Samsung Internet", 24, "Android", "mobile"),
    ),
    (
        f"Mozilla/5.0 (Linux; Android 9; CUBOT X19) {WEBKIT} Chrome/83.0 Mobile Safari/537.36",
        "Chrome",
        83,
        "Android",
        "mobile",
    ),
    (
        "Mozilla/5.0 (Windows NT 6.1; WOW64; Trident/7.0; rv:11.0) like Gecko",
        "Internet Explorer",
        11,
        "Windows",
        "desktop",
    ),
    ("Mozilla/4.0 (compatible; MSIE 8.0; Windows NT 6.1; Trident/4.0)", "Internet Explorer", 8, "Windows", "desktop"),
    ("Opera/9.80 (Windows NT 6.1) Presto/2.12.388 Version/12.18", "Opera", 12, "Windows", "desktop"),
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", None, None, None, "robot"),
    (
        f"Mozilla/5.0 (Linux; Android 6.0.1) {WEBKIT} Chrome/126.0 Mobile Safari/537.36 (compatible; Googlebot/2.1)",
        *("Chrome", 126, "Android", "robot"),
    ),
    ("facebookexternalhit/1.1", None, None, None, "robot"),
    ("curl/8.5.0", "curl", 8, None, "robot"),
    ("python-requests/2.32.3", "python-requests", 2, None, "robot"),
    ("okhttp/4.12.0", "OkHttp", 4, None, "robot"),
    (
        "Mozilla/5.0 (Mobile; Nokia_8110_4G; rv:48.0) Gecko/48.0 Firefox/48.0 KAIOS/2.5",
        "Firefox",
        48,
        "KaiOS",
        "mobile",
    ),
    ("", None, None, None, None),
    ("-", None, None, None, None),
    (None, None, None, None, None),
    ("Chrome/99999999999", "Chrome", None, None, "desktop"),
]

BROWSERS = [
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("Edge/", "Edge"),
    ("OPR/", "Opera"),
    ("OPT/", "Opera"),
    ("Opera/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("YaBrowser/", "Yandex"),
    ("Vivaldi/", "Vivaldi"),
    ("DuckDuckGo/", "DuckDuckGo"),
    ("UCBrowser/", "UC Browser"),
    ("Seamonkey/", "SeaMonkey"),
    ("FxiOS/", "Firefox"),
    ("Firefox/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("HeadlessChrome/", "Chrome"),
    ("Chromium/", "Chromium"),
    ("Chrome/", "Chrome"),
    ("MSIE ", "Internet Explorer"),
    ("Trident/", "Internet Explorer"),
    ("curl/", "curl"),
    ("Wget/", "Wget"),
    ("python-requests/", "python-requests"),
    ("okhttp/", "OkHttp"),
    ("Go-http-client/", "Go"),
    ("Safari/", "Safari"),
]
SYSTEMS = [
    ("Windows Phone", "Windows Phone"),
    ("Windows", "Windows"),
    ("Android", "Android"),
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("iPod", "iOS"),
    ("CrOS", "ChromeOS"),
    ("Macintosh", "macOS"),
    ("Tizen", "Tizen"),
    ("KAIOS", "KaiOS"),
    ("FreeBSD", "FreeBSD"),
    ("OpenBSD", "OpenBSD"),
    ("Linux", "Linux"),
    ("X11", "Unix"),
]


def pick(table: list[tuple[str, str]], header: str) -> tuple[str, str, re.Match[str]] | None:
    for word, family in table:
        found = re.search(rf"(?:^|(?<=[ ();,+])){re.escape(word)}([0-9]*)", header)
        if found:
            return word, family, found
    return None


def number(digits: str) -> int | None:
    return int(digits) if digits and int(digits) < 65536 else None


def reference(header: str) -> tuple[str | None, int | None, str | None, str | None]:
    browser, system = pick(BROWSERS, header), pick(SYSTEMS, header)
    starts = re.split("[ ();,+]", header)
    own = None
    for word in starts:
        if word.startswith("Version/") or (word.startswith("rv:") and own is None):
            own = number(re.match("[0-9]*", word.partition("/" if word[0] == "V" else ":")[2])[0])  # type: ignore[index]
    family, version = (browser[1], number(browser[2][1])) if browser else (None, None)
    if family == "Safari" or (family in ("Internet Explorer", "Opera") and own is not None):
        version = own
    words = {word: any(each.startswith(word) for each in starts) for word in ("Mobile", "Tablet", "iPad")}
    name = system[0] if system else None
    robots = r"(?i:(?<!cu)bot|crawl|spider|slurp|mediapartners|facebookexternalhit)"
    tools = ("curl", "Wget", "python-requests", "OkHttp", "Go")
    if family in tools or re.search(robots, header):
        device = "robot"
    elif words["Tablet"] or words["iPad"] or (name == "Android" and not words["Mobile"]):
        device = "tablet"
    elif words["Mobile"] or name in ("Windows Phone", "Android", "iPhone", "iPod", "KAIOS"):
        device = "mobile"
    else:
        device = "desktop" if family or name else None
    return family, version, system[1] if system else None, device


def test_headers_of_the_day() -> None:
    frame = pl.DataFrame({"header": [header for header, *_ in HEADERS]}, schema={"header": pl.String})
    found = answers("user_agent", frame)
    assert found.schema == {"browser": pl.String, "version": pl.UInt16, "system": pl.String, "device": pl.String}
    for row, (header, *expected) in zip(found.rows(), HEADERS, strict=True):
        assert list(row) == expected, header


WORDS = [word for word, _ in BROWSERS + SYSTEMS]
PIECES = st.sampled_from(
    [
        *WORDS,
        "Version/",
        "rv:",
        "Mobile",
        "Tablet",
        "bot",
        "BOT",
        "cubot",
        "crawler",
        "é",
        "12",
        "7",
        "99999",
        " ",
        "; ",
        "(",
        "x",
    ]
)


@given(st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=8))
def test_any_header_is_read_as_the_tables_say(headers: list[str]) -> None:
    frame = pl.DataFrame({"header": headers}, schema={"header": pl.String})
    assert answers("user_agent", frame).rows() == [reference(header) for header in headers]


def test_names_have_a_prefix_and_types_are_checked() -> None:
    found = answers("user_agent", pl.DataFrame({"header": ["curl/8"]}), prefix="ua_")
    assert found.columns == ["ua_browser", "ua_version", "ua_system", "ua_device"]
    with pytest.raises(WasmPluginExecution, match="must be text"):
        answers("user_agent", pl.DataFrame({"header": [1]}))
