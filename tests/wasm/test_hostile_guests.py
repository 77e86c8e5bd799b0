"""Guests that loop, hog, lie and reach out. Each ends in one clear error, and the next call is well."""

from __future__ import annotations

import logging
import threading
import time

import polars as pl
import pytest
from wasmtime import wat2wasm

from dataflare_nb.clock import ManualClock
from dataflare_nb.errors import (
    WasmBadOutput,
    WasmConfiguration,
    WasmInterrupted,
    WasmMemoryLimit,
    WasmPluginExecution,
    WasmPluginLoad,
    WasmTimeout,
    WasmTrap,
)
from dataflare_nb.wasm import Session
from dataflare_nb.wasm.hostcalls import HostFunctions

from .guests import ARRAY, BUFFERS, DATA, ECHO, OFFSETS, ROOT_ARRAY, ROOT_SCHEMA, SCHEMA, lying, plugin

FRAME = pl.DataFrame({"x": [1, 2, None, 4]})
TEXT = pl.DataFrame({"s": ["one", "zwölf", None, "drei"]})
FOREVER = "(loop $again (br $again)) (i32.const 0)"
SLOW = 0.2


def attempt(
    error: type[Exception], match: str, work: str = ECHO, frame: pl.DataFrame = FRAME, **parts: object
) -> float:
    """Call a guest that must fail; return how long it took."""
    start = time.monotonic()
    session = Session(plugin(work, **parts))
    try:
        with pytest.raises(error, match=match):
            session.call(frame, rows=frame.height)
        took = time.monotonic() - start
        assert session.pool.idle == 0
        assert session.pool.lent == 0
    finally:
        session.close()
    return took


# ---- time ----


def test_a_loop_ends_with_its_budget():
    took = attempt(WasmTimeout, "plugin guest: ran longer than its 100 ms", FOREVER, policy={"max_execution_time": 100})
    assert 0.1 <= took < 0.1 + SLOW


def test_a_loop_in_the_start_function_ends_too():
    took = attempt(
        WasmTimeout,
        "ran longer than its 100 ms",
        extra="(func $s (loop $again (br $again))) (start $s)",
        policy={"max_execution_time": 100},
    )
    assert took < 0.1 + SLOW


def test_a_loop_in_plugin_init_ends_too():
    looping = f'(func (export "plugin_init") (param i32 i32) (result i32) {FOREVER})'
    took = attempt(WasmTimeout, "100 ms", extra=looping, policy={"max_execution_time": 100})
    assert took < 0.1 + SLOW


def test_a_loop_around_host_calls_ends_too():
    imports = '(import "dataflare" "host_log" (func $log (param i32 i32 i32)))'
    loop = "(loop $again (call $log (i32.const 1) (i32.const 0) (i32.const 4)) (br $again)) (i32.const 0)"
    took = attempt(WasmTimeout, "100 ms", loop, imports=imports, policy={"max_execution_time": 100})
    assert took < 0.1 + SLOW


def test_an_interrupt_from_another_thread_ends_all_running_guests():
    session = Session(plugin(FOREVER, policy={"max_execution_time": "1h"}))
    caught: list[BaseException] = []

    def work() -> None:
        try:
            session.call(FRAME)
        except WasmInterrupted as error:
            caught.append(error)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while session.pool.lent < 3:
        time.sleep(0.01)
    time.sleep(0.05)
    start = time.monotonic()
    session.interrupt()
    for thread in threads:
        thread.join(2)
    assert time.monotonic() - start < 0.5
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


def test_closing_ends_a_running_guest():
    session = Session(plugin(FOREVER, policy={"max_execution_time": "1h"}))
    caught: list[BaseException] = []

    def work() -> None:
        try:
            session.call(FRAME)
        except WasmInterrupted as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    while session.pool.lent < 1:
        time.sleep(0.01)
    session.close()
    session.close()
    thread.join(2)
    assert caught


# ---- memory and stack ----


def test_a_hog_stops_at_its_limit():
    hog = "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1)))) (i32.const -4)"
    attempt(WasmMemoryLimit, "ran out of memory .*max_memory is 2097152", hog, policy={"max_memory": "2MiB"})


def test_a_module_that_starts_above_its_limit_is_refused():
    attempt(WasmMemoryLimit, "starts with more memory than max_memory", memory="100", policy={"max_memory": "1MiB"})


def test_a_recursion_without_an_end_is_a_trap():
    extra = "(func $f (param i32) (result i32) (i32.add (i32.const 1) (call $f (local.get 0))))"
    attempt(WasmTrap, "ran out of stack", "(call $f (i32.const 0))", extra=extra)


def test_a_guest_near_its_limit_is_replaced():
    grow = f"(drop (memory.grow (i32.const 26))) {ECHO}"
    session = Session(plugin(grow, policy={"max_memory": "2MiB"}))
    for _ in range(5):
        assert session.call(FRAME).equals(FRAME)
        assert session.pool.idle == 0
    session.close()


@pytest.mark.parametrize(
    ("work", "match"),
    [
        ("unreachable", "gave up"),
        ("(i32.load (i32.const -8))", "read or wrote outside its memory"),
        ("(i32.div_s (i32.const 1) (i32.const 0))", "divided an integer by zero"),
        ("(i32.trunc_f64_s (f64.const nan))", "converted a float"),
    ],
)
def test_a_trap_says_what_happened(work: str, match: str):
    attempt(WasmTrap, match, work)


def test_a_trap_carries_the_frames_of_the_guest():
    session = Session(plugin("(call $inner)", extra="(func $inner (result i32) unreachable)"))
    with pytest.raises(WasmTrap) as caught:
        session.call(FRAME)
    assert caught.value.plugin == "guest"
    assert caught.value.guest_trace[0] == "inner"
    session.close()


# ---- pointers, lengths, offsets, counts, text ----

BIG = 0x7FFFFFFF


@pytest.mark.parametrize(
    ("work", "match"),
    [
        ("(i32.const 131065)", "the returned df_slice is 16 bytes at 131065, outside"),
        (f"(i32.const {BIG})", "the returned df_slice"),
        ("(i32.const 0)", "returned nothing"),
        (f"(local.set $at (i32.const {BIG})) {ECHO}", "the returned df_batch"),
        (f"(local.set $at (i32.const -16)) {ECHO}", "the returned df_batch"),
        (ECHO.replace("(i32.const 3)", "(i32.const 1)"), "answered in JSON; return an Arrow batch"),
        (ECHO.replace("(i32.const 8)", "(i32.const 4)"), "has 4 bytes instead of 8"),
        (ECHO.replace("(i32.const 8)", "(i32.const -1)"), "outside the guest's memory"),
        (lying("(local.get $at)", 0, BIG), "the returned schema"),
        (lying("(local.get $at)", 4, -64), "the returned array"),
        (lying(ROOT_SCHEMA, 0, 0), "the returned schema is ``"),
        (lying(ROOT_SCHEMA, 24, 2**40, wide=True), "at most 4096"),
        (lying(ROOT_SCHEMA, 24, -1, wide=True), "at most 4096"),
        (lying(ROOT_SCHEMA, 24, 0, wide=True), "has 1 columns, its schema 0"),
        (lying(ROOT_SCHEMA, 32, BIG), "its children"),
        (lying(SCHEMA, 0, BIG), "the format in the schema of returned column 0"),
        (lying(SCHEMA, 0, 16), "the format `"),
        (lying(SCHEMA, 4, BIG), "the name in the schema"),
        (lying(SCHEMA, 24, 1, wide=True), "not one of the flat Arrow types"),
        (lying(SCHEMA, 36, 64), "dictionary-encoded"),
        (lying(ROOT_ARRAY, 0, 3, wide=True), "returned 3 rows for 4"),
        (lying(ROOT_ARRAY, 0, -1, wide=True), "claims -1 rows"),
        (lying(ROOT_ARRAY, 0, 2**62, wide=True), "claims 4611686018427387904 rows"),
        (lying(ROOT_ARRAY, 8, 1, wide=True), "offset or nulls of its own"),
        (lying(ROOT_ARRAY, 16, 1, wide=True), "offset or nulls of its own"),
        (lying(ROOT_ARRAY, 44, BIG), "the children of the returned array"),
        (lying(ARRAY, 0, 2**40, wide=True), "has 1099511627776 rows, the batch 4"),
        (lying(ARRAY, 8, 3, wide=True), "null_count value"),
        (lying(ARRAY, 8, 2**50, wide=True), "nulls in 4 rows"),
        (lying(ARRAY, 8, -2, wide=True), "nulls in 4 rows"),
        (lying(ARRAY, 16, -1, wide=True), "claims the offset -1"),
        (lying(ARRAY, 16, 2**62, wide=True), "claims the offset"),
        (lying(ARRAY, 16, 100_000, wide=True), "outside the guest's memory"),
        (lying(ARRAY, 24, 1, wide=True), "has 1 buffers"),
        (lying(ARRAY, 32, 1, wide=True), "1 children"),
        (lying(ARRAY, 40, BIG), "the buffers of returned column `x`"),
        (lying(BUFFERS, 0, BIG), "the null bitmap of returned column `x`"),
        (lying(BUFFERS, 0, 0), "claims 1 nulls and has no bitmap"),
        (lying(BUFFERS, 4, 131070), "the data of returned column `x`"),
        (lying(BUFFERS, 4, 0), "the data of returned column `x` is missing"),
    ],
)
def test_a_guest_that_lies_about_numbers_is_found_out(work: str, match: str):
    attempt(WasmBadOutput, match, work)


@pytest.mark.parametrize(
    ("work", "match"),
    [
        (lying(OFFSETS, 8, -5, wide=True), "does not hold"),
        (lying(OFFSETS, 8, 2**40, wide=True), "does not hold"),
        (lying(OFFSETS, 16, 1, wide=True), "does not hold"),
        (lying(OFFSETS, 8, 6, wide=True), "does not hold: .*(UTF8|utf8|UTF-8)"),
        (lying(OFFSETS, 32, -1, wide=True), "the last offset .* is -1"),
        (lying(OFFSETS, 32, 2**40, wide=True), "outside the guest's memory"),
        (lying(DATA, 0, -1), "does not hold: .*(UTF8|utf8|UTF-8)"),
        (lying(BUFFERS, 8, BIG), "the text of returned column `s`"),
        (lying(BUFFERS, 8, 0), "the text of returned column `s` is missing"),
        (lying(BUFFERS, 4, 0), "the offsets of returned column `s` is missing"),
    ],
)
def test_a_guest_that_lies_about_text_is_found_out(work: str, match: str):
    attempt(WasmBadOutput, match, work, TEXT)


def test_a_time_of_day_beyond_midnight_is_found_out():
    times = pl.DataFrame({"t": [0]}).select(pl.col("t").cast(pl.Time))
    attempt(WasmBadOutput, "does not hold", lying(f"(i32.load offset=4 {BUFFERS})", 0, 2**62, wide=True), times)


def test_an_unknown_time_zone_is_found_out():
    zoned = pl.DataFrame({"t": pl.Series([0], dtype=pl.Datetime("us", "UTC"))})
    attempt(WasmBadOutput, "does not hold", lying(f"(i32.load {SCHEMA})", 4, 0x00585858), zoned)


def test_columns_of_one_name_are_found_out():
    two = pl.DataFrame({"a": [1], "b": [2]})
    same = f"(i32.load (i32.add (i32.load offset=32 {ROOT_SCHEMA}) (i32.const 4)))"
    work = f"(i32.store offset=4 {same} (i32.load offset=4 {SCHEMA})) {ECHO}"
    attempt(WasmBadOutput, "several columns called a", work, two)


def test_a_thousand_columns_over_one_buffer_do_not_fill_the_host():
    wide = pl.DataFrame({f"c{i}": [0] for i in range(1000)})
    # Every column points at the first one's array, which claims to be as long as the memory.
    rows = 120_000
    work = f"""(local $i i32)
      (i64.store {ROOT_ARRAY} (i64.const {rows}))
      (i64.store {ARRAY} (i64.const {rows}))
      (i32.store offset=4 {BUFFERS} (i32.const 64))
      (loop $next
        (i32.store (i32.add (i32.load offset=44 {ROOT_ARRAY}) (i32.shl (local.get $i) (i32.const 2))) {ARRAY})
        (br_if $next (i32.lt_u (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 1000))))
      {ECHO}"""
    session = Session(plugin(work, kind="Transformer", memory="20", policy={"max_memory": "4MiB"}))
    with pytest.raises(WasmBadOutput, match="more data than its memory limit"):
        session.call(wide)
    session.close()


@pytest.mark.parametrize(
    ("alloc", "match"),
    [
        ("(i32.const -64)", "what df_alloc returned"),
        (f"(i32.const {BIG - 63})", "what df_alloc returned"),
        ("(i32.const 131072)", "what df_alloc returned"),
        ("(i32.const 65537)", "not a multiple of 64"),
    ],
)
def test_an_allocator_that_lies_writes_nowhere(alloc: str, match: str):
    attempt(WasmBadOutput, match, alloc=alloc)


def test_an_allocator_without_memory_is_a_memory_limit():
    attempt(WasmMemoryLimit, "a batch of 4 rows needs", alloc="(i32.const 0)")


# ---- the interface ----


def test_a_forbidden_import_is_refused_by_name_before_anything_runs():
    imports = '(import "wasi_snapshot_preview1" "fd_write" (func (param i32 i32 i32 i32) (result i32)))'
    with pytest.raises(WasmConfiguration, match=r"imports wasi_snapshot_preview1.fd_write, .*dataflare.host_log"):
        Session(plugin(imports=imports))
    with pytest.raises(WasmConfiguration, match=r"dataflare.host_exec"):
        Session(plugin(imports='(import "dataflare" "host_exec" (func))'))
    with pytest.raises(WasmPluginLoad, match=r"import dataflare.host_log must be \(i32, i32, i32\) -> nothing"):
        Session(plugin(imports='(import "dataflare" "host_log" (func (param i64)))'))
    with pytest.raises(WasmPluginLoad, match=r"import dataflare.host_random"):
        Session(
            plugin(imports='(import "dataflare" "host_random" (memory 1))', memory="1").__class__.of(
                plugin().config,
                bytes(wat2wasm('(module (import "dataflare" "host_random" (memory 1)) (export "memory" (memory 0)))')),
            )
        )


def test_missing_and_misshapen_exports_are_named_together():
    module = bytes(wat2wasm('(module (func (export "df_alloc") (param i64)))'))
    with pytest.raises(WasmPluginLoad) as caught:
        Session(plugin().__class__.of(plugin().config, module))
    for part in ("`memory`", "`df_abi_version`", "`df_reset`", "`process_data`", "`df_alloc` is (i64) -> nothing"):
        assert part in str(caught.value)


@pytest.mark.parametrize("memory", ["i64 1", "1 2 shared"])
def test_other_kinds_of_memory_do_not_load(memory: str):
    base = plugin()
    module = bytes(wat2wasm(f'(module (memory (export "memory") {memory}))'))
    with pytest.raises(WasmPluginLoad, match="does not compile"):
        Session(base.__class__.of(base.config, module))


@pytest.mark.parametrize("module", [b"", b"(module)", b"\0asm\2\0\0\0", b"\0asm\1\0\0\0junk", b"\x7fELF" + b"\0" * 60])
def test_what_is_not_a_module_does_not_load(module: bytes):
    base = plugin()
    with pytest.raises(WasmPluginLoad, match=r"plugin guest: (this is not a core|the module does not compile)"):
        Session(base.__class__.of(base.config, module))


def test_a_module_that_is_too_large_is_not_compiled():
    base = plugin()
    with pytest.raises(WasmPluginLoad, match="more than the 8388608 allowed"):
        Session(base.__class__.of(base.config, b"\0asm\1\0\0\0" + bytes(8 << 20)))


def test_other_versions_and_formats_are_refused():
    attempt(WasmPluginLoad, "speaks version 2 of the interface, we 1", version=2)
    attempt(WasmPluginLoad, "does not take Arrow batches", formats=3)


def test_an_error_code_brings_its_text_and_keeps_the_instance():
    said = '(data (i32.const 128) "price is missing") (func (export "df_last_error") (result i32) (i32.const 64))'
    slice_ = '(data (i32.const 64) "\\80\\00\\00\\00\\10\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00\\00")'
    session = Session(plugin("(i32.const -2)", extra=said + slice_))
    with pytest.raises(
        WasmPluginExecution, match="plugin guest: it does not accept this input: price is missing"
    ) as caught:
        session.call(FRAME)
    assert caught.value.code == -2
    assert session.pool.idle == 1
    session.close()


def test_an_error_text_outside_the_memory_is_found_out():
    attempt(
        WasmBadOutput,
        "its text",
        "(i32.const -1001)",
        extra='(data (i32.const 64) "\\ff\\ff\\ff\\7f\\10")'
        ' (func (export "df_last_error") (result i32) (i32.const 64))',
    )


def test_a_config_that_the_plugin_refuses_is_a_configuration_error():
    attempt(
        WasmConfiguration,
        "its config does not hold",
        extra='(func (export "plugin_init") (param i32 i32) (result i32) (i32.const -1))',
    )


# ---- after an accident ----


def test_a_poisoned_instance_is_thrown_away():
    # The guest traps when it is used a second time.
    work = f"(if (i32.load (i32.const 0)) (then unreachable)) (i32.store (i32.const 0) (i32.const 1)) {ECHO}"
    session = Session(plugin(work))
    for _ in range(4):
        assert session.call(FRAME).equals(FRAME)
        assert session.pool.idle == 1
        with pytest.raises(WasmTrap):
            session.call(FRAME)
        assert session.pool.idle == 0
    session.close()


def test_the_pool_returns_to_its_size_and_the_ticker_ends():
    before = threading.active_count()
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
    deadline = time.monotonic() + 2
    while session.pool.ticking and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not session.pool.ticking
    assert threading.active_count() == before
    session.close()


# ---- host functions ----

HOST = """(import "dataflare" "host_log" (func $log (param i32 i32 i32)))
  (import "dataflare" "host_get_time" (func $time (result i64)))
  (import "dataflare" "host_random" (func $random (result f64)))
  (import "dataflare" "host_counter" (func $count (param i32 i32 i64)))"""
HELLO = '(data (i32.const 128) "hello")'


def test_a_guest_logs_at_its_level(caplog: pytest.LogCaptureFixture):
    work = f"(call $log (i32.const 2) (i32.const 128) (i32.const 5)) {ECHO}"
    session = Session(plugin(work, imports=HOST, extra=HELLO))
    with caplog.at_level(logging.DEBUG, "dataflare_nb.wasm"):
        session.call(FRAME)
    assert [(r.levelno, r.getMessage()) for r in caplog.records] == [(logging.WARNING, "guest: hello")]
    session.close()


def test_a_guest_that_shouts_is_cut_short(caplog: pytest.LogCaptureFixture):
    work = f"""(local $i i32) (loop $l (call $log (i32.const 1) (i32.const 128) (i32.const 5))
      (br_if $l (i32.lt_s (local.tee $i (i32.add (local.get $i) (i32.const 1))) (i32.const 500)))) {ECHO}"""
    clock = ManualClock()
    host = HostFunctions("guest", clock=clock)
    session = Session(plugin(work, imports=HOST, extra=HELLO), host=host)
    with caplog.at_level(logging.DEBUG, "dataflare_nb.wasm"):
        session.call(FRAME)
        assert len(caplog.records) == 100
        assert host.suppressed == 400
        clock.advance(1_000_000)
        session.call(FRAME)
    assert "400 more messages in that second were left out" in caplog.text
    session.close()


def test_a_log_message_outside_the_memory_harms_nobody(caplog: pytest.LogCaptureFixture):
    work = f"(call $log (i32.const 1) (i32.const -8) (i32.const -1)) {ECHO}"
    session = Session(plugin(work, imports=HOST))
    assert session.call(FRAME).equals(FRAME)
    assert "outside the guest's memory" in caplog.text
    session.close()


def test_time_comes_from_the_clock_and_numbers_from_the_seed():
    work = f"""(i64.store (i32.load offset=4 {BUFFERS}) (call $time))
      (f64.store offset=8 (i32.load offset=4 {BUFFERS}) (call $random)) {ECHO}"""
    frame = pl.DataFrame({"x": [0, 0]})
    results = []
    for _ in range(2):
        session = Session(plugin(work, imports=HOST), host=HostFunctions("guest", clock=ManualClock(42), seed=7))
        results.append(session.call(frame))
        session.close()
    assert results[0]["x"][0] == 42
    assert results[0].equals(results[1])


def test_counters_reach_the_host():
    counted: list[tuple[str, int]] = []
    work = f"(call $count (i32.const 128) (i32.const 5) (i64.const 3)) {ECHO}"
    host = HostFunctions("guest", count=lambda name, by: counted.append((name, by)))
    session = Session(plugin(work, imports=HOST, extra=HELLO), host=host)
    session.call(FRAME)
    assert counted == [("guest.hello", 3)]
    session.close()


def test_the_slow_way_to_call_gives_the_same():
    session = Session(plugin(), fast=False)
    assert session.call(FRAME).equals(FRAME)
    session.close()
    slow = Session(plugin(FOREVER, policy={"max_execution_time": 50}), fast=False)
    with pytest.raises(WasmTimeout):
        slow.call(FRAME)
    slow.close()
