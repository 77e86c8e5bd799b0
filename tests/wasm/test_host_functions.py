"""What a guest may ask of its host: to log, the time, a number, its settings, to count."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.clock import ManualClock
from dataflare_nb.errors import WasmRuntimeError, WasmTimeout
from dataflare_nb.wasm import Session
from dataflare_nb.wasm.hostcalls import HostFunctions

from .asking import answers, ask, asking, call, data, i64, imported, peek
from .guests import BUFFERS, ECHO, plugin

FRAME = pl.DataFrame({"x": [1, 2, None, 4]})
HELLO = data(128, "hello")
SAY = f"{call('host_log', 1, 128, 5)} {ECHO}"


@pytest.fixture
def heard(caplog: pytest.LogCaptureFixture) -> Iterator[pytest.LogCaptureFixture]:
    with caplog.at_level(logging.DEBUG, "dataflare_nb.wasm"):
        yield caplog


def speaking(work: str, text: str = "hello", host: HostFunctions | None = None, calls: int = 1) -> None:
    session = Session(plugin(work, imports=imported("host_log"), extra=data(128, text)), host=host)
    for _ in range(calls):
        assert session.call(FRAME).equals(FRAME)
    session.close()


# ---- logging ----


def test_a_guest_logs_at_its_level(heard: pytest.LogCaptureFixture):
    for level in (-1, 0, 1, 2, 3, 9):
        speaking(f"{call('host_log', level, 128, 5)} {ECHO}")
    levels = [logging.DEBUG, logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.ERROR]
    assert [(r.levelno, r.getMessage()) for r in heard.records] == [(level, "guest: hello") for level in levels]


def test_a_listener_hears_it_too():
    said: list[tuple[int, str, str]] = []
    speaking(SAY, host=HostFunctions("guest", listen=lambda *what: said.append(what)), calls=2)
    assert said == [(logging.INFO, "guest", "hello")] * 2


def test_a_guest_that_shouts_is_cut_short(heard: pytest.LogCaptureFixture):
    work = f"""(local $i i32) (loop $l {call("host_log", 1, 128, 5)}
      (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 500)))) {ECHO}"""
    clock = ManualClock()
    host = HostFunctions("guest", clock=clock)
    session = Session(plugin(work, imports=imported("host_log"), extra=HELLO), host=host)
    session.call(FRAME)
    assert len(heard.records) == 100
    assert host.suppressed == 400
    clock.advance(1_000_000)
    session.call(FRAME)
    assert "400 more messages in that second were left out" in heard.text
    session.close()


@pytest.mark.parametrize(("address", "length"), [(-8, -1), (131_070, 5), (0, -1), (-1, 2)])
def test_a_log_message_outside_the_memory_harms_nobody(heard: pytest.LogCaptureFixture, address: int, length: int):
    speaking(f"{call('host_log', 1, address, length)} {ECHO}")
    assert [r.getMessage() for r in heard.records] == ["guest: a log message outside the guest's memory was left out"]


def test_a_message_cannot_pretend_to_be_another_or_steer_a_terminal(heard: pytest.LogCaptureFixture):
    text = "one\r\nERROR two\x1b[31m\ttäb\x00"
    speaking(f"{call('host_log', 1, 128, len(text.encode()))} {ECHO}", text)
    assert heard.records[0].getMessage() == "guest: one\\r\\nERROR two\\x1b[31m\ttäb\\x00"


def test_a_long_message_is_cut(heard: pytest.LogCaptureFixture):
    speaking(f"{call('host_log', 1, 0, 100_000)} {ECHO}")
    assert len(heard.records[0].getMessage()) <= len("guest: ") + 1024 * len("\\x00")


# ---- time ----


def test_time_comes_from_the_clock_of_the_job():
    clock = ManualClock(42)
    work = f"(i64.store (i32.load offset=4 {BUFFERS}) {call('host_get_time')}) {ECHO}"
    session = Session(plugin(work, imports=imported("host_get_time")), host=HostFunctions("guest", clock=clock))
    assert session.call(pl.DataFrame({"x": [0]}))["x"].to_list() == [42]
    clock.advance(8)
    assert session.call(pl.DataFrame({"x": [0]}))["x"].to_list() == [50]
    session.close()


# ---- numbers ----

DRAW = f"""(local $i i32) (loop $l
    (i64.store (i32.add (i32.load offset=4 {BUFFERS}) (i32.shl (local.get $i) (i32.const 3)))
      (i64.trunc_f64_s (f64.mul {call("host_random")} (f64.const 1e15))))
    (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 4)))) {ECHO}"""
WHOLE = pl.DataFrame({"x": [1, 2, 3, 4]})
OTHER = pl.DataFrame({"x": [1, 2, 3, 5]})


def drawing(seed: int | None, stage: str = "") -> Session:
    return Session(plugin(DRAW, imports=imported("host_random")), host=HostFunctions("guest", seed=seed, stage=stage))


def drawn(session: Session, frame: pl.DataFrame = WHOLE) -> tuple[int, ...]:
    return tuple(session.call(frame)["x"].to_list())


def test_numbers_depend_on_seed_stage_and_batch_and_on_nothing_else():
    one, again, seeded, staged = drawing(7), drawing(7), drawing(8), drawing(7, "b")
    first = drawn(one)
    assert drawn(one, OTHER) != first
    assert drawn(one) == first
    assert drawn(again) == first
    assert len({first, drawn(one, OTHER), drawn(seeded), drawn(staged)}) == 4
    assert len(set(first)) == 4
    assert all(0 <= number < 1e15 for number in first)
    for session in (one, again, seeded, staged):
        session.close()


def test_threads_do_not_change_the_numbers():
    frames = [pl.DataFrame({"x": [n, 2, 3, 4]}) for n in range(40)]
    alone = drawing(7)
    expected = [drawn(alone, frame) for frame in frames]
    alone.close()
    together = drawing(7)
    found: dict[int, tuple[int, ...]] = {}

    def work(own: range) -> None:
        for n in own:
            found[n] = drawn(together, frames[n])

    threads = [threading.Thread(target=work, args=(range(i, 40, 4),)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    together.close()
    assert [found[n] for n in range(40)] == expected


def test_without_a_seed_numbers_do_not_repeat():
    session = drawing(None)
    assert drawn(session) != drawn(session)
    session.close()


# ---- settings ----


def test_settings_can_be_read_at_any_time():
    config = {"rate": 1.5, "who": "Zoë"}
    raw = json.dumps(config, ensure_ascii=False, separators=(",", ":")).encode()
    length = call("host_config", 512, 100)
    told = ask(length, *peek(512, len(raw) + 1), imports=["host_config"], config=config)
    assert told[0] == len(raw)
    assert bytes(told[1:]) == raw + b"\0"


def test_settings_are_cut_to_the_room_and_never_written_outside():
    config = {"a": 1}
    questions = [call("host_config", 512, 3), *peek(512, 5), call("host_config", 131_070, 100)]
    questions += [call("host_config", -1, 5), call("host_config", 0, 0)]
    assert ask(*questions, imports=["host_config"], config=config) == [7, *b'{"a', 0, 0, -1, -1, 7]


# ---- counters ----


def counting(work: str) -> list[tuple[str, int]]:
    counted: list[tuple[str, int]] = []
    host = HostFunctions("guest", count=lambda name, by: counted.append((name, by)))
    session = Session(plugin(f"{work} {ECHO}", imports=imported("host_counter"), extra=HELLO), host=host)
    session.call(FRAME)
    session.close()
    return counted


def test_counters_reach_the_host():
    assert counting(call("host_counter", 128, 5, i64(3))) == [("guest.hello", 3)]


def test_a_counter_outside_the_memory_or_without_a_name_counts_nothing():
    bad = [(-8, 5), (131_070, 5), (128, 0), (128, -1), (128, 129)]
    assert counting(" ".join(call("host_counter", at, length, i64(1)) for at, length in bad)) == []


def test_a_counter_cannot_pass_for_what_a_job_counts_itself():
    count = call("host_counter", 700, 9, i64(1 << 62))
    liar = plugin(f"{count} {count} {count} {ECHO}", imports=imported("host_counter"), extra=data(700, b"x/calls\n."))
    job = flare.from_frame(pl.DataFrame({"x": [1]})).wasm(liar).run("counted").wait()
    (row,) = job.plugins().rows(named=True)
    assert (row["plugin"], row["calls"]) == ("guest", 1)
    assert job.read().nodes[row["stage"]].counters["guest.x_calls\\n."] == 3 << 62


def test_a_flood_of_names_is_bounded():
    flood = f"""(local $i i32) (loop $l (i32.store (i32.const 128) (local.get $i))
        {call("host_counter", 128, 4, i64(1))}
        (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 500))))"""
    assert len({name for name, _ in counting(flood)}) == 64


# ---- several at once ----


def test_each_session_is_spoken_for_by_its_own_host():
    """Guests of two sessions on one thread, and of one session on two threads, never mix their hosts up."""
    clocks = [ManualClock(1), ManualClock(2)]
    session = [
        Session(
            asking("(i32.wrap_i64 (call $host_get_time))", imports=["host_get_time"]), host=HostFunctions("g", clock=c)
        )
        for c in clocks
    ]
    for _ in range(3):
        assert answers(session[0], 1) == [1]
        assert answers(session[1], 1) == [2]
    wrong: list[int] = []

    def work(which: int) -> None:
        wrong.extend(got for _ in range(200) if (got := answers(session[which], 1)[0]) != which + 1)

    threads = [threading.Thread(target=work, args=(i,)) for i in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    for one in session:
        one.close()


def test_a_host_that_fails_stops_its_guest_and_no_other(heard: pytest.LogCaptureFixture):
    def listen(level: int, who: str, text: str) -> None:
        raise OSError("the widget is gone")

    session = Session(
        plugin(SAY, imports=imported("host_log"), extra=HELLO), host=HostFunctions("guest", listen=listen)
    )
    with pytest.raises(WasmRuntimeError, match=r"plugin guest: dataflare\.host_log failed: OSError"):
        session.call(FRAME)
    assert session.pool.idle == 0
    session.close()
    speaking(SAY)


def test_a_loop_around_host_calls_ends_with_its_budget():
    loop = f"(loop $again {call('host_log', 1, 0, 4)} (br $again)) {ECHO}"
    session = Session(plugin(loop, imports=imported("host_log"), policy={"max_execution_time": 100}))
    with pytest.raises(WasmTimeout):
        session.call(FRAME)
    session.close()
