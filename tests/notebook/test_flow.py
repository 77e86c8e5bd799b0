"""When frames go out: credit, hidden and lost pages, and what a server bears."""

from __future__ import annotations

from weakref import WeakSet

from hypothesis import given
from hypothesis import strategies as st

from dataflare_nb.notebook.flow import BYTES_PER_S, CREDIT, MESSAGES_PER_S, Flow


def run(flow: Flow, seconds: float, *, start: float = 0.0, acks: bool = True, size: int = 1_000) -> list[float]:
    """Offer a frame every 20 ms, and return when one went out. A page acks each fifth."""
    sent = []
    for turn in range(round(seconds / 0.02)):
        now = start + turn * 0.02
        if flow.wants(now, size):
            seq = flow.frame(now, size)
            sent.append(now)
            if acks and seq % 5 == 0:
                flow.ack(seq)
    return sent


def seen() -> Flow:
    flow = Flow()
    flow.hello("view")
    return flow


def test_a_page_that_paints_gets_ten_frames_a_second():
    assert 95 <= len(run(seen(), 10.0)) <= 101


def test_a_page_that_does_not_paint_is_spared():
    sent = run(seen(), 12.0, acks=False)
    assert len([at for at in sent if at < 1.0]) == CREDIT
    assert 14 <= len([at for at in sent if 1.2 <= at < 5.2]) <= 17
    assert len([at for at in sent if at >= 7.0]) <= 6


def test_credit_comes_back_with_an_ack_and_with_a_page_that_is_opened_again():
    flow = seen()
    run(flow, 3.0, acks=False)
    flow.ack(12)
    assert len(run(flow, 1.0, start=3.0)) >= 9
    run(flow, 3.0, start=4.0, acks=False)
    flow.hello("another")
    assert len(run(flow, 1.0, start=7.0)) >= 9


def test_an_ack_of_what_was_never_sent_gives_no_more_credit_than_there_is():
    flow = seen()
    flow.ack(1_000_000)
    assert len(run(flow, 4.0, acks=False)) < 10 + 4 * 4


def test_hidden_and_absent_views_get_a_sign_of_life_a_second():
    assert 9 <= len(run(Flow(), 10.0)) <= 11
    flow = seen()
    flow.look("view", False)
    assert 9 <= len(run(flow, 10.0)) <= 11
    flow.look("view", True)
    assert len(run(flow, 1.0, start=10.0)) >= 9
    flow.bye("view")
    assert len(run(flow, 4.0, start=11.0)) <= 5
    assert flow.views == 0


def test_one_of_several_views_that_is_seen_is_enough():
    flow = seen()
    flow.hello("other")
    flow.look("view", False)
    assert flow.watched
    flow.bye("other")
    assert not flow.watched


def test_many_dashboards_share_thirty_frames_a_second():
    crowd: WeakSet[Flow] = WeakSet()
    flows = [Flow(crowd=crowd) for _ in range(20)]
    for flow in flows:
        flow.hello("view")
    assert sum(len(run(flow, 10.0)) for flow in flows) <= 300 + 20
    for flow in flows[3:]:
        flow.close()
    assert [len(run(flow, 1.0, start=10.0)) for flow in flows[:3]] == [10, 10, 10]


def test_frames_make_room_for_answers():
    flow = seen()
    for _ in range(MESSAGES_PER_S):
        flow.count(0.0, 10)
    assert run(flow, 0.9) == []


@given(st.integers(1, 400_000), st.lists(st.tuples(st.floats(0, 3), st.integers(1, 90_000)), max_size=20))
def test_no_second_has_more_than_ten_messages_or_200_kb_of_frames(size, answers):
    flow, sent = seen(), []
    waiting = sorted(answers)
    for turn in range(150):
        now = turn * 0.02
        while waiting and waiting[0][0] <= now:
            flow.count(now, waiting.pop(0)[1])
        if flow.wants(now, size):
            flow.ack(flow.frame(now, size))
            sent.append(now)
    for first in sent:
        second = [at for at in sent if first <= at < first + 1.0]
        assert len(second) <= MESSAGES_PER_S
        assert len(second) == 1 or len(second) * size <= BYTES_PER_S
