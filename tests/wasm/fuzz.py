"""Fuzz the reader of what guests answer: `python -m tests.wasm.fuzz --cases 200000`.

A case is a valid answer with some damage, made from the seed and its number alone, so that any case can be looked at
again (`--only 12345`). The guest's memory ends where a page of the process ends, and all around it is unmapped, so
that reading one byte beyond it kills the process that reads; each share of the cases therefore has a process of its
own, which says where it is. What the reader accepts must be sound in every respect.
"""

from __future__ import annotations

import argparse
import ctypes
import datetime as dt
import mmap
import random
import struct
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import pyarrow as pa

from dataflare_nb.errors import WasmBadOutput
from dataflare_nb.wasm import ipc, json_rows
from dataflare_nb.wasm.inbound import Parcel, columns_of
from dataflare_nb.wasm.layout import ARRAY, ARROW_C, ARROW_IPC, BATCH, JSON, SCHEMA, SLICE
from dataflare_nb.wasm.memory import GuestMemory
from dataflare_nb.wasm.outbound import Reader

SEED = 20_240_229
SHARE = 5_000
BUDGET = 1 << 18
SLICE_AT, HOLDS = 64, 128
"""Where the slice stands that the guest returns, and what it speaks of."""
SLOW = 2.0
"""Seconds after which a case counts as a hang."""
_PAGE = mmap.PAGESIZE
_RESERVED = 6 << 30
"""More than any 32-bit address and length together reach from the start of the memory."""
_ROOM = 64 << 10


class Arena:
    """A guest's memory between two stretches that nobody may touch. `wasmtime.Memory`, as far as a host looks at it."""

    def __init__(self) -> None:
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mmap.restype = ctypes.c_void_p
        libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, *[ctypes.c_int] * 3, ctypes.c_long]
        libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        nobody, private = 0, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # MAP_NORESERVE
        start = libc.mmap(None, _RESERVED + _ROOM + _PAGE, nobody, private, -1, 0)
        if start in (None, ctypes.c_void_p(-1).value):
            raise MemoryError("cannot reserve addresses")
        self._window = start + _PAGE
        if libc.mprotect(self._window, _ROOM, mmap.PROT_READ | mmap.PROT_WRITE):
            raise OSError(ctypes.get_errno(), "mprotect")
        self.size = 0

    @property
    def base(self) -> int:
        """Where the memory begins, so that it ends with the last mapped page."""
        return self._window + _ROOM - self.size

    def fill(self, content: bytes) -> None:
        """Be the memory with that content."""
        self.size = len(content)
        ctypes.memmove(self.base, content, len(content))

    def content(self) -> bytes:
        """Return what is there now."""
        return ctypes.string_at(self.base, self.size)

    def data_ptr(self, store: Any) -> Any:
        """Return the beginning, as wasmtime does."""
        return ctypes.cast(self.base, ctypes.POINTER(ctypes.c_ubyte))

    def data_len(self, store: Any) -> int:
        """Return the size, as wasmtime does."""
        return self.size


@dataclass(frozen=True, slots=True)
class Answer:
    """A valid answer: the memory around it, where its parts stand, and the frame it means.

    `schema` is what its description says of it, and `mask` that it is the JSON of a filter.
    """

    frame: pl.DataFrame
    memory: bytes
    kind: int
    head: range
    fields: Sequence[int]
    formats: tuple[int, ...] = ()
    schema: pl.Schema | None = None
    mask: bool = False


def frames() -> list[pl.DataFrame]:
    """Return small frames of all types a guest may return."""
    day, moment = dt.date(2024, 2, 29), dt.datetime(2024, 2, 29, 1, 2, 3)
    text = ["one", "zwölf", None, "", "𝄞 ende"]
    numbers = [1, None, 3, -4, 5]
    kinds = [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64]
    positive = [pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64]
    times = {
        "d": [day, None, dt.date(1, 1, 1), dt.date(9999, 1, 1), day],
        "t": [dt.time(1, 2, 3), None, dt.time(23), dt.time(0), dt.time(4)],
        "u": [dt.timedelta(1), None, dt.timedelta(0), dt.timedelta(-1), dt.timedelta(5)],
    }
    moments = {
        f"m{unit}": pl.Series([moment, None, moment, moment, moment], dtype=pl.Datetime(unit, zone))
        for unit, zone in (("ms", None), ("us", "UTC"), ("ns", "Europe/Rome"))
    }
    return [
        pl.DataFrame({f"i{n}": pl.Series(numbers, dtype=kind) for n, kind in enumerate(kinds)}),
        pl.DataFrame({f"u{n}": pl.Series([1, 2, 3, 4, 5], dtype=kind) for n, kind in enumerate(positive)}),
        pl.DataFrame({"s": text, "b": [None if t is None else t.encode() for t in text]}),
        pl.DataFrame({"p": [True, None, False, True, True], "q": [False] * 5}),
        pl.DataFrame(times),
        pl.DataFrame(moments),
        pl.DataFrame({"n": numbers, "s": text, "p": [True, None, False, True, True]}),
        pl.DataFrame({"s": ["x" * n for n in range(40)]}),
        pl.DataFrame({"x": [1.5]}),
        pl.DataFrame({"s": [], "n": []}, schema={"s": pl.String, "n": pl.Int64}),
        pl.DataFrame({f"c{n}": [n] for n in range(12)}),
        pl.DataFrame({"long": list(range(200)), "bits": [n % 3 == 0 for n in range(200)]}),
    ]


def nested() -> list[pl.DataFrame]:
    """Return small frames that travel as Arrow IPC only."""
    lists = [[1, None], None, [], [3, 4, 5], [6]]
    return [
        pl.DataFrame({"l": pl.Series(lists, dtype=pl.List(pl.Int64)), "n": [1, 2, 3, 4, 5]}),
        pl.DataFrame({"r": [{"a": 1, "b": "x"}, {"a": None, "b": None}, None]}),
        pl.DataFrame({"f": pl.Series([[1, 2], None, [3, 4]], dtype=pl.Array(pl.Int32, 2))}),
        pl.DataFrame({"z": pl.Series(["1.25", None, "-3.50"]).cast(pl.Decimal(10, 2))}),
        pl.DataFrame({"d": pl.Series([[["a"], []], None, [["b", None]]], dtype=pl.List(pl.List(pl.String)))}),
    ]


def answers() -> list[Answer]:
    """Return the answers that the cases start from, half of them Arrow C data."""
    known = frames()
    found = [_arrow(frame) for frame in known]
    found += [_bytes(frame, ARROW_IPC, ipc.written(frame)) for frame in [*nested(), *known[2:7:2]]]
    for frame in (known[0], known[2], known[4], known[9]):
        found.append(_bytes(frame, JSON, json_rows.written(frame), schema=frame.schema))
    keep = pl.DataFrame({"keep": [True, None, False]})
    return [*found, _bytes(keep, JSON, b"[true, null, false]", mask=True)]


def _bytes(
    frame: pl.DataFrame, kind: int, data: bytes, *, schema: pl.Schema | None = None, mask: bool = False
) -> Answer:
    memory = bytearray(HOLDS) + data
    SLICE.pack_into(memory, SLICE_AT, HOLDS, len(data), kind, 0)
    fields = [*range(SLICE_AT, SLICE_AT + 16, 4), *range(HOLDS, len(memory) - 4, 4)]
    return Answer(frame, bytes(memory), kind, range(HOLDS, len(memory)), fields, schema=schema, mask=mask)


def _arrow(frame: pl.DataFrame) -> Answer:
    parcel = Parcel(columns_of(frame), frame.height)
    at = HOLDS
    arena = bytearray(at + parcel.size)
    place = (ctypes.c_char * len(arena)).from_buffer(arena)
    parcel.write(ctypes.addressof(place), at)
    del place
    SLICE.pack_into(arena, SLICE_AT, at, BATCH.size, ARROW_C, 0)
    schema, array = BATCH.unpack_from(arena, at)
    fields = [64, 68, 72, 76, at, at + 4]
    formats = []
    schemas = [schema, *_children(arena, schema, SCHEMA.unpack_from(arena, schema)[5], frame.width)]
    arrays = [array, *_children(arena, array, ARRAY.unpack_from(arena, array)[6], frame.width)]
    for where in schemas:
        fields += [where + offset for offset in (0, 4, 8, 16, 24, 32, 36, 40, 44)]
        formats.append(SCHEMA.unpack_from(arena, where)[0])
    ends = [max(schemas) + SCHEMA.size, max(arrays) + ARRAY.size]
    for where in arrays:
        fields += [where + offset for offset in (0, 8, 16, 24, 32, 40, 44, 48, 52, 56)]
        _, _, _, count, _, buffers = ARRAY.unpack_from(arena, where)[:6]
        fields += [buffers + 4 * i for i in range(count)]
        ends.append(buffers + 4 * count)
    return Answer(frame, bytes(arena), ARROW_C, range(SLICE_AT, max(ends)), fields, tuple(formats))


def _children(arena: bytearray, parent: int, table: int, count: int) -> tuple[int, ...]:
    return struct.unpack_from(f"<{count}I", arena, table)


# ---- damage ----

FORMATS = [
    *(b"c", b"C", b"s", b"S", b"i", b"I", b"l", b"L", b"f", b"g", b"b", b"e", b"n", b"u", b"U", b"z", b"Z", b"vu"),
    *(b"+s", b"+l", b"+w:3", b"w:16", b"d:10,2", b"tdD", b"tdm", b"tts", b"ttm", b"ttu", b"ttn", b"tDs", b"tDn"),
    *(b"tss:", b"tsm:UTC", b"tsu:No/Where", b"tsn:", b"", b"\xff\xfe", b"x" * 40),
]
TOKENS = [
    *(
        b"",
        b"[",
        b"]",
        b"{",
        b"}",
        b",",
        b":",
        b'"',
        b"\\",
        b"null",
        b"true",
        b"[" * 3000,
        b'{"a":' * 3000,
        b"\0",
        b"\xff",
    ),
    *(
        b"1e999",
        b"-0",
        b"NaN",
        b"Infinity",
        b"9" * 400,
        b"1.5",
        b"123",
        b'"\\ud800"',
        b'"\\u0000"',
        b'"x" : 1,',
        b" " * 500,
    ),
    *(b'"2024-13-45"', b'"9999-12-31T23:59:59.999999999"', b'"25:00:00"', b'"AA="', b'"' + b"x" * 3000 + b'"', b"{},"),
]
INTERESTING = [
    *(0, 1, 2, 3, 4, 5, 7, 8, 63, 64, 127, 128, 255, 256, 4096, 65535, 65536),
    *(-1, -2, -5, -8, -64, 2**31 - 1, 2**31, -(2**31), 2**32 - 1, 2**32, 2**40, 2**62, 2**63 - 1, -(2**63)),
]


def damaged(answer: Answer, dice: random.Random) -> tuple[bytes, int]:
    """Return a memory with some damage, and the address that the guest returns."""
    memory = bytearray(answer.memory)
    ways = _WAYS_OF_TEXT if answer.kind == JSON else _WAYS
    for _ in range(dice.choice((1, 1, 1, 2, 2, 3, 4, 6))):
        dice.choice(ways)(memory, answer, dice)
    address = SLICE_AT
    if dice.random() < 0.05:
        address = dice.choice([*INTERESTING, dice.randrange(len(memory) + 64)]) & 0x7FFFFFFF
    return bytes(memory), address


def _flip(memory: bytearray, answer: Answer, dice: random.Random) -> None:
    if memory:
        at = dice.randrange(len(memory))
        memory[at] ^= 1 << dice.randrange(8)


def _flip_head(memory: bytearray, answer: Answer, dice: random.Random) -> None:
    at = dice.choice(answer.head)
    if at < len(memory):
        memory[at] ^= 1 << dice.randrange(8)


def _poke(memory: bytearray, answer: Answer, dice: random.Random) -> None:
    width = dice.choice((4, 4, 8))
    value = dice.choice([*INTERESTING, len(memory), len(memory) - 1, dice.randrange(1 << 32)])
    _put(memory, dice.choice(answer.fields), (value & (2**64 - 1)).to_bytes(8, "little")[:width])


def _nudge(memory: bytearray, answer: Answer, dice: random.Random) -> None:
    at = dice.choice(answer.fields)
    value = int.from_bytes(memory[at : at + 4], "little") + dice.choice((-64, -8, -4, -1, 1, 4, 8, 64))
    _put(memory, at, (value & 0xFFFFFFFF).to_bytes(4, "little"))


def _swap(memory: bytearray, answer: Answer, dice: random.Random) -> None:
    one, other = dice.choice(answer.fields), dice.choice(answer.fields)
    first, second = bytes(memory[one : one + 4]), bytes(memory[other : other + 4])
    _put(memory, one, second)
    _put(memory, other, first)


def _point(memory: bytearray, answer: Answer, dice: random.Random) -> None:
    _put(memory, dice.choice(answer.fields), dice.randrange(len(memory) + 16).to_bytes(4, "little"))


def _format(memory: bytearray, answer: Answer, dice: random.Random) -> None:
    if answer.formats:
        _put(memory, dice.choice(answer.formats), dice.choice(FORMATS) + b"\0")


def _overlap(memory: bytearray, answer: Answer, dice: random.Random) -> None:
    if memory:
        length = dice.choice((4, 8, 16, 48, 64, 256))
        source, target = dice.randrange(len(memory)), dice.randrange(len(memory))
        _put(memory, target, bytes(memory[source : source + length]))


def _noise(memory: bytearray, answer: Answer, dice: random.Random) -> None:
    if memory:
        _put(memory, dice.randrange(len(memory)), dice.randbytes(dice.choice((1, 2, 8, 32))))


def _token(memory: bytearray, answer: Answer, dice: random.Random) -> None:
    if len(memory) > HOLDS:
        at = dice.randrange(HOLDS, len(memory))
        end = at + dice.choice((0, 0, 1, 1, 2, 5))
        memory[at:end] = dice.choice(TOKENS)
        # The slice knows how long it has become, or the host would see only what it was.
        _put(memory, SLICE_AT + 4, (len(memory) - HOLDS).to_bytes(4, "little"))


def _truncate(memory: bytearray, answer: Answer, dice: random.Random) -> None:
    if memory:
        keep = (
            dice.randrange(len(memory)) if dice.random() < 0.3 else len(memory) - dice.randrange(min(len(memory), 300))
        )
        del memory[keep:]


def _put(memory: bytearray, at: int, data: bytes) -> None:
    room = len(memory) - at
    if room > 0:
        memory[at : at + len(data)] = data[:room]


_WAYS: list[Callable[[bytearray, Answer, random.Random], None]] = [
    *(_flip, _flip_head, _poke, _poke, _poke, _nudge, _nudge, _swap, _point, _point, _format, _overlap, _noise),
    _truncate,
]
_WAYS_OF_TEXT = [_token, _token, _token, _token, _flip_head, _flip, _noise, _overlap, _truncate, _poke]


# ---- the reader ----


def reader(arena: Arena) -> Reader:
    """Return a reader of that memory."""
    return Reader(GuestMemory(None, arena), budget=BUDGET)  # type: ignore[arg-type]


class Unsound(AssertionError):  # noqa: N818 - what was found, not how
    """The reader accepted what does not hold, or did what it should not."""


def examine(case: int, seed: int, arena: Arena, bases: list[Answer]) -> str:
    """Read one damaged answer; return `accepted` or `refused`, or raise."""
    dice = random.Random(f"{seed}:{case}")
    answer = dice.choice(bases)
    memory, address = damaged(answer, dice)
    rows = dice.choice((None, answer.frame.height))
    schema = answer.schema if dice.random() < 0.8 else None
    arena.fill(memory)
    start = time.monotonic()
    try:
        frame = reader(arena).frame(address, rows=rows, schema=schema, mask=answer.mask)
    except WasmBadOutput as error:
        if len(str(error)) > 10_000:
            raise Unsound("an error of that length") from error
        return "refused"
    finally:
        if arena.content() != memory:
            raise Unsound("the guest's memory was written to")
        if time.monotonic() - start > SLOW:
            raise Unsound(f"it took {time.monotonic() - start:.1f} s")
    check(frame, rows)
    return "accepted"


def check(frame: pl.DataFrame, rows: int | None) -> None:
    """Look at everything in a frame that the reader accepted."""
    if rows is not None and frame.height != rows:
        raise Unsound(f"{frame.height} rows for {rows}")
    for series in frame.get_columns():
        if series.len() != frame.height:
            raise Unsound("columns of different lengths")
        for level in (pl.CompatLevel.oldest(), pl.CompatLevel.newest()):
            array = series.to_arrow(compat_level=level)
            array.validate(full=True)
        if array.null_count != series.null_count() or series.is_null().sum() != series.null_count():
            raise Unsound("nulls that are counted in two ways")
        if isinstance(series.dtype, pl.String):
            for value in series.drop_nulls().to_list():
                value.encode()
        else:
            series.to_physical().to_list()
    if frame.width and pa.table(frame.to_arrow()).nbytes > 4 * BUDGET + (1 << 16):
        raise Unsound("more data than the budget allows")


def run(first: int, count: int, seed: int, *, say: Callable[[int], None] = lambda case: None) -> Counter[str]:
    """Examine some cases in this process."""
    arena, bases = Arena(), answers()
    for base in bases:
        arena.fill(base.memory)
        found = reader(arena).frame(SLICE_AT, rows=base.frame.height, schema=base.schema, mask=base.mask)
        if not found.equals(base.frame) and not base.mask:
            raise Unsound("a valid answer is read wrongly")
    ends: Counter[str] = Counter()
    for case in range(first, first + count):
        say(case)
        try:
            ends[examine(case, seed, arena, bases)] += 1
        except BaseException as error:
            error.add_note(f"case {case}; again: python -m tests.wasm.fuzz --seed {seed} --only {case}")
            raise
    return ends


def shares(cases: int, seed: int, share: int = SHARE) -> Iterator[tuple[int, Counter[str] | None, str]]:
    """Examine cases in processes of their own; yield how many a share had, how they ended, and what was said."""
    for first in range(0, cases, share):
        count = min(share, cases - first)
        command = [sys.executable, "-m", "tests.wasm.fuzz", "--seed", str(seed), "--share", str(first), str(count)]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        lines = ended.stdout.split()
        if ended.returncode == 0 and len(lines) >= 2:
            yield count, Counter(accepted=int(lines[-2]), refused=int(lines[-1])), ""
        else:
            yield count, None, f"exit code {ended.returncode} after case {lines[-1:]}: {ended.stderr[-3000:]}"


def main() -> int:
    """Examine as many cases as are asked for; return how many shares failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.wasm.fuzz", description=__doc__.partition("\n")[0])
    parser.add_argument("--cases", type=int, default=200_000, help="how many (default: 200000)")
    parser.add_argument("--seed", type=int, default=SEED, help=f"the seed of all cases (default: {SEED})")
    parser.add_argument("--only", type=int, help="one case, in this process")
    parser.add_argument("--share", type=int, nargs=2, metavar=("FIRST", "COUNT"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.only is not None:
        print(run(asked.only, 1, asked.seed))
        return 0
    if asked.share is not None:
        ends = run(*asked.share, asked.seed, say=lambda case: print(case, flush=True) if case % 100 == 0 else None)
        print(ends["accepted"], ends["refused"])
        return 0
    start, done, failed = time.monotonic(), 0, 0
    total: Counter[str] = Counter()
    for count, ends, said in shares(asked.cases, asked.seed):
        done += count
        failed += ends is None
        total.update(ends or {})
        if said:
            print(said)
        if done % 20_000 < SHARE:
            print(f"{done:7} cases, {total['accepted']} accepted, {total['refused']} refused, {failed} failed shares")
    print(f"{done} cases in {time.monotonic() - start:.0f} s, seed {asked.seed}: {failed} crashes or unsound answers")
    return failed


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
