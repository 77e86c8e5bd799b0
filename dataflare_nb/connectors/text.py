"""Read text in blocks of whole records, and resume inside one."""

from __future__ import annotations

import codecs
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import polars as pl

from ..dtypes import a_value_of
from ..errors import MalformedRow, SourceError
from ..types import Batch, Json, Schema
from .files import REJECTED, FileOptions
from .options import Positive, schema_problems
from .place import Place, open_text, reading

BLOCK = 4 << 20
"""Bytes read at once. Rows and rejects do not depend on it."""
BOM = codecs.BOM_UTF8


class TextOptions(FileOptions, frozen=True, kw_only=True):
    """Options of CSV and NDJSON sources. `schema_overrides` replaces inferred dtypes, `schema` all of them.

    With `follow` files are read on as they grow, and new ones as they come.
    """

    follow: bool = False
    schema_overrides: dict[str, Any] | None = None
    infer_rows: Positive = 1_000
    on_error: Literal["fail", "dead_letter"] = "fail"

    @property
    def endless(self) -> bool:
        return self.watch or self.follow

    def problems(self) -> Iterable[str]:
        yield from super().problems()
        yield from schema_problems("schema_overrides", self.schema_overrides)
        if self.schema is not None and self.schema_overrides is not None:
            yield "give either `schema` or `schema_overrides`"


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is not a row. `line` counts from 0 within its block, `fits` is a type that would hold its value."""

    line: int
    column: str | None
    reason: str
    raw: bytes
    fits: pl.DataType | None = None


@dataclass(frozen=True, slots=True)
class Block:
    """The rows and rejects of the first `consumed` bytes of some text, which have that many line ends."""

    frame: pl.DataFrame
    rejects: list[Reject]
    consumed: int
    lines: int


class Parser(Protocol):
    """Finds the records at the start of some text."""

    def parse(self, text: bytes, *, last: bool) -> Block | None:
        """Parse the complete records, all of them if this text is the last; None if more text is needed.

        Which record is a row must depend on the record only, never on where the text was cut.
        """
        ...


class TextRows:
    """What the text formats share."""

    def __init__(self, options: TextOptions) -> None:
        self.lenient = options.on_error == "dead_letter"
        self._follow = options.follow
        self._typed = options.schema is not None
        self._infer_rows = options.infer_rows

    def grows(self, file: str) -> bool:
        """Tell whether a file is read on as it grows. Compressed text is not: it has an end of its own."""
        return self._follow and not file.endswith(".gz")

    def rows(self, file: str) -> int | None:
        return None

    def start(self, file: str, schema: Schema) -> Json | None:
        raise NotImplementedError

    def parser(self, schema: Schema, columns: Sequence[str]) -> Parser:
        """Return what takes the text apart."""
        raise NotImplementedError

    def open(self, file: str, schema: Schema, columns: Sequence[str], offset: Json) -> TextCursor:
        wanted = pl.Schema({name: schema[name] for name in columns})
        parser = self.parser(schema, columns)
        way = None if self.lenient else self._way
        return TextCursor(file, parser, wanted, offset, way=way, grows=self.grows(file))

    def _way(self, bad: Reject) -> str:
        """Say how a row that fits other types can be kept."""
        if bad.fits is None:
            return ""
        dtype = type(bad.fits).__name__ + ("('us')" if bad.fits == pl.Datetime else "")
        typed = f"schema{'' if self._typed else '_overrides'}={{{bad.column!r}: pl.{dtype}}}"
        more = "" if self._typed else f", or infer types from more than infer_rows={self._infer_rows:_}"
        return f"It is {a_value_of(bad.fits)}: read with {typed}{more}"


class TextCursor:
    """One text file. The offset is the place where a block begins, the rows given of it, and the rejects owed.

    Of a file that `grows` a last record without a line end is not read: more of it may come. With a `way` out of them
    rejects raise, else they are kept.
    """

    def __init__(
        self,
        file: str,
        parser: Parser,
        schema: Schema,
        offset: Json,
        *,
        way: Callable[[Reject], str] | None,
        grows: bool = False,
    ) -> None:
        self._file = file
        self._parser = parser
        self._way = way
        self._grows = grows
        self._empty = pl.DataFrame(schema=schema)
        self._skip: int = offset["rows"]
        self._skip_rejects: int = offset["rejects"]
        self._owed: list[list[object]] = list(offset["owed"])
        self._told = False
        self._block: Block | None = None
        self._given = 0
        self._rest = b""
        self._ended = False
        self._stream = open_text(file)
        try:
            self._place = self._next = Place.find(file, self._stream, offset)
        except BaseException:
            self._stream.close()
            raise

    def read(self, max_rows: int) -> Batch | None:
        while True:
            if self._block is not None and self._given < self._block.frame.height:
                batch = self._block.frame.slice(self._given, max_rows)
                self._given += batch.height
                return batch
            if self._advance():
                continue
            if self._owed and not self._told:
                # Rejects behind the last row still have to be asked for before the end is told.
                self._told = True
                return self._empty
            self._stream.close()
            return None

    def rejected(self) -> Batch | None:
        if not self._owed:
            return None
        rejects, self._owed = self._owed, []
        return pl.DataFrame(rejects, schema=REJECTED, orient="row")

    def offset(self) -> Json:
        rows, rejects = (self._given, len(self._block.rejects)) if self._block else (self._skip, self._skip_rejects)
        place = self._place
        at = {"byte": place.byte, "line": place.line, "mark": place.mark}
        return {**at, "rows": rows, "rejects": rejects, "owed": list(self._owed)}

    def close(self) -> None:
        self._block = None
        self._stream.close()

    def _advance(self) -> bool:
        """Go on to the next block; False at the end of the file."""
        if self._block is not None:
            self._place, self._block = self._next, None
        block = self._parse()
        if block is None:
            return False
        if block.rejects and self._way is not None:
            bad = block.rejects[0]
            raise MalformedRow(
                bad.reason,
                file=self._file,
                line=self._place.line + bad.line,
                column=bad.column,
                raw=_shown(bad.raw),
                way=self._way(bad),
            )
        self._next = self._place.after(self._rest[: block.consumed], block.lines)
        self._rest = self._rest[block.consumed :]
        self._block = block
        self._given = min(self._skip, block.frame.height)
        known = min(self._skip_rejects, len(block.rejects))
        self._skip -= self._given
        self._skip_rejects -= known
        self._owed += [
            [self._file, self._place.line + reject.line, reject.column, reject.reason, _shown(reject.raw)]
            for reject in block.rejects[known:]
        ]
        return True

    def _parse(self) -> Block | None:
        wanted = BLOCK
        while True:
            while len(self._rest) < wanted and not self._ended:
                with reading(self._file):
                    more = self._stream.read(wanted - len(self._rest))
                self._ended = not more
                self._rest += more
            if not self._rest:
                return None
            block = self._parser.parse(self._rest, last=self._ended and not self._grows)
            if block is not None or self._ended:
                return block
            wanted = 2 * len(self._rest)


def head(file: str, lines: int) -> tuple[bytes, bool]:
    """Read at least the first `lines` lines, to infer types from, and say whether that is all of the file."""
    text, more = b"", b"-"
    with open_text(file) as stream, reading(file):
        while more and text.count(b"\n") < lines and len(text) < 4 * BLOCK:
            more = stream.read(1 << 18)
            text += more
    refuse_utf16(file, text)
    return text.removeprefix(BOM), not more


def refuse_utf16(file: str, text: bytes) -> None:
    """Refuse a file that begins as no UTF-8 does: with the mark of UTF-16, or with letters of two bytes."""
    if text.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0\0" in (text[:4:2], text[1:4:2]):
        raise SourceError(
            f"{file} is in UTF-16, and UTF-8 is read; convert it, as `iconv -f UTF-16 -t UTF-8` does, or give "
            "flare.from_frame what pl.read_csv(..., encoding='utf-16') reads"
        )


def wider(dtype: pl.DataType, fits: Callable[[pl.DataType], bool]) -> pl.DataType | None:
    """Return the first type that holds more than `dtype` does, and the value that `fits` looks at."""
    return next((each for each in _wider(dtype) if each != dtype and fits(each)), None)


def _wider(dtype: pl.DataType) -> tuple[pl.DataType, ...]:
    match dtype:
        case pl.Date():
            return (pl.Datetime("us"),)
        case _ if dtype.is_integer():
            return (pl.Int64(), pl.Int128(), pl.Float64())
        case _:
            return ()


def _shown(raw: bytes) -> str:
    return raw.decode("utf-8", "backslashreplace")
