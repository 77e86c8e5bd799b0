"""Guests that answer with pointers, lengths, counts, offsets and text that do not hold."""

from __future__ import annotations

import polars as pl

from dataflare_nb.errors import WasmBadOutput, WasmMemoryLimit, WasmPluginExecution

from ..asking import data
from ..guests import ARRAY, BUFFERS, DATA, OFFSETS, ROOT_ARRAY, ROOT_SCHEMA, SCHEMA
from .attack import NUMBERS, TEXTS, Attack

BIG = 0x7FFFFFFF
TIMES = pl.DataFrame({"t": [0]}).select(pl.col("t").cast(pl.Time))
ZONED = pl.DataFrame({"t": pl.Series([0], dtype=pl.Datetime("us", "UTC"))})
TWO = pl.DataFrame({"a": [1], "b": [2]})
WIDE = pl.DataFrame({f"c{i}": [0] for i in range(1000)})


def poke(target: str, offset: int, value: int, *, wide: bool = False) -> str:
    """Return a statement that changes one field of what is echoed."""
    kind = "i64" if wide else "i32"
    return f"({kind}.store offset={offset} {target} ({kind}.const {value}))"


def answer(where: str = "(local.get $at)", length: int = 8, kind: int = 3) -> str:
    """Return statements that answer with a df_slice of one's own."""
    fields = [where, f"(i32.const {length})", f"(i32.const {kind})", "(i32.const 0)"]
    stores = [f"(i32.store (i32.const {16 + 4 * i}) {field})" for i, field in enumerate(fields)]
    return f"{' '.join(stores)} (return (i32.const 16))"


def _lies(frame: pl.DataFrame, *rows: tuple[str, str, str]) -> list[Attack]:
    return [
        Attack(
            name=name,
            tries="to make the host read where it should not",
            error=WasmBadOutput,
            match=match,
            strike=strike,
            frame=frame,
        )
        for name, strike, match in rows
    ]


HEADERS = _lies(
    NUMBERS,
    ("slice across the end of memory", "(return (i32.const 131065))", "the returned df_slice is 16 bytes at 131065"),
    ("slice in unmapped memory", f"(return (i32.const {BIG}))", "the returned df_slice"),
    ("nothing instead of a batch", "(return (i32.const 0))", "returned nothing"),
    ("batch in unmapped memory", answer(f"(i32.const {BIG})"), "the returned df_batch"),
    ("batch at a negative address", answer("(i32.const -16)"), "the returned df_batch"),
    ("batch at address 0 of nonsense", answer("(i32.const 0)"), "the returned schema"),
    ("batch of 4 bytes", answer(length=4), "has 4 bytes instead of 8"),
    ("batch of 2^32 - 1 bytes", answer(length=-1), "outside the guest's memory"),
    ("batch of 2^31 bytes", answer(length=-(2**31)), "outside the guest's memory"),
    ("raw bytes", answer(kind=0), "answered in raw bytes"),
    ("unknown format", answer(kind=9), "answered in format 9"),
    ("negative format", answer(kind=-1), "answered in format 4294967295"),
    ("schema in unmapped memory", poke("(local.get $at)", 0, BIG), "the returned schema"),
    ("array at a negative address", poke("(local.get $at)", 4, -64), "the returned array"),
    (
        "schema and array in one place",
        "(i32.store offset=4 (local.get $at) (i32.load (local.get $at)))",
        "the returned",
    ),
    ("schema over its own batch", "(i32.store (local.get $at) (local.get $at))", "the returned|the format of"),
)
SCHEMAS = _lies(
    NUMBERS,
    ("no format", poke(ROOT_SCHEMA, 0, 0), "the returned schema is ``"),
    ("2^40 columns", poke(ROOT_SCHEMA, 24, 2**40, wide=True), "at most 4096"),
    ("-1 columns", poke(ROOT_SCHEMA, 24, -1, wide=True), "at most 4096"),
    ("no columns, and an array of one", poke(ROOT_SCHEMA, 24, 0, wide=True), "has 1 columns, its schema 0"),
    ("4096 columns in 2", poke(ROOT_SCHEMA, 24, 4096, wide=True), "is not one of|outside|has no end|the schema of"),
    ("column list in unmapped memory", poke(ROOT_SCHEMA, 32, BIG), "its children"),
    ("format in unmapped memory", poke(SCHEMA, 0, BIG), "the format in the schema of returned column 0"),
    ("format of noise", poke(SCHEMA, 0, 16), "the format `"),
    ("name in unmapped memory", poke(SCHEMA, 4, BIG), "the name in the schema"),
    ("nested column", poke(SCHEMA, 24, 1, wide=True), "not one of the flat Arrow types"),
    ("dictionary", poke(SCHEMA, 36, 64), "dictionary-encoded"),
)
COUNTS = _lies(
    NUMBERS,
    ("fewer rows", poke(ROOT_ARRAY, 0, 3, wide=True), "returned 3 rows for 4"),
    ("-1 rows", poke(ROOT_ARRAY, 0, -1, wide=True), "claims -1 rows"),
    ("2^62 rows", poke(ROOT_ARRAY, 0, 2**62, wide=True), "claims 4611686018427387904 rows"),
    ("nulls of the whole batch", poke(ROOT_ARRAY, 8, 1, wide=True), "offset or nulls of its own"),
    ("offset of the whole batch", poke(ROOT_ARRAY, 16, 1, wide=True), "offset or nulls of its own"),
    ("arrays in unmapped memory", poke(ROOT_ARRAY, 44, BIG), "the children of the returned array"),
    ("column of 2^40 rows", poke(ARRAY, 0, 2**40, wide=True), "has 1099511627776 rows, the batch 4"),
    ("column of 2^31 rows", poke(ARRAY, 0, 2**31, wide=True), "has 2147483648 rows, the batch 4"),
    ("lying null count", poke(ARRAY, 8, 3, wide=True), "null_count value"),
    ("2^50 nulls", poke(ARRAY, 8, 2**50, wide=True), "nulls in 4 rows"),
    ("-2 nulls", poke(ARRAY, 8, -2, wide=True), "nulls in 4 rows"),
    ("offset -1", poke(ARRAY, 16, -1, wide=True), "claims the offset -1"),
    ("offset 2^62", poke(ARRAY, 16, 2**62, wide=True), "claims the offset"),
    ("offset 2^63 - 1", poke(ARRAY, 16, 2**63 - 1, wide=True), "claims the offset"),
    ("offset beyond the memory", poke(ARRAY, 16, 100_000, wide=True), "outside the guest's memory"),
    ("one buffer", poke(ARRAY, 24, 1, wide=True), "has 1 buffers"),
    ("three buffers", poke(ARRAY, 24, 3, wide=True), "has 3 buffers"),
    ("-1 buffers", poke(ARRAY, 24, -1, wide=True), "has -1 buffers"),
    ("a child of its own", poke(ARRAY, 32, 1, wide=True), "1 children"),
)
BUFFER_LIES = _lies(
    NUMBERS,
    ("buffer list in unmapped memory", poke(ARRAY, 40, BIG), "the buffers of returned column `x`"),
    ("bitmap in unmapped memory", poke(BUFFERS, 0, BIG), "the null bitmap of returned column `x`"),
    ("nulls without a bitmap", poke(BUFFERS, 0, 0), "claims 1 nulls and has no bitmap"),
    ("data across the end of memory", poke(BUFFERS, 4, 131070), "the data of returned column `x`"),
    ("no data", poke(BUFFERS, 4, 0), "the data of returned column `x` is missing"),
)
TEXT_LIES = _lies(
    TEXTS,
    ("negative offset in the middle", poke(OFFSETS, 8, -5, wide=True), "does not hold"),
    ("offset 2^40 in the middle", poke(OFFSETS, 8, 2**40, wide=True), "does not hold"),
    ("offsets that run backwards", poke(OFFSETS, 16, 1, wide=True), "does not hold"),
    ("offset inside a letter", poke(OFFSETS, 8, 6, wide=True), "does not hold: .*(UTF8|utf8|UTF-8)"),
    ("last offset -1", poke(OFFSETS, 32, -1, wide=True), "the last offset .* is -1"),
    ("last offset 2^40", poke(OFFSETS, 32, 2**40, wide=True), "outside the guest's memory"),
    ("invalid UTF-8", poke(DATA, 0, -1), "does not hold: .*(UTF8|utf8|UTF-8)"),
    ("text in unmapped memory", poke(BUFFERS, 8, BIG), "the text of returned column `s`"),
    ("no text", poke(BUFFERS, 8, 0), "the text of returned column `s` is missing"),
    ("no offsets", poke(BUFFERS, 4, 0), "the offsets of returned column `s` is missing"),
)
OTHERS = [
    *_lies(
        TIMES,
        ("time beyond midnight", poke(f"(i32.load offset=4 {BUFFERS})", 0, 2**62, wide=True), "does not hold"),
    ),
    *_lies(ZONED, ("unknown time zone", poke(f"(i32.load {SCHEMA})", 4, 0x00585858), "does not hold")),
    *_lies(
        TWO,
        (
            "columns of one name",
            f"(i32.store offset=4 (i32.load offset=4 (i32.load offset=32 {ROOT_SCHEMA})) (i32.load offset=4 {SCHEMA}))",
            "several columns called a",
        ),
    ),
    Attack(
        name="a thousand columns over one buffer",
        tries="to fill the host with copies of its memory",
        error=WasmBadOutput,
        match="more data than its memory limit",
        frame=WIDE,
        memory="20",
        policy={"max_memory": "4MiB", "max_execution_time": 2000},
        budget_ms=2000,
        strike=f"""(i64.store {ARRAY} (i64.const 1)) (i64.store offset=16 {ARRAY} (i64.const 100000))
          (i32.store offset=4 {BUFFERS} (i32.const 64))
          (i32.store (i32.const 8) (i32.const 0))
          (loop $next
            (i32.store (i32.add (i32.load offset=44 {ROOT_ARRAY}) (i32.shl (i32.load (i32.const 8)) (i32.const 2)))
              {ARRAY})
            (i32.store (i32.const 8) (i32.add (i32.load (i32.const 8)) (i32.const 1)))
            (br_if $next (i32.lt_u (i32.load (i32.const 8)) (i32.const 1000))))""",
    ),
    Attack(
        name="error text in unmapped memory",
        tries="to make the host read its own memory as text",
        error=WasmBadOutput,
        match="its text",
        strike="(return (i32.const -1001))",
        extra=data(64, b"\xff\xff\xff\x7f\x10\0\0\0"),
        inside={"df_last_error": "(return (i32.const 64))"},
    ),
    Attack(
        name="error slice in unmapped memory",
        tries="to make the host read its own memory as text",
        error=WasmBadOutput,
        match="the returned error",
        strike="(return (i32.const -1001))",
        inside={"df_last_error": f"(return (i32.const {BIG}))"},
    ),
    Attack(
        name="error text without an end",
        tries="to fill the host with text",
        error=WasmPluginExecution,
        match="error -1001",
        strike="(return (i32.const -1001))",
        extra=data(64, b"\x00\x10\0\0\x00\xe0\x01\0"),
        inside={"df_last_error": "(return (i32.const 64))"},
    ),
    Attack(
        name="error code -2^31",
        tries="to surprise with a number",
        error=WasmPluginExecution,
        match="error -2147483648",
        strike="(return (i32.const -2147483648))",
    ),
]
ALLOCATORS = [
    Attack(
        name=f"allocator that answers {said}",
        tries="to make the host write where it should not",
        error=error,
        match=match,
        inside={"df_alloc": f"(return (i32.const {value}))"},
    )
    for said, value, error, match in [
        ("a negative address", -64, WasmBadOutput, "what df_alloc returned"),
        ("2^31 - 64", BIG - 63, WasmBadOutput, "what df_alloc returned"),
        ("-2^31", -(2**31), WasmBadOutput, "what df_alloc returned"),
        ("the end of memory", 131072, WasmBadOutput, "what df_alloc returned"),
        ("the last line of memory", 131008, WasmBadOutput, "what df_alloc returned"),
        ("an odd address", 65537, WasmBadOutput, "not a multiple of 64"),
        ("nothing", 0, WasmMemoryLimit, "a batch of 4 rows needs"),
    ]
]
HARMLESS = [
    Attack(
        name="input over the guest's own data",
        tries="to confuse the host with overlapping memory",
        error=None,
        inside={"df_alloc": "(return (i32.const 64))"},
    ),
    Attack(
        name="output is the input",
        tries="to have the host read what it wrote while it changes",
        error=None,
        strike=answer(),
    ),
    Attack(
        name="release functions that point anywhere",
        tries="to make the host call an address",
        error=None,
        strike=f"{poke(ROOT_ARRAY, 52, BIG)} {poke(ROOT_SCHEMA, 40, BIG)} {poke(ARRAY, 52, 1)} {poke(SCHEMA, 40, 1)}",
    ),
    Attack(
        name="metadata in unmapped memory",
        tries="to make the host read what nobody needs",
        error=None,
        strike=f"{poke(ROOT_SCHEMA, 8, BIG)} {poke(SCHEMA, 8, BIG)} {poke(SCHEMA, 44, BIG)}",
    ),
    Attack(
        name="shrinking to nothing and back",
        tries="to move memory under the host",
        error=None,
        strike="(drop (memory.grow (i32.const 20)))",
    ),
]
ANSWERS = (*HEADERS, *SCHEMAS, *COUNTS, *BUFFER_LIES, *TEXT_LIES, *OTHERS, *ALLOCATORS, *HARMLESS)
