"""Take CSV text apart into records, and tell a well-formed one from the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_RECORD = 16 << 20
"""A quoted record longer than this is taken for one whose closing quote is missing."""
_MARK = b"\x01"
_BLANK_LINES = re.compile(rb"(?:^|(?<=\n))\r?\n")

UNCLOSED = "a quote is opened and not closed before the next separator or line end"
STRAY = "a quote stands inside a field that does not begin with one; quote the field and double the quote"


@dataclass(frozen=True, slots=True)
class Dialect:
    """What divides and what quotes."""

    separator: bytes
    quote: bytes | None

    def outside(self, text: bytes) -> bytes | None:
        """Return the text with every quoted field replaced by a mark; None if the quotes are not well formed.

        Quotes are well formed when each quoted field fills its field. The answer comes from a few passes in C.
        """
        quote = self.quote
        if quote is None or quote not in text:
            return text
        pieces = text.split(quote)
        if len(pieces) % 2 == 0 or _MARK in text:
            return None
        outside = _MARK.join(pieces[::2])
        while _MARK + _MARK in outside:
            outside = outside.replace(_MARK + _MARK, _MARK)
        marks = outside.count(_MARK)
        opened = outside.count(self.separator + _MARK) + outside.count(b"\n" + _MARK) + outside.startswith(_MARK)
        closed = (
            outside.count(_MARK + self.separator)
            + outside.count(_MARK + b"\n")
            + outside.count(_MARK + b"\r\n")
            + outside.endswith(_MARK)
        )
        return outside if opened == closed == marks else None

    def without_blank_lines(self, text: bytes) -> bytes:
        """Drop the blank lines of text without quotes."""
        return _BLANK_LINES.sub(b"", text)


@dataclass(frozen=True, slots=True)
class Record:
    """One record: its text without the line end, where the next begins, and what is wrong with it."""

    text: bytes
    end: int
    fields: int
    fault: str | None = None


class CsvRecords:
    """The records of some text, as far as they are certainly complete.

    A record that is not well formed is given up at the end of its first line, and the next line begins anew.
    """

    def __init__(self, dialect: Dialect, text: bytes, *, last: bool) -> None:
        self._separator = dialect.separator
        self._quote = dialect.quote
        self._text = text
        self._last = last
        self._separators_and_ends = re.compile(re.escape(dialect.separator) + rb"|\n")

    def __iter__(self) -> Iterator[Record]:
        at = 0
        while at < len(self._text):
            record = self._record(at)
            if record is None:
                return
            yield record
            at = record.end

    def _record(self, start: int) -> Record | None:
        text = self._text
        end = text.find(b"\n", start)
        if end < 0 and not self._last:
            return None
        stop = end if end >= 0 else len(text)
        if self._quote is None or text.find(self._quote, start, stop) < 0:
            line = _chomped(text[start:stop])
            return Record(line, min(stop + 1, len(text)), line.count(self._separator) + 1)
        return self._quoted(start, stop)

    def _quoted(self, start: int, first_end: int) -> Record | None:
        text, quote = self._text, self._quote
        assert quote is not None
        at, fields = start, 1
        while True:
            if text[at : at + 1] == quote:
                close = self._closing(at + 1, start)
                if close is None:
                    return None
                if close < 0:
                    return self._faulty(start, first_end, UNCLOSED)
                at = close + 1
            else:
                found = self._separators_and_ends.search(text, at)
                if found is None and not self._last:
                    return None
                stop = found.start() if found else len(text)
                if text.find(quote, at, stop) >= 0:
                    return self._faulty(start, first_end, STRAY)
                at = stop
            if text[at : at + 1] == self._separator:
                at, fields = at + 1, fields + 1
                continue
            body = text[start:at]
            at += text[at : at + 1] == b"\r"
            return Record(_chomped(body), min(at + 1, len(text)), fields)

    def _closing(self, at: int, start: int) -> int | None:
        """Find the closing quote: -1 if there is none, None if more text is needed to say."""
        text, quote = self._text, self._quote
        assert quote is not None
        while True:
            at = text.find(quote, at)
            if at < 0:
                return -1 if self._last or len(text) - start > MAX_RECORD else None
            if at - start > MAX_RECORD:
                return -1
            after = text[at + 1 : at + 3]
            if after in (b"", b"\r") and not self._last:
                return None
            if after[:1] == quote:
                at += 2
                continue
            return at if after[:1] in (b"", b"\n", self._separator) or after in (b"\r\n", b"\r") else -1

    def _faulty(self, start: int, stop: int, fault: str) -> Record:
        line = _chomped(self._text[start:stop])
        return Record(line, min(stop + 1, len(self._text)), 0, fault)


def _chomped(line: bytes) -> bytes:
    return line[:-1] if line.endswith(b"\r") else line
