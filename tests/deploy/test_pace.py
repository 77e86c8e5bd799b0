"""A rate is right though counts are told seldom, of one instance after the other, and looked at at other times."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from dataflare_nb.deploy.remote.pace import Rate

RATE = 1_000.0


@given(
    first=st.floats(0.0, 0.99),
    later=st.lists(st.floats(0.0, 0.4), max_size=4),
    begins=st.floats(0.0, 5.0),
    every=st.floats(0.05, 0.3),
)
def test_a_steady_count_has_its_rate_from_the_first_one_told(
    first: float, later: list[float], begins: float, every: float
) -> None:
    rate, now, known = Rate(1.0), 10.0 + begins, []
    phases = [first, *(first + each for each in later)]
    while now < 20.0 + begins:
        value = sum(RATE / len(phases) * (math.floor(now - phase) + phase) for phase in phases)
        known.append(rate.tell(value, now))
        now += every
    told = [each for each in known if not math.isnan(each)]
    assert told
    assert all(0.5 * RATE < each < 1.5 * RATE for each in told)
    assert 0.8 * RATE < told[-1] < 1.2 * RATE


def test_a_count_that_stands_still_or_begins_again_has_none() -> None:
    rate = Rate(1.0)
    for second in range(5):
        rate.tell(100.0 * second, float(second))
    assert rate.tell(400.0, 5.0) == 100.0
    assert rate.tell(400.0, 9.0) == 0.0
    assert math.isnan(rate.tell(10.0, 10.0))
    assert math.isnan(rate.tell(math.nan, 11.0))
