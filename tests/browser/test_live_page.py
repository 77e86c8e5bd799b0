"""Live tables and charts as a page shows them: in both themes, legible, drawn where the numbers are."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SHOTS = os.environ.get("DATAFLARE_SHOTS")
THEMES = {
    "light": {"ui-font-color1": "rgba(0,0,0,.87)", "layout-color1": "white", "content-font-color0": "black"},
    "dark": {"ui-font-color1": "rgba(255,255,255,.87)", "layout-color1": "#111", "content-font-color0": "white"},
}
PAGE = """<!doctype html><link rel=stylesheet href={site}/dataflare_nb/notebook/static/live.css>
<style>:root {{ {theme} }} body {{ background: var(--jp-layout-color1); }}</style><main></main>"""
SCRIPT = """async ([url, message, numbers]) => {
  const { default: widget } = await import(url);
  let hear; window.sent = [];
  const on = (name, told) => { if (name === "msg:custom") hear = told; };
  const model = { get: () => false, on, off() {}, send: (said) => sent.push(said) };
  widget.render({ model, el: document.querySelector("main") });
  hear(message, [new DataView(new Float64Array(numbers).buffer)]);
  await new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)));
}"""


def opened(browser: Browser, site: str, theme: str, kind: str, message: object, numbers: list[float]) -> Page:
    page = browser.new_page(viewport={"width": 820, "height": 420})
    page.goto(f"{site}/widgets/README.md")
    style = " ".join(f"--jp-{name}: {value};" for name, value in THEMES[theme].items())
    page.set_content(PAGE.format(site=site, theme=style))
    page.wait_for_function("document.styleSheets.length === 2")
    page.evaluate(SCRIPT, [f"{site}/dataflare_nb/notebook/static/live_{kind}.js", message, numbers])
    if SHOTS:
        page.screenshot(path=Path(SHOTS) / f"live_{kind}_{theme}.png")
    return page


def contrast(page: Page, selector: str, what: str) -> float:
    """How much what is drawn stands out from its ground, as WCAG counts it."""
    return page.evaluate(
        """([selector, what]) => {
          const paint = (colour, under) => {
            const c = document.createElement("canvas").getContext("2d");
            c.fillStyle = under; c.fillRect(0, 0, 1, 1); c.fillStyle = colour; c.fillRect(0, 0, 1, 1);
            const l = [...c.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => v / 255)
              .map((v) => (v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
            return 0.2126 * l[0] + 0.7152 * l[1] + 0.0722 * l[2];
          };
          const ground = getComputedStyle(document.querySelector(".dataflare-live")).backgroundColor;
          const of = [...document.querySelectorAll(selector)].map((e) => paint(getComputedStyle(e)[what], ground));
          const g = paint(ground, ground);
          return Math.min(...of.map((l) => (Math.max(l, g) + 0.05) / (Math.min(l, g) + 0.05)));
        }""",
        [selector, what],
    )


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.slow
def test_a_chart_is_drawn_in_both_themes(site: str, browser: Browser, theme: str) -> None:
    names = [f"line {n}" for n in range(8)]
    at = [1357034400000.0 + 60_000 * n for n in range(91)]
    heights = [10 * math.sin(n / 15 + line / 2) + 4 * line for line in range(8) for n in range(91)]
    message = {
        **{"t": "show", "seq": 1, "title": "delay over at by origin", "came": 12_345_678, "note": "3 rows have no x"},
        **{
            "series": [{"name": name, "n": 91} for name in names],
            "x": "at",
            "y": "delay",
            "by": "origin",
            "time": True,
            "zone": "America/New_York",
        },
    }
    page = opened(browser, site, theme, "chart", message, at * 8 + heights)
    assert page.locator("svg[role] path").count() == 8
    assert page.locator(".legend li").all_inner_texts() == names
    assert page.locator(".read").inner_text() == "3 rows have no x"
    hello, ack = page.evaluate("sent")
    assert (hello["t"], hello["view"][0], ack) == ("hello", "v", {"t": "ack", "seq": 1})
    assert contrast(page, ".lines path", "stroke") > 3
    assert contrast(page, ".dataflare-live :is(b, .dim, .state, li)", "color") > 4.5
    assert contrast(page, ".axes text", "fill") > 4.5
    strokes = page.evaluate("[...document.querySelectorAll('.lines path')].map(p => getComputedStyle(p).stroke)")
    assert len(set(strokes)) == 8
    box = page.locator("svg[role]").bounding_box()
    assert box is not None
    page.mouse.move(box["x"] + box["width"] * 755 / 760, box["y"] + 100)
    assert page.locator(".read").inner_text().startswith("2013-01-01 06:30:00 EST: line 0 ")
    # The last value along x has a label under it, and all of that is seen.
    words = page.locator(".axes text").all_text_contents()
    assert words[-4:] == ["01-01 06:15", "01-01 06:30", "at (America/New_York)", "delay"]
    for each in page.locator(".axes text").all():
        inner = each.bounding_box()
        assert inner is not None
        assert inner["x"] >= box["x"] - 1
        assert inner["x"] + inner["width"] <= box["x"] + box["width"] + 1
    page.close()


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.slow
def test_a_table_is_drawn_in_both_themes(site: str, browser: Browser, theme: str) -> None:
    columns = [
        {"name": name, "dtype": dtype} for name, dtype in (("origin", "String"), ("n", "Int64"), ("t", "Datetime"))
    ]
    rows = [["JFK", str(n), "2013-01-01 10:00:00"] for n in range(30)] + [["x" * 400, None, "<script>"]]
    message = {
        "t": "show",
        "seq": 1,
        "title": "hourly",
        "came": 31,
        "columns": columns,
        "rows": rows,
        "note": "5 rows came too fast",
    }
    page = opened(browser, site, theme, "table", json.loads(json.dumps(message)), [])
    assert page.locator("tbody tr").count() == 31
    assert contrast(page, ".dataflare-live :is(th, td, small)", "color") > 4.5
    wide = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert wide
    assert page.locator("td.null").inner_text() == "null"
    page.close()
