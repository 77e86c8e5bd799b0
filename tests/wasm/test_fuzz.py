"""A share of the fuzzing of `tests.wasm.fuzz`, and a look whether the fuzzer itself can fail."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

from dataflare_nb.errors import WasmBadOutput
from dataflare_nb.wasm.memory import GuestMemory

from . import fuzz

CASES = 10_000


def test_whatever_a_guest_leaves_behind_is_read_soundly_or_refused():
    ends = fuzz.Counter()
    for _, share, said in fuzz.shares(CASES, fuzz.SEED, share=CASES // 2):
        assert share is not None, said
        ends += share
    assert ends["accepted"] + ends["refused"] == CASES
    # Damage that is always seen, or never, would say nothing about the reader.
    assert CASES / 20 < ends["accepted"] < CASES * 19 / 20


def test_a_case_can_be_looked_at_again():
    arena, bases = fuzz.Arena(), fuzz.answers()
    first = [fuzz.examine(case, 1, arena, bases) for case in range(50)]
    assert [fuzz.examine(case, 1, arena, bases) for case in range(50)] == first
    assert len(set(first)) == 2


@pytest.mark.parametrize("beyond", [0, 65535, (1 << 32) - 8])
def test_reading_beyond_the_memory_kills_the_process(beyond: int):
    reading = f"""from tests.wasm.fuzz import Arena
import ctypes
arena = Arena()
arena.fill(b"x" * 100)
assert ctypes.string_at(arena.base + 99, 1) == b"x"
ctypes.string_at(arena.base + 100 + {beyond}, 1)"""
    ended = subprocess.run([sys.executable, "-c", reading], capture_output=True, check=False)
    assert ended.returncode == -signal.SIGSEGV


def test_a_reader_that_looks_nowhere_is_found_out(monkeypatch: pytest.MonkeyPatch):
    """Without the check of ranges a share dies; with a wrong one a case is unsound."""
    blind = """import dataflare_nb.wasm.memory as memory
memory.GuestMemory.check = lambda self, address, length, what: address
from tests.wasm.fuzz import run
run(0, 2000, 1)"""
    ended = subprocess.run([sys.executable, "-c", blind], capture_output=True, check=False)
    assert ended.returncode != 0

    def scribbling(self: GuestMemory, address: int, length: int, what: str) -> int:
        raise WasmBadOutput("x" * 20_000)

    monkeypatch.setattr(GuestMemory, "check", scribbling)
    with pytest.raises(fuzz.Unsound, match="an error of that length"):
        fuzz.examine(0, 1, fuzz.Arena(), fuzz.answers())
