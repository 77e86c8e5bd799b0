"""Functions written at random compute what they compute in CPython, and fail where and with what they fail there.

`DATAFLARE_PROGRAMS=5000` tries so many functions instead of a hundred.
"""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

import pytest
from hypothesis import HealthCheck, event, given, note, settings
from hypothesis import strategies as st

from dataflare_nb.wasm import Udf

from .programs import programs
from .python_side import compare
from .test_udf_numbers import FLOATS, INTS

EXAMPLES = int(os.environ.get("DATAFLARE_PROGRAMS", "120"))
pytestmark = pytest.mark.timeout(60 + 4 * EXAMPLES)
VALUES: dict[str, Any] = {
    "float": st.one_of(st.sampled_from(FLOATS), st.floats(-1e3, 1e3)),
    "int": st.one_of(st.sampled_from(INTS), st.integers(-20, 20)),
    "bool": st.booleans(),
    "date": st.one_of(st.dates(), st.dates(dt.date(1999, 1, 1), dt.date(2001, 1, 1))),
    "datetime": st.datetimes(),
    "timedelta": st.timedeltas(dt.timedelta(-100_000), dt.timedelta(100_000)),
}


@settings(max_examples=EXAMPLES // 2, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(straight=True), st.data())
def test_straight_float_code_computes_what_it_computes_in_cpython(function: Udf, data: st.DataObject):
    note("\n".join(function.source.lines))
    event("two rows at a time" if function.kernel.facts.vector else "one row at a time")
    row = st.tuples(*(VALUES["float"] for _ in function.params))
    compare(function, data.draw(st.lists(row, min_size=1, max_size=30)))


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.data())
def test_any_function_computes_what_it_computes_in_cpython(function: Udf, data: st.DataObject):
    note("\n".join(function.source.lines))
    kinds = []
    for slot in function.params:
        values = VALUES[slot.type]
        kinds.append(st.one_of(st.none(), values) if slot.optional else values)
    compare(function, data.draw(st.lists(st.tuples(*kinds), min_size=1, max_size=16)))
