"""Make the pictures of the dashboard that the documents show: `python -m tests.browser.pictures`."""

from __future__ import annotations

from .chromium import ROOT, chromium, served
from .demo import painted

PICTURES = {
    "dashboard-light": ("branches", "light", 1100),
    "dashboard-dark": ("three", "dark", 1000),
    "dashboard-narrow": ("three", "light", 420),
    "dashboard-sixty": ("sixty", "light", 1300),
}


def main() -> None:
    with served() as site, chromium() as browser:
        for name, (job, theme, width) in PICTURES.items():
            page = browser.new_page(viewport={"width": width, "height": 900})
            page.goto(f"{site}/widgets/demo.html?job={job}&theme={theme}&still")
            page.wait_for_function("window.demo !== undefined")
            painted(page)
            for _ in range(60):
                page.evaluate("() => { demo.kernel.run(0.5); demo.kernel.frame() }")
                painted(page)
            # The sentence is renewed once a second.
            page.wait_for_timeout(1_500)
            page.locator(".dataflare").screenshot(path=ROOT / "docs" / f"{name}.png")
            page.close()


if __name__ == "__main__":
    main()
