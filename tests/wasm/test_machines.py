"""What one stage no longer needs, the next of the very same takes up; what is no longer sound, nobody does."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any

import polars as pl
import pytest

from dataflare_nb.clock import ManualClock
from dataflare_nb.errors import WasmInterrupted, WasmTrap
from dataflare_nb.wasm import Plugin, Session, pool
from dataflare_nb.wasm.guest import Limits
from dataflare_nb.wasm.hostcalls import HostFunctions
from dataflare_nb.wasm.machine import STOCK, Machine, Stock

from .asking import answers, asking, call, imported
from .bombs import module, small
from .guests import ECHO, plugin

FRAME = pl.DataFrame({"x": [1, 2, None, 4]})
COUNT = "(i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))"


@pytest.fixture(autouse=True)
def stock() -> Iterator[Stock]:
    STOCK.clear()
    yield STOCK
    STOCK.clear()


def counting(**parts: Any) -> Plugin:
    """Return a plugin that answers how often its instance was started and how often it was called."""
    started = f'(func (export "plugin_init") (param i32 i32) (result i32) {COUNT} (i32.const 0))'
    calls = "(block (result i32) (i32.store (i32.const 12) (i32.add (i32.load (i32.const 12)) (i32.const 1))) {})"
    return asking("(i32.load (i32.const 8))", calls.format("(i32.load (i32.const 12))"), extra=started, **parts)


def once(made: Plugin, **options: Any) -> list[int]:
    session = Session(made, **options)
    found = answers(session, 2)
    session.close()
    return found


def test_an_instance_passes_from_one_stage_to_the_next(stock: Stock):
    assert [once(counting()) for _ in range(3)] == [[1, 1], [1, 2], [1, 3]]
    assert len(stock) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"made": {"config": {"a": 1}}},
        {"made": {"policy": {"max_memory": "1MiB"}}},
        {"made": {"policy": {"max_execution_time": "2s"}}},
        {"made": {"policy": {"allow_network": True, "allowed_hosts": ["a.b"]}}},
        {"made": {"memory": "3"}},
        {"host": HostFunctions("guest", seed=1)},
        {"host": HostFunctions("guest", seed=0, stage="other")},
        {"host": HostFunctions("guest", seed=0, clock=ManualClock())},
        {"fast": False},
    ],
)
def test_whatever_makes_a_difference_makes_another_instance(change: dict[str, Any]):
    assert once(counting(), host=HostFunctions("guest", seed=0)) == [1, 1]
    other = {"host": HostFunctions("guest", seed=0), **change}
    assert once(counting(**other.pop("made", {})), **other) == [1, 1]
    assert once(counting(), host=HostFunctions("guest", seed=0)) == [1, 2]


def test_two_stages_at_once_share_nothing():
    one, two = Session(counting()), Session(counting())
    assert [answers(one, 2), answers(two, 2), answers(one, 2)] == [[1, 1], [1, 1], [1, 2]]
    one.interrupt()
    assert answers(two, 2) == [1, 2]
    one.close()
    two.close()


def test_who_takes_over_is_spoken_for_by_its_own_host():
    said: list[str] = []
    made = plugin(f"{call('host_log', 1, 0, 0)} {ECHO}", imports=imported("host_log"))
    for name in ("one", "two"):
        host = HostFunctions("guest", listen=lambda level, who, text, name=name: said.append(name))  # type: ignore[misc]
        session = Session(made, host=host)
        session.call(FRAME)
        session.close()
    assert said == ["one", "two"]


def test_after_an_accident_nothing_is_passed_on(stock: Stock):
    poisoned = f"(if (i32.load (i32.const 0)) (then unreachable)) (i32.store (i32.const 0) (i32.const 1)) {ECHO}"
    for _ in range(3):
        session = Session(plugin(poisoned))
        assert session.call(FRAME).equals(FRAME)
        with pytest.raises(WasmTrap):
            session.call(FRAME)
        session.close()
        assert len(stock) == 0


def test_a_stopped_stage_passes_on_what_was_not_at_work():
    session = Session(counting())
    answers(session, 2)
    session.interrupt()
    with pytest.raises(WasmInterrupted):
        answers(session, 2)
    session.close()
    assert once(counting()) == [1, 2]


def test_a_fresh_instance_has_worked_for_nobody():
    session = Session(counting())
    answers(session, 2)
    with session.pool.guest(fresh=True) as guest:
        assert guest.memory.read(12, 4, "") == bytes(4)
    session.close()


def test_a_pool_lets_go_what_it_does_not_need(monkeypatch: pytest.MonkeyPatch):
    session = Session(counting())
    with session.pool.guest(), session.pool.guest(), session.pool.guest():
        pass
    for _ in range(5):
        answers(session, 2)
    assert session.pool.idle == 3
    monkeypatch.setattr(pool, "IDLE_SECONDS", 0.05)
    time.sleep(0.1)
    for left in (2, 1, 1):
        answers(session, 2)
        assert session.pool.idle == left
    session.close()


# ---- the stock ----


def machine(number: int = 0, *, made: list[Machine] | None = None) -> Machine:
    found = Machine(
        bytes(module(small(number))[:8]) + _with_memory(),
        name="m",
        exports={},
        optional={},
        limits=Limits(),
        doors=None,
        metered=True,
        trusted=False,
        fast=True,
    )
    found.idle.append(found.guest(None, bool))
    if made is not None:
        made.append(found)
    return found


def _with_memory() -> bytes:
    # One memory of one page, exported as `memory`.
    return b"\x05\x03\x01\x00\x01" + b"\x07\x0a\x01\x06memory\x02\x00"


def freed(machines: list[Machine]) -> list[bool]:
    return [not found.idle for found in machines]


def test_what_waits_longest_makes_room():
    stock, made = Stock(machines=2), []
    for key in "abc":
        stock.put(key, machine(made=made))
    assert freed(made) == [True, False, False]
    assert stock.take("a") is None
    assert stock.take("b") is made[1]
    assert stock.take("b") is None
    stock.put("c", machine(made=made))
    assert freed(made) == [True, False, True, False]
    stock.clear()


def test_memory_is_bounded_too():
    stock, made = Stock(memory=3 * 65536), []
    for key in "abcd":
        stock.put(key, machine(made=made))
    assert freed(made) == [True, False, False, False]
    stock.clear()
    assert all(freed(made))


def test_what_nobody_wants_is_freed_and_no_thread_stays():
    def stocks() -> set[threading.Thread]:
        return {thread for thread in threading.enumerate() if thread.name == "dataflare-wasm-stock"}

    before = stocks()
    stock, made = Stock(seconds=0.1), []
    stock.put("a", machine(made=made))
    time.sleep(0.06)
    stock.put("b", machine(made=made))
    deadline = time.monotonic() + 5
    while not all(freed(made)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert all(freed(made))
    assert len(stock) == 0
    # A slow machine may have freed the first before the second came, for which there was another thread then.
    deadline = time.monotonic() + 10
    while stocks() - before and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not stocks() - before
