"""How the dashboard looks in a real browser, played by a kernel in the page: layout, numbers, themes, widths, cost."""

from __future__ import annotations

import itertools

import pytest

from .demo import Open, apart, boxes, painted, play

pytestmark = pytest.mark.slow


SIZES = [("three", 3), ("branches", 12), ("sixty", 60), ("37,3", 37), ("60,21", 60)]


@pytest.mark.parametrize("width", [1300, 700])
@pytest.mark.parametrize(
    ("job", "stages"), [("three", 3), ("branches", 12), ("sixty", 60), ("37,3", 37), ("60,21", 60)]
)
def test_no_stage_or_queue_lies_on_another(show: Open, job: str, stages: int, width: int) -> None:
    page = show(job, width=width)
    play(page)
    cards = boxes(page, ".card")
    assert len(cards) == stages
    things = cards + boxes(page, ".tube")
    assert [(i, j) for i in range(len(things)) for j in range(i) if not apart(things[i], things[j])] == []
    (plane,) = boxes(page, ".plane")
    assert all(plane["left"] <= box["left"] and box["right"] <= plane["right"] for box in cards)
    # What a card shows fits into it.
    assert page.eval_on_selector_all(".card", "all => all.filter(e => e.scrollHeight > e.clientHeight + 1).length") == 0


def test_the_whole_width_of_a_graph_of_twelve_stages_is_seen_at_once(show: Open) -> None:
    page = show("branches")
    assert page.eval_on_selector(".graph", "e => e.scrollWidth <= e.clientWidth")
    assert page.eval_on_selector("html", "e => e.scrollWidth <= e.clientWidth")


def test_a_frame_is_painted_with_all_its_numbers(show: Open) -> None:
    page = show("three")
    page.evaluate(
        """() => {
            const node = [1e6, 9e5, 12345, 0.2, 0.7, 0.1, 1024, 3.14, 12.4, 1240, 7, 0, NaN, 1, 0];
            const values = [...node, ...node, ...node, 5000, 0.92, 8192, 4, 10, 0, 8192, 0];
            const rows = {rows_in: 1e6, rows_out: 9e5, rows_per_s: 12345, late: 7, invalid: 0};
            const totals = {...rows, progress: 0.5, memory: 2**20};
            const verdict = {node: 1, words: "`enrich` limits"};
            demo.model.say({t: "frame", seq: 1, elapsed: 62, verdict, totals, log: []}, values);
        }"""
    )
    painted(page)
    card = page.locator("[data-node='0']")
    assert card.locator(".rate b").inner_text() == "12,345"
    assert card.locator(".parts").inner_text().split() == ["■", "20%", "▨", "70%", "□", "10%"]
    facts = card.locator(".facts").inner_text().split("\n")
    assert [each for each in facts if each] == [
        *("batch", "1.02k", "p50", "3.1 ms", "p99", "12 ms", "lag", "1.2 s"),
        *("late", "7", "invalid", "0", "held", "–", "errors", "0"),
    ]
    assert card.get_attribute("aria-label") == (
        "read, 12.3k rows a second, busy 20%, backpressured 70%, idle 10%, lag 1.2 s, late 7"
    )
    bar = card.locator(".bar").bounding_box()
    assert bar is not None
    assert card.locator("i.busy").evaluate("e => e.style.clipPath") == "inset(0px 80% 0px 0%)"
    assert card.locator("i.waits").evaluate("e => e.style.clipPath") == "inset(0px 10% 0px 20%)"
    assert page.locator("[data-edge='0'] .percent").text_content() == "92%"
    assert page.locator("[data-edge='0']").get_attribute("aria-label") == (
        "queue from read to enrich, 92% full of 8,192 rows, 4 refused"
    )
    # The queue fills from its receiver: what is in it ends where the tube ends.
    ((tube,), (rows,)) = boxes(page, "[data-edge='0'] .tube"), boxes(page, "[data-edge='0'] .rows")
    assert 0 <= tube["right"] - rows["right"] < 3 < rows["left"] - tube["left"]
    assert page.locator(".totals").inner_text().split("\n")[:2] == ["rows/s", "12,345"]
    assert page.locator(".verdict code").inner_text() == "enrich"
    assert page.locator("progress").evaluate("e => e.value") == 0.5


def test_only_the_culprit_is_marked_with_sign_word_and_colour(show: Open) -> None:
    page = show("three")
    play(page, 20)
    assert page.locator(".card .state").all_inner_texts() == ["▨ backpressured", "▲ bottleneck", "□ idle"]
    colours = page.eval_on_selector_all(".card", "all => all.map(e => getComputedStyle(e).borderColor)")
    assert colours[0] == colours[2] != colours[1]
    levels = page.eval_on_selector_all(".edge", "all => all.map(e => e.dataset.level)")
    assert levels == ["cause", "some"]


CONTRAST = """selectors => {
    const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
    const pixel = colours => {
        canvas.clearRect(0, 0, 1, 1);
        for (const colour of colours) { canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1) }
        return [...canvas.getImageData(0, 0, 1, 1).data];
    };
    const linear = c => c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
    const light = pixel => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => sum + part * linear(pixel[i] / 255), 0);
    return selectors.map(selector => {
        const element = document.querySelector(selector);
        const grounds = [];
        for (let e = element; e; e = e.parentElement) grounds.unshift(getComputedStyle(e).backgroundColor);
        const style = getComputedStyle(element);
        const ink = element instanceof SVGElement ? style.fill : style.color;
        const [a, b] = [light(pixel(["Canvas", ...grounds])), light(pixel(["Canvas", ...grounds, ink]))];
        return [selector, Math.round((Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) * 10) / 10];
    });
}"""
TEXTS = [
    *(
        ".name",
        ".kind",
        ".rate b",
        ".parts span",
        ".facts dt",
        ".totals dd",
        ".totals dt",
        ".verdict",
        ".pill",
        ".legend",
    ),
    *("[data-state=bottleneck] .state", "[data-state=backpressured] .state", "[data-level=cause] .share", ".alarm dd"),
    *(".panel th small", ".panel td", ".log .warning .level", ".log .error .level", "button:enabled"),
]


@pytest.mark.parametrize(("theme", "system"), [("light", "light"), ("dark", "light"), ("", "light"), ("", "dark")])
def test_text_is_readable_in_every_theme(show: Open, theme: str, system: str) -> None:
    page = show("three", theme, color_scheme=system)
    page.evaluate(
        """() => {
            demo.kernel.run(20);
            demo.kernel.frame({totals: {...demo.kernel.totals(), late: 3}, log: [
                {n: 1, at: 1, level: "warning", text: "w"}, {n: 2, at: 2, level: "error", text: "e"}]});
            document.querySelector("details").open = true;
            document.querySelector(".card").click();
        }"""
    )
    page.locator(".panel td").first.wait_for()
    # What WCAG asks of small text.
    assert [(where, ratio) for where, ratio in page.evaluate(CONTRAST, TEXTS) if ratio < 4.5] == []


def test_a_narrow_cell_has_one_column_and_names_the_queues(show: Open) -> None:
    page = show("branches", width=420)
    play(page, 10)
    cards = boxes(page, ".card")
    assert len({(box["left"], box["right"]) for box in cards}) == 1
    assert all(above["bottom"] <= below["top"] for above, below in itertools.pairwise(cards))
    assert page.locator(".wires").is_hidden()
    assert page.locator("[data-node='6'] .from").inner_text() == "queue from both 100% full"
    assert page.eval_on_selector("html", "e => e.scrollWidth <= e.clientWidth")
    page.locator(".card").first.focus()
    page.keyboard.press("ArrowDown")
    assert page.evaluate("document.activeElement === document.querySelectorAll('.card')[1]")


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_nothing_moves_by_itself(show: Open, motion: str) -> None:
    page = show("three", reduced_motion=motion)
    play(page, 20)
    page.locator(".card").first.click()
    page.locator(".panel td").first.wait_for()
    assert page.evaluate("document.getAnimations().length") == 0


def test_forced_colours_leave_the_bars_to_be_seen(show: Open) -> None:
    page = show("three", theme="", forced_colors="active")
    play(page, 20)
    colours = page.eval_on_selector_all(
        "[data-node='0'] :is(.bar, i.busy)", "all => all.map(e => getComputedStyle(e).backgroundColor)"
    )
    assert len(set(colours)) == 2
    hatch = page.eval_on_selector("[data-node='0'] i.waits", "e => getComputedStyle(e).backgroundImage")
    assert hatch.startswith("repeating")


def test_zooming_keeps_what_was_chosen_until_it_is_fitted_again(show: Open) -> None:
    page = show("sixty")
    width = "e => e.getBoundingClientRect().width"
    fitted = page.eval_on_selector(".card", width)
    page.get_by_role("button", name="larger").click()
    assert page.eval_on_selector(".card", width) == pytest.approx(fitted * 1.25, rel=0.01)
    page.get_by_role("button", name="fit the width").click()
    assert page.eval_on_selector(".card", width) == pytest.approx(fitted, rel=0.01)


def test_sixty_stages_at_ten_frames_a_second_leave_the_browser_its_time(
    show: Open, capsys: pytest.CaptureFixture[str]
) -> None:
    page = show("sixty")
    play(page, 20, frames=20)
    session = page.context.new_cdp_session(page)
    # Time of the thread, not of the clock: others may use the machine.
    session.send("Performance.enable", {"timeDomain": "threadTicks"})

    def busy() -> dict[str, float]:
        return {each["name"]: each["value"] for each in session.send("Performance.getMetrics")["metrics"]}

    # The frames are made beforehand, so that only the page is measured.
    page.evaluate(
        """() => { window.frames = Array.from({length: 30}, () => {
            demo.kernel.run(0.1);
            return [demo.kernel.message(), demo.kernel.values()];
        }) }"""
    )
    before = busy()
    page.evaluate(
        """() => new Promise(done => { const timer = setInterval(() => {
            const next = frames.shift();
            if (next) demo.model.say(...next); else { clearInterval(timer); done() }
        }, 100) })"""
    )
    after = busy()
    parts = ("Task", "Script", "Layout", "RecalcStyle")
    spent = {part: after[f"{part}Duration"] - before[f"{part}Duration"] for part in parts}
    share = spent["Task"] / (after["Timestamp"] - before["Timestamp"])
    each = ", ".join(f"{part} {value / 30 * 1e3:.1f} ms" for part, value in spent.items())
    with capsys.disabled():
        print(f"\n60 stages at 10 Hz: {share:.1%} of a core; per frame {each}")
    # A tenth is usual.
    assert share < 0.4
