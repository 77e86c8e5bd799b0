"""Read newline-delimited JSON: whole blocks at once, and line by line only where a block has a bad row."""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

import polars as pl

from .. import dtypes
from ..dtypes import a_value_of, short
from ..errors import BadOption, SourceError
from ..types import Json, Schema
from .place import open_text, reading
from .text import BOM, Block, Reject, TextOptions, TextRows, head, refuse_utf16, wider

_VIA_TEXT = (pl.Time, pl.Decimal, pl.Categorical, pl.Enum)
_SMALL = (pl.Int8, pl.Int16, pl.UInt8, pl.UInt16)
_REFUSED = (pl.Binary, pl.Duration, pl.Null, pl.Object)


class NdjsonOptions(TextOptions, frozen=True, kw_only=True):
    """Options of the `ndjson` source.

    A key that is missing is null; a key that the schema lacks is left out; a number, list or object where text is
    wanted becomes its JSON text.
    """


class NdjsonRows(TextRows):
    """NDJSON files in UTF-8, plain or as `.gz`."""

    def __init__(self, options: NdjsonOptions) -> None:
        super().__init__(options)
        self._options = options
        self._overrides = dtypes.from_json(options.schema_overrides or {})
        for name, dtype in {**dtypes.from_json(options.schema or {}), **self._overrides}.items():
            inner = [d for d in _leaves(dtype) if d in _REFUSED or (dtype.is_nested() and d in _VIA_TEXT)]
            if inner:
                raise BadOption(
                    f"read_ndjson: column `{name}` cannot be read as {short(dtype)}; read it as String and convert"
                )

    def schema(self, file: str) -> Schema:
        text, whole = head(file, self._options.infer_rows)
        lines = text.split(b"\n")[: self._options.infer_rows]
        good = [line for line in lines if isinstance(_decoded(line), dict)]
        if not good:
            fault = _first_fault(lines, whole=whole)
            raise SourceError(f"read_ndjson: {file}{fault}, so its columns are unknown; give schema={{...}}")
        try:
            found = pl.read_ndjson(b"\n".join(good), infer_schema_length=None).schema
        except pl.exceptions.PolarsError as error:
            raise SourceError(
                f"read_ndjson: no schema can be inferred from {file}: {error}; give schema={{...}}"
            ) from error
        if unknown := [name for name in self._overrides if name not in found]:
            raise SourceError(
                f"read_ndjson: schema_overrides={unknown} are not in {file}, which has {', '.join(found)}"
            )
        return pl.Schema({**{name: _without_null(dtype) for name, dtype in found.items()}, **self._overrides})

    def start(self, file: str, schema: Schema) -> Json | None:
        with open_text(file) as stream, reading(file):
            text = stream.read(4)
        refuse_utf16(file, text)
        if self.grows(file) and len(text) < len(BOM):
            return None
        size = len(BOM) if text.startswith(BOM) else 0
        return {"byte": size, "line": 1, "rows": 0, "rejects": 0, "owed": []}

    def parser(self, schema: Schema, columns: Sequence[str]) -> NdjsonParser:
        return NdjsonParser(pl.Schema({name: schema[name] for name in columns}))


class NdjsonParser:
    """Blocks of one NDJSON schema."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        # Polars has no JSON reader for these dtypes, so they are read as something wider and converted.
        self._physical = pl.Schema(
            {
                name: pl.String() if isinstance(dtype, _VIA_TEXT) else pl.Int64() if dtype in _SMALL else dtype
                for name, dtype in schema.items()
            }
        )
        self._conversions = [
            pl.col(name).str.to_time("%H:%M:%S%.f") if dtype == pl.Time else pl.col(name).cast(dtype)
            for name, dtype in schema.items()
            if dtype != self._physical[name]
        ]

    def parse(self, text: bytes, *, last: bool) -> Block | None:
        cut = len(text) if last else text.rfind(b"\n") + 1
        if not cut:
            return None
        block = text if cut == len(text) else text[:cut]
        frame = self._strict(block)
        if frame is not None and not self._repeats_a_key(block, frame):
            return Block(frame, [], cut, block.count(b"\n"))
        return self._careful(block)

    def _strict(self, block: bytes) -> pl.DataFrame | None:
        try:
            frame = pl.read_ndjson(block, schema=self._physical)
            return frame.with_columns(self._conversions) if self._conversions else frame
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
            return None

    def _repeats_a_key(self, block: bytes, frame: pl.DataFrame) -> bool:
        """Say whether a null may stem from a key that an object has twice, which Polars reads as null."""
        suspects = [name for name in frame.columns if frame[name].null_count()]
        if not suspects:
            return False
        lines = pl.Series([line for line in block.split(b"\n") if line.strip()]).cast(pl.String)
        if lines.len() != frame.height:
            return True
        return any(
            (lines.filter(frame[name].is_null()).str.count_matches(json.dumps(name), literal=True) > 1).any()
            for name in suspects
        )

    def _careful(self, block: bytes) -> Block:
        """Find the bad rows: mostly numbers that are none, which columns can tell, else line by line."""
        rows = [(number, line) for number, line in enumerate(block.split(b"\n")) if line.strip()]
        wrong = self._suspects([line for _, line in rows])
        frame = self._without([line for _, line in rows], wrong)
        rejects: list[Reject] = []
        if frame is None:
            rows, rejects = self._decodable(rows)
            wrong = self._suspects([line for _, line in rows])
            frame = self._without([line for _, line in rows], wrong)
        if frame is None:
            wrong, frames = {}, [pl.DataFrame(schema=self._schema)]
            self._divide([line for _, line in rows], 0, frames, wrong)
            frame = pl.concat(frames)
        for index, suspect in wrong.items():
            number, line = rows[index]
            column = suspect or self._culprit(line)
            reason = f"not {a_value_of(self._schema[column])}" if column else "does not fit the schema"
            rejects.append(Reject(number, column, reason, line))
        rejects.sort(key=lambda reject: reject.line)
        rejects[:1] = [self._with_a_type(reject) for reject in rejects[:1]]
        return Block(frame, rejects, len(block), block.count(b"\n"))

    def _with_a_type(self, reject: Reject) -> Reject:
        """Look for a type that would hold the value."""
        if (name := reject.column) is None:
            return reject

        def fits(dtype: pl.DataType) -> bool:
            return NdjsonParser(pl.Schema({name: dtype}))._strict(reject.raw) is not None

        return replace(reject, fits=wider(self._schema[name], fits))

    def _decodable(self, rows: list[tuple[int, bytes]]) -> tuple[list[tuple[int, bytes]], list[Reject]]:
        """Part the lines that hold a JSON object from those that do not."""
        good: list[tuple[int, bytes]] = []
        rejects: list[Reject] = []
        for number, line in rows:
            value = _decoded(line, self._schema)
            if isinstance(value, dict):
                good.append((number, line))
            else:
                rejects.append(Reject(number, None, value, line))
        return good, rejects

    def _suspects(self, lines: list[bytes]) -> dict[int, str | None]:
        """Point at the rows whose text, read as text, is not a number where a number is wanted."""
        numbers = {name: dtype for name, dtype in self._schema.items() if dtype.is_numeric() and not dtype.is_decimal()}
        if not lines or not numbers:
            return {}
        try:
            texts = pl.read_ndjson(b"\n".join(lines), schema=pl.Schema(dict.fromkeys(numbers, pl.String())))
        except pl.exceptions.PolarsError:
            return {}
        found: dict[int, str | None] = {}
        for name, dtype in reversed(numbers.items()):
            wrong = texts[name].is_not_null() & texts[name].cast(dtype, strict=False).is_null()
            found |= dict.fromkeys(wrong.arg_true().to_list(), name)
        return found

    def _without(self, lines: list[bytes], wrong: Collection[int]) -> pl.DataFrame | None:
        """Parse all lines but the suspects, none of which may be a row; None if that does not hold."""
        rest = b"\n".join(line for index, line in enumerate(lines) if index not in wrong)
        frame = self._strict(rest)
        if frame is None or self._repeats_a_key(rest, frame):
            return None
        suspects = [lines[index] for index in wrong]
        if any(isinstance(_decoded(line, self._schema), str) or self._strict(line) is not None for line in suspects):
            return None
        return frame

    def _divide(self, lines: list[bytes], first: int, frames: list[pl.DataFrame], wrong: dict[int, str | None]) -> None:
        """Halve the lines until each piece parses or is one bad line."""
        if not lines:
            return
        frame = self._strict(b"\n".join(lines))
        if frame is not None:
            frames.append(frame)
        elif len(lines) == 1:
            wrong[first] = None
        else:
            middle = len(lines) // 2
            self._divide(lines[:middle], first, frames, wrong)
            self._divide(lines[middle:], first + middle, frames, wrong)

    def _culprit(self, line: bytes) -> str | None:
        for name, dtype in self._schema.items():
            if NdjsonParser(pl.Schema({name: dtype}))._strict(line) is None:
                return name
        return None


def _decoded(line: bytes, schema: Collection[str] = ()) -> dict[str, Any] | str:
    """Return the object on a line, or a text that says why there is none."""
    try:
        value = json.loads(line.decode(), object_pairs_hook=_Pairs, parse_float=_finite, parse_constant=_no_constant)
    except UnicodeDecodeError:
        return "invalid UTF-8"
    except (ValueError, RecursionError) as error:
        return f"broken JSON: {error}"
    if not isinstance(value, _Pairs):
        return "not a JSON object"
    names = [name for name, _ in value]
    twice = [name for name in schema if names.count(name) > 1]
    return f"the key {twice[0]!r} stands twice" if twice else dict(value)


def _first_fault(lines: list[bytes], *, whole: bool) -> str:
    """Say why none of the first lines is a JSON object."""
    number, line = next(((n, line) for n, line in enumerate(lines, start=1) if line.strip()), (0, b""))
    if not number:
        return " is empty" if whole else " begins with nothing but blank lines"
    if len(lines) == number and not whole:
        return f", line {number}: the line is longer than {len(line) >> 20} MiB"
    return f", line {number}: {_decoded(line)}"


class _Pairs(list[tuple[str, Any]]):
    """The keys and values of a JSON object as they stand."""


def _finite(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise ValueError(f"{text} is beyond a Float64")
    return value


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _without_null(dtype: pl.DataType) -> pl.DataType:
    """Take a column in which only null was seen for text, at any depth."""
    match dtype:
        case pl.Null():
            return pl.String()
        case pl.List(inner=inner):
            return pl.List(_without_null(_made(inner)))
        case pl.Struct(fields=fields):
            return pl.Struct({field.name: _without_null(_made(field.dtype)) for field in fields})
        case _:
            return dtype


def _leaves(dtype: pl.DataType) -> list[pl.DataType]:
    match dtype:
        case pl.List(inner=inner) | pl.Array(inner=inner):
            return _leaves(_made(inner))
        case pl.Struct(fields=fields):
            return [leaf for field in fields for leaf in _leaves(_made(field.dtype))]
        case _:
            return [dtype]


def _made(dtype: Any) -> pl.DataType:
    made: pl.DataType = dtype() if isinstance(dtype, type) else dtype
    return made
