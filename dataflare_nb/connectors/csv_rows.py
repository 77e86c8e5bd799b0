"""Read CSV: a strict fast way for blocks that are well formed, and a careful one that finds the bad rows."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import replace

import polars as pl

from .. import dtypes
from ..dtypes import a_value_of, short
from ..errors import BadOption, SourceError
from ..types import Json, Schema
from .csv_records import CsvRecords, Dialect, Record
from .frame import require_schema
from .options import Char
from .place import open_text, reading
from .text import BOM, Block, Reject, TextOptions, TextRows, head, refuse_utf16, wider

_LONGEST_HEADER = 1 << 20


class CsvOptions(TextOptions, frozen=True, kw_only=True):
    """Options of the `csv` source. Rows end with a line feed, with or without a carriage return before it."""

    separator: Char = ","
    quote_char: Char | None = '"'
    has_header: bool = True
    null_values: list[str] | None = None
    try_parse_dates: bool = False

    def problems(self) -> Iterable[str]:
        yield from super().problems()
        for name, char in (("separator", self.separator), ("quote_char", self.quote_char)):
            if char is not None and (not char.isascii() or char in "\r\n\x01"):
                yield f"{name}={char!r} is not one printable ASCII character"
        if self.separator == self.quote_char:
            yield "separator and quote_char are the same"


class CsvRows(TextRows):
    """CSV files in UTF-8, plain or as `.gz`."""

    def __init__(self, options: CsvOptions) -> None:
        super().__init__(options)
        self._options = options
        self._overrides = dtypes.from_json(options.schema_overrides or {})
        self._dialect = Dialect(options.separator.encode(), options.quote_char.encode() if options.quote_char else None)
        for name, dtype in {**dtypes.from_json(options.schema or {}), **self._overrides}.items():
            if dtype.is_nested() or dtype in (pl.Binary, pl.Duration, pl.Null, pl.Object):
                raise BadOption(
                    f"read_csv: column `{name}` cannot be read as {short(dtype)}; read it as String and convert"
                )

    def schema(self, file: str) -> Schema:
        options = self._options
        text, whole = head(file, options.infer_rows + 1)
        records = (r for r in CsvRecords(self._dialect, text, last=whole and not self.grows(file)) if r.text)
        sample = list(itertools.islice(records, options.infer_rows + options.has_header))
        if not sample:
            has = "holds no whole row yet" if text else "is empty"
            raise SourceError(f"read_csv: {file} {has}, so its columns are unknown; give schema={{...}}")
        names = (
            self._names(file, sample[0]) if options.has_header else [f"column_{i + 1}" for i in range(sample[0].fields)]
        )
        if len(set(names)) < len(names):
            raise SourceError(f"read_csv: the header of {file} has a name twice: {', '.join(names)}; rename one")
        rows = [r.text for r in sample[options.has_header :] if r.fault is None and r.fields == len(names)]
        try:
            frame = pl.read_csv(
                b"\n".join(rows or [self._dialect.separator * (len(names) - 1)]).decode("utf-8", "replace").encode(),
                has_header=False,
                new_columns=names,
                separator=options.separator,
                quote_char=options.quote_char,
                null_values=options.null_values or None,
                try_parse_dates=options.try_parse_dates,
                infer_schema_length=None,
                raise_if_empty=False,
            )
        except pl.exceptions.PolarsError as error:
            raise SourceError(
                f"read_csv: no schema can be inferred from {file}: {error}; give schema={{...}}"
            ) from error
        found = dict(zip(names, frame.dtypes or [pl.String()] * len(names), strict=True))
        if unknown := [name for name in self._overrides if name not in found]:
            raise SourceError(f"read_csv: schema_overrides={unknown} are not in {file}, which has {', '.join(names)}")
        return pl.Schema({**found, **self._overrides})

    def start(self, file: str, schema: Schema) -> Json | None:
        with open_text(file) as stream, reading(file):
            text = stream.read(_LONGEST_HEADER)
        refuse_utf16(file, text)
        whole = not self.grows(file) or len(text) == _LONGEST_HEADER
        if not whole and b"\n" not in text:
            return None
        size = len(BOM) if text.startswith(BOM) else 0
        if self._options.has_header:
            while text[size : size + 1] in (b"\n", b"\r"):
                size += 1
            record = next(iter(CsvRecords(self._dialect, text[size:], last=whole)), None)
            if record is None and not whole:
                return None
            size = len(text) if record is None else size + record.end
            if record is not None:
                names = self._names(file, record)
                known = pl.Schema({name: schema.get(name, pl.String()) for name in names})
                some = "schema= names every column; schema_overrides= names some" if self._options.schema else ""
                require_schema(f"read_csv: the header of {file}", known, schema, some)
        return {"byte": size, "line": 1 + text.count(b"\n", 0, size), "rows": 0, "rejects": 0, "owed": []}

    def parser(self, schema: Schema, columns: Sequence[str]) -> CsvParser:
        return CsvParser(self._dialect, schema, columns, self._options.null_values or [])

    def _names(self, file: str, header: Record) -> list[str]:
        if header.fault:
            raise SourceError(f"read_csv: the header of {file} cannot be read: {header.fault}")
        quote = self._options.quote_char
        return next(
            csv.reader(
                io.StringIO(header.text.decode("utf-8", "replace"), newline=""),
                delimiter=self._options.separator,
                quotechar=quote,
                quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            ),
            [],
        )


class CsvParser:
    """Blocks of one CSV schema."""

    def __init__(self, dialect: Dialect, schema: Schema, columns: Sequence[str], null_values: Sequence[str]) -> None:
        self._dialect = dialect
        self._schema = schema
        self._columns = list(columns)
        self._null_values = list(null_values) or None
        # Polars fails on a value outside an Enum even when told to pass over errors, so Enums are cast afterwards.
        self._enums = {n: d for n, d in schema.items() if isinstance(d, pl.Enum) and n in self._columns}
        self._physical = pl.Schema(
            {n: pl.String() if n in self._enums or n not in self._columns else d for n, d in schema.items()}
        )

    def parse(self, text: bytes, *, last: bool) -> Block | None:
        cut = len(text) if last else self._boundary(text)
        if cut:
            block = text if cut == len(text) else text[:cut]
            lines = block.count(b"\n")
            frame = self._strict(block, lines)
            if frame is not None:
                return Block(frame, [], cut, lines)
        return self._careful(text, last=last)

    def _boundary(self, text: bytes) -> int:
        """Find the end of the last line that quotes, counted from the start, do not go across."""
        quote = self._dialect.quote
        end = text.rfind(b"\n")
        if quote is None or end < 0:
            return end + 1
        inside = text.count(quote, 0, end) % 2
        while inside and end >= 0:
            opened = text.rfind(quote, 0, end)
            end = text.rfind(b"\n", 0, opened)
            inside = (inside + text.count(quote, max(end, 0), opened + 1)) % 2
        return end + 1

    def _strict(self, block: bytes, lines: int) -> pl.DataFrame | None:
        """Parse text in which every record is a row; None if that is not certain."""
        outside = self._dialect.outside(block)
        if outside is None:
            return None
        try:
            frame = self._read(block, self._physical, lenient=False)
            chosen = frame.select(self._columns)
            chosen = chosen.cast(pl.Schema(self._enums)) if self._enums else chosen
        except pl.exceptions.PolarsError:
            return None
        rows = (lines if outside is block else outside.count(b"\n")) + (not outside.endswith(b"\n"))
        if frame.height != rows:
            return None
        # Polars refuses a record with too many fields and fills one with too few up with nulls, the last field first.
        last = frame.to_series(-1)
        if last.null_count() and outside.count(self._dialect.separator) != rows * (len(self._schema) - 1):
            bare = self._dialect.without_blank_lines(block) if outside is block and len(self._schema) > 1 else block
            return self._strict(bare, bare.count(b"\n")) if bare and len(bare) < len(block) else None
        return chosen

    def _careful(self, text: bytes, *, last: bool) -> Block | None:
        """Take the text apart record by record, and each column value by value."""
        records = CsvRecords(self._dialect, text, last=last)
        width = len(self._schema)
        good: list[bytes] = []
        lines: list[int] = []
        rejects: list[Reject] = []
        consumed = line = 0
        for record in records:
            start, line, consumed = line, line + text.count(b"\n", consumed, record.end), record.end
            if record.fault is None and not record.text and width > 1:
                continue
            fault = record.fault
            if fault is None and record.fields != width:
                fault = f"{record.fields} field{'s' * (record.fields != 1)} where {width} are expected"
            if fault is None and not _is_utf8(record.text):
                fault = "invalid UTF-8"
            if fault is None:
                good.append(record.text)
                lines.append(start)
            else:
                rejects.append(Reject(start, None, fault, record.text))
        if not consumed:
            return None
        frame, wrong = self._values(good)
        for row, column in wrong.items():
            rejects.append(Reject(lines[row], column, f"not {a_value_of(self._schema[column])}", good[row]))
        rejects.sort(key=lambda reject: reject.line)
        rejects[:1] = [self._with_a_type(reject) for reject in rejects[:1]]
        return Block(frame, rejects, consumed, line)

    def _with_a_type(self, reject: Reject) -> Reject:
        """Look for a type that would hold the value."""
        if (name := reject.column) is None:
            return reject
        texts = dict.fromkeys(self._schema, pl.String())

        def fits(dtype: pl.DataType) -> bool:
            try:
                read = self._read(reject.raw, pl.Schema({**texts, name: dtype}), lenient=False)
            except (pl.exceptions.PolarsError, pl.exceptions.PanicException):
                return False
            return read.height == 1 and not read[name].has_nulls()

        return replace(reject, fits=wider(self._schema[name], fits))

    def _values(self, records: list[bytes]) -> tuple[pl.DataFrame, dict[int, str]]:
        """Parse well-formed records; return the good rows, and the first bad column of each bad row."""
        if not records:
            return pl.DataFrame(schema=self._schema).select(self._columns), {}
        block = b"\n".join(records) + b"\n"
        texts = self._read(block, pl.Schema(dict.fromkeys(self._schema, pl.String())), lenient=True)
        frame = self._read(block, self._physical, lenient=True).select(self._columns)
        frame = frame.cast(pl.Schema(self._enums), strict=False)
        wrong: dict[int, str] = {}
        for name in reversed(self._columns):
            bad = frame[name].is_null() & texts[name].is_not_null() & (texts[name] != "")
            wrong |= dict.fromkeys(bad.arg_true().to_list(), name)
        keep = pl.Series([True]).new_from_index(0, frame.height).scatter(sorted(wrong), False)
        return frame.filter(keep), dict(sorted(wrong.items()))

    def _read(self, block: bytes, schema: Schema, *, lenient: bool) -> pl.DataFrame:
        return pl.read_csv(
            block,
            has_header=False,
            schema=schema,
            separator=self._dialect.separator.decode(),
            quote_char=self._dialect.quote.decode() if self._dialect.quote else None,
            null_values=self._null_values,
            ignore_errors=lenient,
        )


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
