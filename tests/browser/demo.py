"""What the tests of the page do with the demonstration: play frames, and look at what came of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from playwright.sync_api import Page

Open: TypeAlias = "Callable[..., Page]"


def painted(page: Page) -> None:
    page.evaluate("() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")


def play(page: Page, seconds: float = 5, frames: int = 1) -> None:
    """Let the job run, and show it."""
    for _ in range(frames):
        page.evaluate("s => { demo.kernel.run(s); demo.kernel.frame() }", seconds / frames)
        painted(page)


def boxes(page: Page, selector: str) -> list[dict[str, float]]:
    script = "all => all.map(e => e.getBoundingClientRect().toJSON())"
    found: list[dict[str, float]] = page.eval_on_selector_all(selector, script)
    return found


def sent(page: Page, kind: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = page.evaluate("kind => demo.model.sent.filter(each => each.t === kind)", kind)
    return found


def apart(a: dict[str, float], b: dict[str, float]) -> bool:
    return a["right"] <= b["left"] or b["right"] <= a["left"] or a["bottom"] <= b["top"] or b["bottom"] <= a["top"]
