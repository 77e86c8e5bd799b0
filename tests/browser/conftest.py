"""A browser on the demonstration of the dashboard, for tests of the page."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from .demo import Open


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    from .chromium import served

    with served() as address:
        yield address


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    pytest.importorskip("playwright")
    from .chromium import chromium

    with chromium() as found:
        yield found


@pytest.fixture
def show(site: str, browser: Browser) -> Iterator[Open]:
    """Open the demonstration without its clock: a test plays the frames. What the page complains of fails the test."""
    from .demo import painted

    pages: list[Page] = []
    complaints: list[str] = []

    def opened(
        job: str = "three", theme: str = "light", views: int = 1, width: int = 1000, height: int = 900, **how: Any
    ) -> Page:
        page = browser.new_page(viewport={"width": width, "height": height}, **how)
        pages.append(page)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if said.type == "error" else None)
        page.goto(f"{site}/widgets/demo.html?job={job}&theme={theme}&views={views}&still")
        page.wait_for_function("window.demo !== undefined")
        painted(page)
        return page

    yield opened
    for page in pages:
        page.close()
    assert complaints == []
