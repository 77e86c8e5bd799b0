"""Complete names inside of strings (columns, stages, jobs, plugins), the words of `%flare`, languages of `%%wasm`."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from IPython.core.completer import CompletionContext, SimpleCompletion, SimpleMatcherResult, context_matcher

from .. import engine
from ..engine import Job
from ..stream import Stream
from ..wasm import bundled_plugins
from ..wasm.toolchains import LANGUAGES

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

COMMANDS = ("jobs", "graph", "stop", "plugins", "doctor", "help")
_STAGE_OF_JOB = {"peek", "sample", "swap", "explain_window", "result"}
_OPEN = re.compile(r"([\w.]+)\s*\($")
_MOST = 200


@dataclass(frozen=True)
class Cursor:
    """Where the cursor is: the calls around it, outermost first, and what stands so far in the string it is in."""

    calls: tuple[str, ...]
    string: str | None

    @classmethod
    def of(cls, text: str) -> Cursor:
        """Read unfinished code up to its end: strings, comments and brackets are enough."""
        opened: list[str] = []
        place = 0
        while place < len(text):
            sign = text[place]
            if sign == "#":
                end = text.find("\n", place)
                place = len(text) if end < 0 else end
            elif sign in "'\"":
                quote = sign * 3 if text.startswith(sign * 3, place) else sign
                begun = place + len(quote)
                after = _closed(text, begun, quote)
                if after is None:
                    return cls(tuple(opened), text[begun:])
                place = after
                continue
            elif sign in "([{":
                found = _OPEN.search(text, 0, place + 1) if sign == "(" else None
                opened.append(found[1] if found is not None else "")
            elif sign in ")]}" and opened:
                opened.pop()
            place += 1
        return cls(tuple(opened), None)


def _closed(text: str, begun: int, quote: str) -> int | None:
    place = begun
    while place < len(text):
        if text[place] == "\\":
            place += 2
        elif text.startswith(quote, place):
            return place + len(quote)
        elif text[place] == "\n" and len(quote) == 1:
            # A string that was never closed ended with its line.
            return place
        else:
            place += 1
    return None


class Completer:
    """What is offered where. It looks at names, and evaluates nothing."""

    def __init__(self, shell: InteractiveShell) -> None:
        self._shell = shell

        @context_matcher(identifier="dataflare_nb")  # type: ignore[untyped-decorator]
        def matcher(context: CompletionContext) -> SimpleMatcherResult:
            return self._match(context)

        self.matcher = matcher

    def _match(self, context: CompletionContext) -> SimpleMatcherResult:
        lines = context.full_text.split("\n")[: context.cursor_line + 1]
        lines[-1] = lines[-1][: context.cursor_position]
        kind, begun, names = self.offered("\n".join(lines))
        fitting = [name for name in dict.fromkeys(names) if name.startswith(begun)][:_MOST]
        found = [SimpleCompletion(text=name, type=kind) for name in fitting]
        return {"completions": found, "matched_fragment": begun, "suppress": bool(found)}

    def offered(self, text: str) -> tuple[str, str, Iterable[str]]:
        """Return what kind of names fit at the end of a text, what of one is there already, and the names."""
        line = text.rsplit("\n", 1)[-1]
        if (found := re.fullmatch(r"\s*%flare\s+(?:(\w+)\s+(?:\S+\s+)*)?(\S*)", line)) is not None:
            return "magic", found[2], self._words(found[1])
        if (found := re.fullmatch(r"%%wasm\s.*--lang[\s=]+(\S*)", line)) is not None:
            return "magic", found[1], LANGUAGES
        cursor = Cursor.of(text)
        if cursor.string is None or not cursor.calls:
            return "", "", ()
        owner, _, method = cursor.calls[-1].rpartition(".")
        owned = self._names.get(owner)
        if isinstance(owned, Job) and method in _STAGE_OF_JOB:
            return "stage", cursor.string, owned.read().nodes
        if method == "job" and getattr(owned, "__name__", "") == "dataflare_nb":
            return "job", cursor.string, engine.jobs()
        if method == "bundled_plugin":
            return "plugin", cursor.string, bundled_plugins()
        if method == "at" and isinstance(owned, Stream):
            return "stage", cursor.string, owned.graph.nodes
        if method == "col" or any(_is_step(call) for call in cursor.calls):
            return "column", cursor.string, self._columns(text)
        return "", "", ()

    @property
    def _names(self) -> Mapping[str, Any]:
        names: Mapping[str, Any] = self._shell.user_ns
        return names

    def _words(self, command: str | None) -> Iterable[str]:
        match command:
            case None:
                return COMMANDS
            case "stop":
                return [*engine.jobs(), "all"]
            case "jobs" | "plugins":
                return engine.jobs()
            case "graph":
                return [*engine.jobs(), *(name for name, value in self._visible() if isinstance(value, Stream))]
            case _:
                return ()

    def _visible(self) -> Iterator[tuple[str, Any]]:
        yield from ((name, value) for name, value in list(self._names.items()) if not name.startswith("_"))

    def _columns(self, text: str) -> Iterable[str]:
        """Return the columns of what the cell names, nearest first, and what it calls new ones; else of all streams."""
        words = list(dict.fromkeys(reversed(re.findall(r"[A-Za-z_]\w*", text))))
        tables = [self._names[word] for word in words if isinstance(self._names.get(word), Stream | pl.DataFrame)]
        tables = tables or [value for _, value in self._visible() if isinstance(value, Stream)]
        for table in tables:
            yield from table.columns
        yield from dict.fromkeys(re.findall(r"[(,]\s*([A-Za-z_]\w*)\s*=(?!=)", text))
        for table in tables:
            if isinstance(table, Stream):
                for edge in table.graph.edges.values():
                    yield from edge.schema


def _is_step(call: str) -> bool:
    method = call.rpartition(".")[2]
    return "." in call and not method.startswith("_") and callable(getattr(Stream, method, None))
