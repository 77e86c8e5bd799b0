"""What the dashboard's page says and hears: frames and credit, keys, panels, buttons, silence, coming and going."""

from __future__ import annotations

import pytest

from .demo import Open, painted, play, sent

pytestmark = pytest.mark.slow


def test_of_many_frames_between_two_repaints_the_newest_is_painted_and_all_get_credit(show: Open) -> None:
    page = show("three")
    play(page)
    page.evaluate(
        """() => {
            const {kernel} = demo;
            window.paints = 0;
            const watch = new MutationObserver(() => paints++);
            watch.observe(document.querySelector(".totals"), {subtree: true, characterData: true});
            for (let n = 0; n < 50; n++) {
                kernel.run(0.1);
                kernel.frame({totals: {...kernel.totals(), rows_in: n}});
            }
        }"""
    )
    painted(page)
    assert page.locator(".totals dd").nth(1).inner_text() == "49"
    # Two: a repaint may fall among them.
    assert page.evaluate("paints") <= 2
    assert sent(page, "ack")[-1]["seq"] == 51


def test_credit_comes_after_painting_for_one_frame_in_five_and_never_runs_out(show: Open) -> None:
    page = show("three")
    for number in range(1, 42):
        play(page, 0.1)
        assert number - sent(page, "ack")[-1]["seq"] < 5
    assert [each["seq"] for each in sent(page, "ack")] == list(range(1, 42, 5))


def test_the_keyboard_walks_the_graph_opens_and_closes(show: Open) -> None:
    page = show("branches")
    play(page)
    page.evaluate("() => { window.leaked = []; document.addEventListener('keydown', e => leaked.push(e.key)) }")
    at = "() => document.activeElement.dataset.node ?? 'edge ' + document.activeElement.dataset.edge"
    page.locator(".card[tabindex='0']").focus()
    seen = [page.evaluate(at)]
    for _ in range(6):
        page.keyboard.press("ArrowRight")
        seen.append(page.evaluate(at))
    assert seen == ["0", "edge 0", "3", "edge 3", "4", "edge 4", "5"]
    page.keyboard.press("ArrowDown")
    assert page.evaluate(at) == "2"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("ArrowLeft")
    assert page.evaluate(at) == "edge 1"
    page.keyboard.press("Enter")
    assert sent(page, "peek") == [{"t": "peek", "id": 1, "edge": 1}]
    assert page.locator(".panel h4").inner_text() == "weather → both"
    page.locator(".panel td").first.wait_for()
    page.locator(".panel .body").focus()
    page.keyboard.press("Escape")
    assert page.locator(".panel").is_hidden()
    assert page.evaluate(at) == "edge 1"
    page.keyboard.press("Home")
    page.keyboard.press("Space")
    assert sent(page, "peek")[-1] == {"t": "peek", "id": 2, "node": 0}
    # JupyterLab has a meaning for most keys, so they end here.
    assert page.evaluate("leaked") == []
    # One stop for the tab key in the whole picture.
    assert page.locator(".graph [tabindex='0']").count() == 1


def test_jupyterlab_hears_of_ctrl_s_but_of_no_bare_key(show: Open) -> None:
    """It listens on the document before all others, and leaves alone what the focused element itself is marked for."""
    page = show("three")
    play(page)
    page.evaluate(
        """() => {
            window.heard = [];
            const lab = e => { if (!e.target.hasAttribute("data-lm-suppress-shortcuts")) heard.push(e.key) };
            document.addEventListener("keydown", lab, true);
        }"""
    )
    for where in (".card[tabindex='0']", "button[data-do=pause]", "summary"):
        page.locator(where).focus()
        for key in ("d", "b", "ArrowDown", "Control+s"):
            page.keyboard.press(key)
            page.locator(where).focus()
    assert page.evaluate("heard.filter(key => key !== 'Control')") == ["s", "s", "s"]
    page.evaluate("demo.views[0].close(); document.body.tabIndex = 0; document.body.focus()")
    page.keyboard.press("d")
    assert page.evaluate("heard.at(-1)") == "d"


def test_the_panel_shows_rows_and_the_windows_of_a_stage_with_state(show: Open) -> None:
    page = show("branches")
    play(page)
    page.locator("[data-node='7']").click()
    page.locator(".panel td").first.wait_for()
    head = [page.locator(".panel th").nth(i).inner_text().split("\n") for i in range(2)]
    assert head == [["user_id", "Int64", "1 to 9,120"], ["page", "String", "214 values"]]
    assert page.locator(".panel tbody tr").count() == 12
    assert page.locator(".panel caption").inner_text() == "12 of 1,024 rows"
    assert page.locator(".panel td.null").first.inner_text() == "null"
    page.get_by_role("tab", name="Open windows").click()
    page.locator(".panel td", has_text="4 min to go").first.wait_for()
    assert page.locator(".panel .note").inner_text() == "watermark 2026-01-05 09:56:02"
    page.keyboard.press("ArrowLeft")
    assert page.get_by_role("tab", name="Sample rows").get_attribute("aria-selected") == "true"
    shown = page.locator(".panel .facts dd").first.inner_text()
    play(page, 10)
    assert page.locator(".panel .facts dd").first.inner_text() != shown
    page.locator("[data-node='0']").click()
    assert page.locator(".panel [role=tab]").count() == 0
    page.get_by_role("button", name="Close").click()
    assert page.locator(".panel").is_hidden()


def test_nothing_that_a_job_says_becomes_markup(show: Open) -> None:
    page = show("three")
    page.evaluate(
        """() => {
            const bad = "<img src=x onerror='window.harmed = true'>";
            const {model} = demo;
            const graph = structuredClone(model.get("graph"));
            graph.name = bad;
            graph.nodes.forEach(node => { node.label = node.kind = bad; node.does = [bad, bad] });
            graph.edges.forEach(edge => { edge.tag = bad });
            model.set("graph", graph);
            model.set("error", bad);
            demo.kernel.hear = () => {};
            demo.views[0].close();
            demo.show();
            const log = [{n: 9, at: 1, level: "error", text: bad}];
            demo.kernel.frame({verdict: {node: 0, words: "`" + bad + "`"}, log});
            document.querySelector(".card").click();
            const columns = [{name: bad, dtype: bad, summary: bad}];
            model.say({t: "rows", id: 1, title: bad, columns, rows: [[bad]], of: 1, note: bad});
        }"""
    )
    page.wait_for_timeout(200)
    assert page.locator(".panel td").inner_text().startswith("<img")
    assert page.locator("img").count() == 0
    assert page.evaluate("window.harmed") is None


def test_silence_is_called_disconnected_and_the_next_frame_mends_it(show: Open) -> None:
    page = show("three")
    page.evaluate("demo.kernel.hear = () => {}")
    play(page)
    page.locator("button[data-do=pause]").click()
    root = page.locator(".dataflare")
    page.locator("header .note", has_text="the kernel is busy: waiting for the cell to end").wait_for(timeout=2_500)
    assert root.get_attribute("data-status") == "running"
    page.locator(".dataflare[data-status=disconnected]").wait_for(timeout=6_000)
    assert page.locator(".pill").inner_text() == "disconnected"
    page.locator(".verdict", has_text="no word from the kernel").wait_for(timeout=3_000)
    play(page)
    assert root.get_attribute("data-status") == "running"
    page.evaluate("demo.model.set('status', 'finished')")
    page.wait_for_timeout(3_600)
    assert root.get_attribute("data-status") == "finished"


def test_a_button_asks_and_its_answer_is_shown(show: Open) -> None:
    page = show("three")
    play(page)
    assert page.get_by_role("button", name="Step").is_disabled()
    page.get_by_role("button", name="Pause").focus()
    page.keyboard.press("Enter")
    page.locator(".dataflare[data-status=paused]").wait_for()
    assert page.evaluate("document.activeElement.dataset.do") == "resume"
    page.get_by_role("button", name="Step").click()
    page.get_by_role("button", name="Resume").click()
    page.locator(".dataflare[data-status=running]").wait_for()
    assert [each["do"] for each in sent(page, "do")] == ["pause", "step", "resume"]
    page.evaluate("demo.model.say({t: 'done', do: 'drain', error: 'nothing to drain'})")
    assert page.locator("header .note").inner_text() == "drain: nothing to drain"


def test_a_job_that_has_ended_is_shown_from_its_model_alone(show: Open) -> None:
    page = show("branches")
    page.evaluate(
        """() => {
            const {kernel, model} = demo;
            kernel.run(10.5);
            const log = [{n: 1, at: 1, level: "info", text: "finished"}];
            model.set("last", kernel.last({node: null, words: "all rows are through"}, log));
            model.set("status", "finished");
            demo.views[0].close();
            demo.show();
        }"""
    )
    painted(page)
    assert page.locator(".verdict").inner_text() == "all rows are through"
    assert page.locator("[data-node='0'] .rate b").inner_text() not in ("", "–")
    assert page.locator(".totals dd").last.inner_text() == "0:10"
    assert page.locator(".log summary").inner_text() == "Log · 1 line"


def test_a_reload_gets_its_history_back(show: Open) -> None:
    page = show("three")
    assert len(sent(page, "hello")) == 1
    page.evaluate("demo.model.say({t: 'history', elapsed: [0, 1, 2, 3, 4]}, [0,0,0, 5,5,5, 10,10,10, 5,5,5, 10,10,10])")
    line = page.locator("[data-node='0'] .line").get_attribute("d")
    assert line is not None
    heights = [float(point.split(" ")[1]) for point in line.replace("M", "L").split("L")[1:]]
    assert (heights[0], heights[-1], min(heights), max(heights)) == (24, 0, 0, 24)


def test_a_view_out_of_sight_says_so(show: Open) -> None:
    page = show("three")
    page.wait_for_timeout(200)
    page.evaluate("demo.views[0].el.style.marginTop = '5000px'")
    page.wait_for_timeout(300)
    page.evaluate("demo.views[0].el.style.marginTop = '0'")
    page.wait_for_timeout(300)
    assert [each["visible"] for each in sent(page, "view")] == [True, False, True]
    assert len({each["view"] for each in [*sent(page, "view"), *sent(page, "hello")]}) == 1


def test_views_of_one_job_are_independent_and_leave_nothing_behind(show: Open) -> None:
    page = show("three", views=3)
    play(page)
    page.locator(".card").first.click()
    assert page.locator(".panel:not([hidden])").count() == 1
    assert page.locator(".rate b").all_inner_texts()[:3] == page.locator(".rate b").all_inner_texts()[6:]
    page.evaluate("demo.views[1].close()")
    assert page.locator(".dataflare").count() == 2
    play(page)
    page.evaluate("demo.kernel.frame(); demo.views[0].close(); demo.views[2].close(); demo.views.length = 0")
    before = page.evaluate("demo.model.sent.length")
    page.evaluate("demo.kernel.frame()")
    page.wait_for_timeout(600)
    assert page.evaluate("[demo.model.listeners, document.querySelectorAll('.dataflare').length]") == [0, 0]
    assert page.evaluate("demo.model.sent.length") == before
    assert {each["view"] for each in sent(page, "bye")} == {each["view"] for each in sent(page, "hello")}


def test_a_bottleneck_out_of_sight_is_a_press_away(show: Open) -> None:
    page = show("sixty", width=800, height=500)
    play(page, 30)
    seen = "e => e.getBoundingClientRect().bottom <= e.closest('.graph').getBoundingClientRect().bottom"
    culprit = page.locator("[data-state=bottleneck]")
    assert not culprit.evaluate(seen)
    page.get_by_role("button", name="Show").click()
    assert culprit.evaluate(seen)
    assert culprit.evaluate("e => e === document.activeElement")
