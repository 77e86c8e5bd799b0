"""The clock of metered guests: it starts when needed, catches up, and ends."""

from __future__ import annotations

import threading
import time

import pytest
import wasmtime

from dataflare_nb.errors import WasmPluginLoad
from dataflare_nb.wasm import calls
from dataflare_nb.wasm.engine import Engine, Ticker
from dataflare_nb.wasm.modules import ModuleCache


class Hand:
    """A clock moved by hand."""

    time = 0.0

    def __call__(self) -> float:
        return self.time


def test_a_ticker_makes_up_for_the_periods_it_slept_through():
    ticks: list[None] = []
    now = Hand()
    ticker = Ticker(lambda: ticks.append(None), 0.005, now=now)
    ticker.start_counting()
    now.time = 0.004
    assert ticker.catch_up() == 0
    now.time = 0.0501
    assert ticker.catch_up() == 10
    assert ticker.catch_up() == 0
    now.time = 0.056
    assert ticker.catch_up() == 1
    assert len(ticks) == 11


def test_a_ticker_runs_while_it_is_needed_and_a_little_longer():
    ticks: list[None] = []
    ticker = Ticker(lambda: ticks.append(None), 0.002, linger=0.05)
    assert not ticker.running
    ticker.acquire()
    ticker.acquire()
    start = time.monotonic()
    time.sleep(0.1)
    # As many as are due, however late the thread has come to it.
    while len(ticks) < 40:
        assert time.monotonic() - start < 30
        time.sleep(0.001)
    ticker.release()
    time.sleep(0.1)
    assert ticker.running
    ticker.release()
    while ticker.running:
        assert time.monotonic() - start < 30
        time.sleep(0.001)
    ticker.acquire()
    assert ticker.running
    ticker.release()
    ticker.close()
    ticker.close()
    assert not ticker.running


def test_a_busy_interpreter_does_not_stretch_a_budget(within):
    stop = threading.Event()

    def burn() -> None:
        while not stop.is_set():
            sum(range(1000))

    burners = [threading.Thread(target=burn) for _ in range(3)]
    for burner in burners:
        burner.start()
    engine = Engine(metered=True, budget_ms=100)
    store = wasmtime.Store(engine.native)
    loop = wasmtime.Module(engine.native, '(module (func (export "f") (loop br 0)))')
    instance = None
    try:
        engine.arm(store, 100)
        instance = wasmtime.Instance(store, loop, [])
        func = instance.exports(store)["f"]
        engine.ticker.acquire()
        with within(0.3), pytest.raises(wasmtime.Trap):
            func(store)
        engine.ticker.release()
    finally:
        stop.set()
        for burner in burners:
            burner.join()
        engine.close()


def test_an_export_of_another_signature_is_never_called_unchecked():
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    module = wasmtime.Module(engine, '(module (func (export "f") (param i64 f32) (result i32) (i32.const 7)))')
    func = wasmtime.Instance(store, module, []).exports(store)["f"]
    assert isinstance(func, wasmtime.Func)
    with pytest.raises(WasmPluginLoad, match=r"`f` is \(i64, f32\) -> i32; it must be \(i32\) -> i32"):
        calls.bind(store, func, (("i32",), ("i32",)), "f")
    for fast in (True, False):
        assert calls.bind(store, func, (("i64", "f32"), ("i32",)), "f", fast=fast)(1, 2.0) == 7


def test_without_the_private_binding_calls_still_work(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(calls, "_unchecked", None)
    engine = wasmtime.Engine()
    store = wasmtime.Store(engine)
    module = wasmtime.Module(engine, '(module (func (export "f") (result i32) (i32.const 7)))')
    func = wasmtime.Instance(store, module, []).exports(store)["f"]
    assert isinstance(func, wasmtime.Func)
    call = calls.bind(store, func, ((), ("i32",)), "f")
    assert type(call).__name__ == "_CheckedCall"
    assert call() == 7


def test_a_module_is_compiled_once_and_the_oldest_is_forgotten():
    modules = [bytes(wasmtime.wat2wasm(f"(module (func (result i32) (i32.const {i})))")) for i in range(4)]
    engine = Engine(metered=True)
    cache = ModuleCache(capacity=1)
    for module in modules:
        cache.compile(engine, module, plugin="x")
    assert len(cache) == 1
    roomy = ModuleCache()
    for module in modules * 2:
        roomy.compile(engine, module, plugin="x")
    assert len(roomy) == 4
