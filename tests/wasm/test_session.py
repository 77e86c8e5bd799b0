"""How calls into a plugin end: stopped from outside, with an error of its own, or well; and what is left afterwards."""

from __future__ import annotations

import threading
import time

import polars as pl
import pytest
from wasmtime import wat2wasm

from dataflare_nb.errors import (
    WasmConfiguration,
    WasmError,
    WasmInterrupted,
    WasmPluginExecution,
    WasmPluginLoad,
    WasmRuntimeError,
    WasmTimeout,
    WasmTrap,
)
from dataflare_nb.wasm import Plugin, Session

from .asking import call, data, imported
from .guests import ECHO, plugin

FRAME = pl.DataFrame({"x": [1, 2, None, 4]})
FOREVER = "(loop $again (br $again)) (i32.const 0)"


def caught_in(session: Session, caught: list[BaseException]) -> threading.Thread:
    """Call in another thread, and wait until it is at work."""

    def work() -> None:
        try:
            session.call(FRAME)
        except WasmInterrupted as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    before = session.pool.lent
    thread.start()
    while session.pool.lent == before:
        time.sleep(0.01)
    return thread


# ---- stopped from outside ----


@pytest.mark.slow
def test_an_interrupt_from_another_thread_ends_all_running_guests(within):
    session = Session(plugin(FOREVER, policy={"max_execution_time": "1h"}))
    caught: list[BaseException] = []
    threads = [caught_in(session, caught) for _ in range(3)]
    time.sleep(0.05)
    with within(1.0):
        session.interrupt()
        for thread in threads:
            thread.join(30)
    assert len(caught) == 3
    assert "the job was stopped" in str(caught[0])
    with pytest.raises(WasmInterrupted):
        session.call(FRAME)
    session.close()


def test_an_interrupt_leaves_other_plugins_alone():
    one, other = Session(plugin()), Session(plugin())
    one.interrupt()
    assert other.call(FRAME).equals(FRAME)
    one.close()
    other.close()


def test_after_an_interrupt_a_pool_can_be_used_again():
    session = Session(plugin())
    session.call(FRAME)
    session.interrupt()
    session.pool.resume()
    assert session.call(FRAME).equals(FRAME)
    session.close()


def test_closing_ends_a_running_guest():
    session = Session(plugin(FOREVER, policy={"max_execution_time": "1h"}))
    caught: list[BaseException] = []
    thread = caught_in(session, caught)
    session.close()
    session.close()
    thread.join(5)
    assert caught
    with pytest.raises(WasmRuntimeError, match="its pool is closed"):
        session.call(FRAME)


# ---- an error of its own ----


def test_a_trap_carries_the_frames_of_the_guest():
    session = Session(plugin("(call $inner)", extra="(func $inner (result i32) unreachable)"))
    with pytest.raises(WasmTrap) as caught:
        session.call(FRAME)
    assert caught.value.plugin == "guest"
    assert caught.value.guest_trace[0] == "inner"
    session.close()


def test_an_error_code_brings_its_text_and_keeps_the_instance():
    said = data(128, "price is missing") + data(64, b"\x80\0\0\0\x10\0\0\0")
    session = Session(
        plugin("(i32.const -2)", extra=said + '(func (export "df_last_error") (result i32) (i32.const 64))')
    )
    with pytest.raises(
        WasmPluginExecution, match="plugin guest: it does not accept this input: price is missing"
    ) as caught:
        session.call(FRAME)
    assert caught.value.code == -2  # type: ignore[attr-defined]
    assert session.pool.idle == 1
    session.close()


def test_a_config_that_the_plugin_refuses_is_a_configuration_error():
    refusing = '(func (export "plugin_init") (param i32 i32) (result i32) (i32.const -1))'
    session = Session(plugin(extra=refusing))
    with pytest.raises(WasmConfiguration, match="its config does not hold"):
        session.call(FRAME)
    session.close()


def test_missing_and_misshapen_exports_are_named_together():
    module = bytes(wat2wasm('(module (func (export "df_alloc") (param i64)))'))
    with pytest.raises(WasmPluginLoad) as caught:
        Session(plugin().__class__.of(plugin().config, module))
    for part in ("`memory`", "`df_abi_version`", "`df_reset`", "`process_data`", "`df_alloc` is (i64) -> nothing"):
        assert part in str(caught.value)


def test_a_plugin_that_takes_no_batches_is_refused():
    session = Session(plugin(formats=0))
    with pytest.raises(WasmPluginLoad, match="df_formats"):
        session.call(FRAME)
    session.close()


# ---- what is left ----


def test_a_guest_near_its_limit_is_replaced():
    grow = f"(drop (memory.grow (i32.const 26))) {ECHO}"
    session = Session(plugin(grow, policy={"max_memory": "2MiB"}))
    for _ in range(5):
        assert session.call(FRAME).equals(FRAME)
        assert session.pool.idle == 0
    session.close()


def test_the_pool_returns_to_its_size_and_the_ticker_ends():
    session = Session(plugin())

    def work() -> None:
        for _ in range(20):
            assert session.call(FRAME).equals(FRAME)

    threads = [threading.Thread(target=work) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert session.pool.lent == 0
    assert 1 <= session.pool.idle <= 8
    deadline = time.monotonic() + 5
    while session.pool.ticking and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not session.pool.ticking
    session.close()


def test_the_slow_way_to_call_gives_the_same():
    session = Session(plugin(), fast=False)
    assert session.call(FRAME).equals(FRAME)
    session.close()
    slow = Session(plugin(FOREVER, policy={"max_execution_time": 50}), fast=False)
    with pytest.raises(WasmTimeout):
        slow.call(FRAME)
    slow.close()


def test_the_slow_way_is_halted_by_the_host_too():
    leaving = plugin(f"{call('proc_exit', 3)} {ECHO}", imports=imported("proc_exit"))
    for fast in (True, False):
        session = Session(leaving, fast=fast)
        for _ in range(2):
            with pytest.raises(WasmTrap, match=r"ended itself with exit\(3\)"):
                session.call(FRAME)
        session.close()


EVIL = "a\\0a\\1b[31mERROR root: all is lost"


@pytest.mark.parametrize(
    "made",
    [
        plugin(
            "(i32.const -1007)",
            extra=f"""(func (export "df_last_error") (result i32) (i32.const 600)) (data (i32.const 768) "{EVIL}")
            (data (i32.const 600) "\\00\\03\\00\\00\\1e\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00")""",
        ),
        plugin(f'(call $"{EVIL}") (i32.const 0)', extra=f'(func $"{EVIL}" (unreachable))'),
        plugin(imports=f'(import "dataflare" "{EVIL}" (func))'),
    ],
    ids=["its error", "its frames", "its imports"],
)
def test_what_a_guest_says_cannot_begin_a_line_or_steer_a_terminal(made: Plugin):
    with pytest.raises(WasmError, match=r"a\\n\\x1b\[31mERROR root: all is lost") as caught:
        Session(made).call(pl.DataFrame({"x": [1.0]}))
    assert all(line.isprintable() for line in str(caught.value).split("\n"))


def test_a_column_with_a_byte_0_in_its_name_is_refused():
    with pytest.raises(WasmError, match=r"plugin guest: column 'a\\x00b' has the byte 0 in its name"):
        Session(plugin()).call(pl.DataFrame({"a\0b": [1.0]}))
