"""Modules are measured, compiled apart, and kept as machine code that only this user's key can vouch for."""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import wasmtime
from wasmtime import wat2wasm

from dataflare_nb.errors import WasmPluginLoad
from dataflare_nb.wasm.anatomy import inspect
from dataflare_nb.wasm.cache import CodeCache, current_cache
from dataflare_nb.wasm.engine import Engine, unmetered
from dataflare_nb.wasm.environment import CACHE_DIR
from dataflare_nb.wasm.modules import IN_PROCESS, ModuleCache

from .bombs import MAGIC, branches, leb, loops, module, nested, padded, section, small, vector

MODULE = padded(IN_PROCESS + 100)
METERED = Engine(metered=True)


def works(compiled: wasmtime.Module, engine: Engine = METERED) -> bool:
    store = wasmtime.Store(engine.native)
    engine.arm(store, 1000)
    return bool(wasmtime.Instance(store, compiled, []).exports(store)["f"](store) == 0)


@pytest.fixture
def disk(tmp_path: Path) -> CodeCache:
    return CodeCache(tmp_path / "cache", tmp_path / "config" / "cache.key")


def fresh(disk: CodeCache | None, **options: float) -> ModuleCache:
    """Return a cache as a new kernel has it: nothing in memory."""
    return ModuleCache(disk=lambda: disk, **options)  # type: ignore[arg-type]


def one_file(disk: CodeCache) -> Path:
    (found,) = disk.folder.iterdir()
    return found


# ---- the compiler ----


def test_the_compiler_finds_the_library_of_an_interpreter_and_knows_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    python = tmp_path / "python"
    python.write_text(
        "#!/bin/sh\n"
        '[ "$LD_LIBRARY_PATH" = /opt/lib ] || { echo "libpython3.so: cannot open" >&2; exit 127; }\n'
        f'[ -z "$TOKEN" ] || exit 3\nexec {sys.executable} "$@"\n'
    )
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    monkeypatch.setenv("TOKEN", "secret")
    monkeypatch.setenv("LD_LIBRARY_PATH", "/opt/lib")
    assert works(fresh(None).compile(METERED, MODULE, plugin="p"))
    monkeypatch.delenv("LD_LIBRARY_PATH")
    with pytest.raises(WasmPluginLoad, match=rf"cannot be started by {python}: libpython3.so: cannot open"):
        fresh(None).compile(METERED, MODULE, plugin="p")


@pytest.mark.parametrize("engine", [METERED, unmetered()], ids=["metered", "unmetered"])
def test_a_foreign_module_is_compiled_apart_and_kept(disk: CodeCache, engine: Engine):
    assert works(fresh(disk).compile(engine, MODULE, plugin="p"), engine)
    assert (disk.hits, disk.misses) == (0, 1)
    assert one_file(disk).stat().st_mode & 0o777 == 0o600
    assert disk.folder.stat().st_mode & 0o777 == 0o700
    # There is no time to compile it again.
    assert works(fresh(disk, seconds=-1e9).compile(engine, MODULE, plugin="p"), engine)
    assert (disk.hits, disk.misses, disk.rejected) == (1, 1, 0)


def test_small_modules_and_our_own_are_compiled_here_and_not_kept(disk: CodeCache):
    cache = fresh(disk, seconds=-1e9)
    assert works(cache.compile(METERED, module(small(0)), plugin="p"))
    assert works(cache.compile(METERED, MODULE, plugin="p", trusted=True))
    assert not disk.folder.exists()


def test_many_threads_compile_a_module_once(disk: CodeCache):
    cache = fresh(disk)
    done: list[bool] = []
    threads = [
        threading.Thread(target=lambda: done.append(works(cache.compile(METERED, MODULE, plugin="p"))))
        for _ in range(6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert done == [True] * 6
    assert disk.misses == 1


@pytest.mark.slow
def test_a_module_that_takes_the_compiler_too_long_is_given_up():
    start = time.monotonic()
    with pytest.raises(WasmPluginLoad, match=r"plugin p: the module took more than 1 s to compile"):
        fresh(None, seconds=1).compile(METERED, loops(1000, 200), plugin="p")
    assert time.monotonic() - start < 8


@pytest.mark.slow
def test_a_module_that_takes_the_compiler_too_much_memory_is_given_up():
    with pytest.raises(WasmPluginLoad, match=r"the compiler gave up on the module .* more than 200 MiB"):
        fresh(None, memory=200 << 20).compile(METERED, branches(1200, 1200), plugin="p")


def test_deep_nesting_harms_nobody():
    assert works(fresh(None).compile(METERED, nested(50_000), plugin="p"))


def test_what_does_not_compile_says_why():
    wrong = MODULE + section(0, b"\x05ab")
    with pytest.raises(WasmPluginLoad, match="plugin p: the module does not compile: "):
        fresh(None).compile(METERED, wrong, plugin="p")


# ---- the parts ----


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (MAGIC + section(1, vector([b"\x60\0\0"] * 10_001)), "10001 types; at most 10000"),
        (MAGIC + section(2, leb(257)), "257 imports; at most 256"),
        (MAGIC + section(3, vector([b"\0"] * 50_001)), "50001 functions; at most 50000"),
        (MAGIC + section(4, vector([b"\x70\0\0"] * 17)), "17 tables; at most 16"),
        (MAGIC + section(5, vector([b"\0\0"] * 2)), "2 memories; at most 1"),
        (MAGIC + section(6, leb(10_001)), "10001 globals; at most 10000"),
        (MAGIC + section(7, leb(1_001)), "1001 exports; at most 1000"),
        (MAGIC + section(9, leb(10_001)), "10001 element segments; at most 10000"),
        (MAGIC + section(11, leb(2**32 - 1)), "4294967295 data segments; at most 100000"),
        (
            module(small(), b"\0" + b"\x01" * (1 << 20) + b"\x41\0\x0b"),
            "function 1 .* has 1048580 bytes; at most 1048576",
        ),
        (MAGIC + bytes(8 << 20), "the module has 8388616 bytes, more than the 8388608 allowed"),
        (MAGIC + b"\x0a", "ends in the middle of a section"),
        (MAGIC + b"\x0a\xff\xff\xff\xff\x7f", "ends in the middle of a section"),
        (MAGIC + b"\x0a\x80\x80\x80\x80\x80\x80\x80", "a number in it has no end"),
        (MAGIC + b"\0\0" * 1001, "more than 1000 sections"),
        (MAGIC + section(10, leb(3) + leb(100)), "ends in the middle of a section"),
        (b"\0asm\x0d\0\1\0", "not a core WebAssembly module"),
    ],
)
def test_what_is_beyond_all_measure_is_not_compiled(made: bytes, said: str):
    with pytest.raises(WasmPluginLoad, match=f"plugin p: .*{said}"):
        inspect(made, plugin="p")


def test_what_real_compilers_make_passes():
    inspect((Path(__file__).parents[2] / "plugins/carrier_code/carrier_code.wasm").read_bytes(), plugin="p")
    inspect(bytes(wat2wasm('(module (memory 1) (data (i32.const 0) "x") (table 1 funcref))')), plugin="p")


# ---- what is believed ----


def damaged(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(change(path.read_bytes())) and None  # type: ignore[func-returns-value]


def flipped(at: float) -> Callable[[Path], None]:
    def change(data: bytes) -> bytes:
        place = int(at * (len(data) - 1))
        return data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]

    return damaged(change)


def linked(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


def piped(path: Path) -> None:
    path.unlink()
    os.mkfifo(path, 0o600)


def foldered(path: Path) -> None:
    path.unlink()
    path.mkdir(mode=0o700)


@pytest.mark.parametrize(
    "harm",
    [
        *map(flipped, (0, 0.001, 0.01, 0.3, 0.5, 0.9, 1)),
        damaged(lambda data: b""),
        damaged(lambda data: data[:-1]),
        damaged(lambda data: data[:32]),
        damaged(lambda data: data + b"\0"),
        damaged(lambda data: bytes(32) + data[32:]),
        lambda path: path.chmod(0o644),
        lambda path: path.chmod(0o602),
        linked,
        piped,
    ],
)
def test_what_was_touched_is_compiled_anew(
    disk: CodeCache, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture
):
    fresh(disk).compile(METERED, MODULE, plugin="p")
    path = one_file(disk)
    harm(path)
    with caplog.at_level(logging.WARNING, "dataflare_nb.wasm"):
        assert works(fresh(disk).compile(METERED, MODULE, plugin="p"))
    assert disk.rejected == 1
    assert f"{path.name} in {disk.folder} is not used and compiled anew" in caplog.text
    assert works(fresh(disk, seconds=-1e9).compile(METERED, MODULE, plugin="p"))
    assert disk.rejected == 1


def test_a_folder_in_the_place_of_a_file_harms_nobody(disk: CodeCache):
    fresh(disk).compile(METERED, MODULE, plugin="p")
    foldered(one_file(disk))
    assert works(fresh(disk).compile(METERED, MODULE, plugin="p"))


def test_code_of_one_module_is_not_that_of_another(disk: CodeCache):
    fresh(disk).compile(METERED, MODULE, plugin="p")
    first = one_file(disk)
    fresh(disk).compile(METERED, module(*[small(5)] * 600), plugin="p")
    (second,) = (path for path in disk.folder.iterdir() if path != first)
    first.write_bytes(second.read_bytes())
    assert works(fresh(disk).compile(METERED, MODULE, plugin="p"))
    assert disk.rejected == 1


def test_code_from_elsewhere_is_not_believed(disk: CodeCache, tmp_path: Path):
    fresh(disk).compile(METERED, MODULE, plugin="p")
    (tmp_path / "config" / "cache.key").unlink()
    moved = CodeCache(tmp_path / "cache", tmp_path / "config" / "cache.key")
    assert works(fresh(moved).compile(METERED, MODULE, plugin="p"))
    assert moved.rejected == 1


def test_code_of_another_owner_is_not_believed(disk: CodeCache, monkeypatch: pytest.MonkeyPatch):
    fresh(disk).compile(METERED, MODULE, plugin="p")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    assert works(fresh(disk).compile(METERED, MODULE, plugin="p"))
    assert disk.rejected == 1


def test_code_that_wasmtime_refuses_is_compiled_anew(disk: CodeCache):
    fresh(disk).compile(METERED, MODULE, plugin="p")
    sha256 = one_file(disk).name.partition("-")[0]
    disk.put(sha256, b"signed, and nonsense all the same", metered=True)
    assert works(fresh(disk).compile(METERED, MODULE, plugin="p"))
    assert disk.rejected == 1


def test_no_code_is_kept_where_others_could_reach_it(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    key = tmp_path / "key"
    key.write_bytes(bytes(32))
    key.chmod(0o640)
    open_key = CodeCache(tmp_path / "a", key)
    (tmp_path / "b" / "modules").mkdir(parents=True)
    (tmp_path / "b" / "modules").chmod(0o777)
    open_folder = CodeCache(tmp_path / "b", tmp_path / "key2")
    (tmp_path / "c").write_text("in the way")
    no_folder = CodeCache(tmp_path / "c", tmp_path / "key3")
    short = tmp_path / "key4"
    short.write_bytes(b"short")
    short.chmod(0o600)
    for disk in (open_key, open_folder, no_folder, CodeCache(tmp_path / "d", short)):
        for _ in range(2):
            assert works(fresh(disk).compile(METERED, MODULE, plugin="p"))
        assert not list(tmp_path.rglob("*.cwasm"))
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 4
    assert "open to others (mode 640)" in said[0]
    assert "open to others (mode 777)" in said[1]
    assert "damaged" in said[3]


def test_the_folder_does_not_grow_without_end(tmp_path: Path):
    disk = CodeCache(tmp_path / "cache", tmp_path / "key", most_bytes=100)
    for number in range(5):
        disk.put(f"{number:064}", bytes(30), metered=True)
        os.utime(max(disk.folder.iterdir(), key=lambda path: path.stat().st_mtime_ns), (number, number))
    disk.put("f" * 64, bytes(101), metered=True)
    assert len(list(disk.folder.iterdir())) == 1
    assert disk.get(f"{4:064}", metered=True) == bytes(30)
    assert disk.get(f"{0:064}", metered=True) is None


def test_the_environment_says_where_code_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv(CACHE_DIR, str(tmp_path))
    found = current_cache()
    assert found is not None
    assert found.folder == tmp_path / "modules"
    assert current_cache() is found
    for off in ("off", "0", "", "No"):
        monkeypatch.setenv(CACHE_DIR, off)
        assert current_cache() is None
    monkeypatch.delenv(CACHE_DIR)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    found = current_cache()
    assert found is not None
    assert found.folder == tmp_path / "x" / "dataflare_nb" / "modules"
