"""WASI as a guest may have it: the job's clock and numbers, its output in the log, no arguments, granted variables."""

from __future__ import annotations

import logging
import struct
import time
from typing import Any

import polars as pl
import pytest

from dataflare_nb.clock import ManualClock
from dataflare_nb.errors import WasmConfiguration, WasmPluginLoad, WasmTimeout, WasmTrap
from dataflare_nb.wasm import Session
from dataflare_nb.wasm.hostcalls import HostFunctions

from .asking import ask, asking, call, data, i64, imported, peek
from .guests import ECHO, plugin

BADF, FAULT, INVAL = 8, 21, 28
FRAME = pl.DataFrame({"x": [1, 2, None, 4]})


def u32(address: int) -> str:
    return f"(i32.load (i32.const {address}))"


# ---- what is there without a grant ----


def test_there_are_no_arguments_and_no_variables(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SECRET", "x")
    questions = [call("args_sizes_get", 0, 4), u32(0), u32(4), call("args_get", 0, 4)]
    questions += [call("environ_sizes_get", 0, 4), u32(0), u32(4), call("environ_get", 0, 4)]
    names = ["args_sizes_get", "args_get", "environ_sizes_get", "environ_get"]
    assert ask(*questions, imports=names) == [0] * 8


def test_there_are_no_folders_and_standard_input_is_empty():
    names = ["fd_prestat_get", "fd_prestat_dir_name", "fd_read", "fd_fdstat_get", "fd_close", "fd_seek"]
    vector = data(256, struct.pack("<II", 512, 8))
    questions = [call("fd_prestat_get", 3, 0), call("fd_prestat_dir_name", 3, 0, 8), call("fd_fdstat_get", 9, 0)]
    questions += [call("fd_read", 0, 256, 1, 64), u32(64), call("fd_read", 7, 256, 1, 64)]
    questions += [call("fd_fdstat_get", 1, 128), "(i32.load8_u (i32.const 128))", call("fd_close", 5)]
    questions += [call("fd_seek", 1, i64(0), 0, 0)]
    assert ask(*questions, imports=names, extra=vector) == [BADF, BADF, BADF, 0, 0, BADF, 0, 2, BADF, 70]


@pytest.mark.parametrize("name", ["path_open", "path_unlink_file", "fd_readdir", "path_symlink", "fd_pwrite"])
def test_what_needs_a_folder_is_refused_by_name(name: str):
    with pytest.raises(
        WasmConfiguration, match=f"imports wasi_snapshot_preview1.{name}, which its policy does not grant"
    ):
        Session(plugin(imports=imported(name)))


@pytest.mark.parametrize("name", ["sock_accept", "sock_send", "proc_raise", "thread_spawn"])
def test_sockets_and_the_like_are_never_there(name: str):
    wants = f'(import "wasi_snapshot_preview1" "{name}" (func (param i32) (result i32)))'
    everything: dict[str, Any] = {"allow_network": True, "allowed_hosts": ["a.b"], "allow_env_vars": True}
    everything |= {"allowed_env_vars": ["A"], "allow_file_system": True, "allowed_paths": ["tests"]}
    with pytest.raises(WasmConfiguration, match=f"imports wasi_snapshot_preview1.{name}"):
        Session(plugin(imports=wants, policy=everything))


def test_another_version_of_wasi_is_refused_by_name():
    wants = '(import "wasi_unstable" "fd_write" (func (param i32 i32 i32 i32) (result i32)))'
    with pytest.raises(WasmConfiguration, match=r"imports wasi_unstable.fd_write"):
        Session(plugin(imports=wants))
    wants = '(import "wasi_snapshot_preview1" "random_get" (func (param i32) (result i32)))'
    with pytest.raises(WasmPluginLoad, match=r"import wasi_snapshot_preview1.random_get must be \(i32, i32\) -> i32"):
        Session(plugin(imports=wants))


# ---- time ----


def test_both_clocks_are_the_jobs():
    questions = [call("clock_time_get", 0, i64(0), 0), u32(0), call("clock_time_get", 1, i64(0), 8), u32(8)]
    questions += [call("clock_res_get", 0, 16), u32(16), call("clock_time_get", 2, i64(0), 0)]
    host = HostFunctions("guest", clock=ManualClock(1234))
    told = ask(*questions, imports=["clock_time_get", "clock_res_get"], host=host)
    assert told == [0, 1_234_000, 0, 1_234_000, 0, 1000, INVAL]


def subscription(timeout_ns: int, *, user: int = 7, tag: int = 0, clock: int = 1, absolute: bool = False) -> bytes:
    return struct.pack("<QBxxxxxxxIxxxxQQHxxxxxx", user, tag, clock, timeout_ns, 0, int(absolute))


def sleeping(timeout_ns: int, **parts: Any) -> str:
    return data(256, subscription(timeout_ns, **parts))


POLL = call("poll_oneoff", 256, 512, 1, 64)


def test_a_sleep_takes_its_time():
    start = time.monotonic()
    questions = [POLL, u32(64), u32(512)]
    assert ask(*questions, imports=["poll_oneoff"], extra=sleeping(80_000_000)) == [0, 1, 7]
    assert 0.08 <= time.monotonic() - start < 2


def test_where_the_clock_is_moved_by_hand_a_sleep_is_only_thought():
    questions = [call("clock_time_get", 1, i64(0), 0), u32(0), POLL, call("clock_time_get", 1, i64(0), 0), u32(0)]
    start = time.monotonic()
    host = HostFunctions("guest", clock=ManualClock(1000))
    told = ask(*questions, imports=["poll_oneoff", "clock_time_get"], extra=sleeping(2_000_000_000), host=host)
    assert told == [0, 1_000_000, 0, 0, 2_001_000_000]
    assert time.monotonic() - start < 1


def test_a_thought_sleep_has_an_end_too():
    host = HostFunctions("guest", clock=ManualClock(1000))
    with pytest.raises(WasmTimeout, match=r"slept longer than its 0\.5 s"):
        ask(POLL, imports=["poll_oneoff"], extra=sleeping(10**9), host=host, policy={"max_execution_time": 500})


@pytest.mark.parametrize("parts", [{}, {"absolute": True}, {"clock": 0, "absolute": True}])
def test_a_sleep_ends_with_the_budget(parts: dict[str, Any]):
    start = time.monotonic()
    with pytest.raises(WasmTimeout, match="ran longer than its 100 ms"):
        ask(
            f"(block (result i32) (loop $l (drop {POLL}) (br $l)) (i32.const 0))",
            imports=["poll_oneoff"],
            extra=sleeping(2**63, **parts),
            policy={"max_execution_time": 100},
        )
    assert 0.1 <= time.monotonic() - start < 1


def test_waiting_for_a_stream_does_not_wait():
    both = subscription(10**10) + subscription(0, user=9, tag=1)
    questions = [call("poll_oneoff", 256, 512, 2, 64), u32(64), u32(512)]
    start = time.monotonic()
    assert ask(*questions, imports=["poll_oneoff"], extra=data(256, both)) == [0, 1, 9]
    assert time.monotonic() - start < 1


@pytest.mark.parametrize(
    ("args", "code"),
    [
        ((256, 512, 0, 64), INVAL),
        ((256, 512, 65, 64), INVAL),
        ((256, 512, -1, 64), INVAL),
        ((-8, 512, 1, 64), FAULT),
        ((256, 131_060, 1, 64), FAULT),
        ((256, 512, 1, -1), FAULT),
    ],
)
def test_a_wait_that_does_not_hold_is_an_error(args: tuple[int, ...], code: int):
    assert ask(call("poll_oneoff", *args), imports=["poll_oneoff"]) == [code]


# ---- numbers ----


def test_random_bytes_come_from_the_seed():
    questions = [call("random_get", 512, 16), *peek(512, 16)]
    one, two = (ask(*questions, imports=["random_get"], host=HostFunctions("guest", seed=3)) for _ in range(2))
    other = ask(*questions, imports=["random_get"])
    assert one == two != other
    assert len(set(one)) > 4


@pytest.mark.parametrize(
    ("at", "size", "code"), [(0, 65537, INVAL), (0, -1, INVAL), (131_070, 8, FAULT), (-1, 4, FAULT)]
)
def test_random_bytes_have_bounds(at: int, size: int, code: int):
    assert ask(call("random_get", at, size), imports=["random_get"]) == [code]


# ---- the streams ----


def said(text: str, caplog: pytest.LogCaptureFixture, *, stream: int = 1, pieces: int = 1) -> list[tuple[int, str]]:
    raw = text.encode()
    step = -(-len(raw) // pieces) if raw else 0
    vectors = b"".join(struct.pack("<II", 1024 + i * step, min(step, len(raw) - i * step)) for i in range(pieces))
    extra = data(256, vectors) + data(1024, raw)
    with caplog.at_level(logging.DEBUG, "dataflare_nb.wasm"):
        told = ask(call("fd_write", stream, 256, pieces, 64), u32(64), imports=["fd_write"], extra=extra)
    assert told == [0, len(raw)]
    return [(r.levelno, r.getMessage().removeprefix("guest: ")) for r in caplog.records]


def test_what_a_guest_prints_is_logged_line_by_line(caplog: pytest.LogCaptureFixture):
    lines = said("one\ntwö\nthree", caplog, pieces=4)
    assert lines == [(logging.INFO, "one"), (logging.INFO, "twö"), (logging.INFO, "three")]


def test_standard_error_is_a_warning(caplog: pytest.LogCaptureFixture):
    assert said("panic\n", caplog, stream=2) == [(logging.WARNING, "panic")]


def test_a_flood_of_lines_is_cut_short(caplog: pytest.LogCaptureFixture):
    assert len(said("x\n" * 5000, caplog)) <= 101


def test_a_line_without_an_end_is_cut(caplog: pytest.LogCaptureFixture):
    assert said("x" * 5000, caplog) == [(logging.INFO, "x" * 1024)]


@pytest.mark.parametrize(
    ("args", "vector", "code"),
    [
        ((1, 256, 1, 64), (512, 1 << 31), FAULT),
        ((1, 256, 1, 64), (-1 & 0xFFFFFFFF, 4), FAULT),
        ((1, 256, 1025, 64), (0, 0), INVAL),
        ((1, 256, -1, 64), (0, 0), INVAL),
        ((1, 131_070, 1, 64), (0, 0), FAULT),
        ((1, 256, 1, 131_070), (512, 4), FAULT),
        ((3, 256, 1, 64), (512, 4), BADF),
        ((0, 256, 1, 64), (512, 4), 70),
    ],
)
def test_a_write_that_does_not_hold_is_an_error(args: tuple[int, ...], vector: tuple[int, int], code: int):
    assert ask(call("fd_write", *args), imports=["fd_write"], extra=data(256, struct.pack("<II", *vector))) == [code]


def test_a_thousand_parts_over_one_buffer_do_not_fill_the_host(caplog: pytest.LogCaptureFixture):
    vectors = data(256, struct.pack("<II", 0, 120_000) * 1024)
    told = ask(call("fd_write", 1, 256, 1024, 64), u32(64), imports=["fd_write"], extra=vectors)
    assert told == [0, 1024 * 120_000]


# ---- the end ----


@pytest.mark.parametrize("code", [0, 7])
def test_a_guest_that_exits_is_a_trap_and_is_replaced(code: int):
    work = f"(if (i32.eq (i32.load (i32.const 0)) (i32.const 1)) (then {call('proc_exit', code)} unreachable))"
    session = Session(plugin(f"{work} (i32.store (i32.const 0) (i32.const 1)) {ECHO}", imports=imported("proc_exit")))
    for _ in range(2):
        assert session.call(FRAME).equals(FRAME)
        with pytest.raises(WasmTrap, match=rf"plugin guest: ended itself with exit\({code}\)"):
            session.call(FRAME)
        assert session.pool.idle == 0
    session.close()


def test_a_guest_that_goes_on_after_its_exit_does_not_get_far():
    work = f"{call('proc_exit', 3)} (loop $l (br $l)) {ECHO}"
    for tail in (work, f"{call('proc_exit', 3)} {ECHO}"):
        session = Session(plugin(tail, imports=imported("proc_exit")))
        start = time.monotonic()
        with pytest.raises(WasmTrap, match=r"exit\(3\)"):
            session.call(FRAME)
        assert time.monotonic() - start < 1
        session.close()


# ---- variables ----


def test_granted_variables_are_there_and_no_others(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("GRANTED", "yes ü")
    monkeypatch.setenv("SECRET", "no")
    monkeypatch.delenv("UNSET", raising=False)
    policy = {"allow_env_vars": True, "allowed_env_vars": ["GRANTED", "UNSET"]}
    raw = "GRANTED=yes ü\0".encode()
    questions = [call("environ_sizes_get", 0, 4), u32(0), u32(4), call("environ_get", 64, 512), u32(64)]
    questions += peek(512, len(raw) + 1)
    told = ask(*questions, imports=["environ_sizes_get", "environ_get"], policy=policy)
    assert told[:5] == [0, 1, len(raw), 0, 512]
    assert bytes(told[5:]) == raw + b"\0"


@pytest.mark.parametrize("args", [(131_070, 512), (64, 131_070), (-1, 512), (64, -1)])
def test_variables_are_never_written_outside(monkeypatch: pytest.MonkeyPatch, args: tuple[int, int]):
    monkeypatch.setenv("GRANTED", "yes")
    policy = {"allow_env_vars": True, "allowed_env_vars": ["GRANTED"]}
    assert ask(call("environ_get", *args), imports=["environ_get"], policy=policy) == [FAULT]


def test_a_variable_that_changed_is_seen_by_the_next_stage(monkeypatch: pytest.MonkeyPatch):
    policy = {"allow_env_vars": True, "allowed_env_vars": ["GRANTED"]}
    made = asking(call("environ_get", 64, 512), *peek(520, 1), imports=["environ_get"], policy=policy)
    found = []
    for value in ("1", "2", "1"):
        monkeypatch.setenv("GRANTED", value)
        session = Session(made)
        found.append(session.call(pl.DataFrame({"x": [0, 0]}))["x"].to_list())
        session.close()
    assert found == [[0, ord("1")], [0, ord("2")], [0, ord("1")]]


# ---- a runtime that starts itself ----


def test_a_module_that_initializes_itself_does_so_once():
    count = "(i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))"
    made = asking(u32(8), extra=f'(func (export "_initialize") {count})')
    session = Session(made)
    for _ in range(3):
        assert session.call(pl.DataFrame({"x": [0]}))["x"].to_list() == [1]
    session.close()
