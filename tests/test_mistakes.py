"""Each mistake a user can make in a description, and what is said: which step, which line, what, and the way out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

import polars as pl
import polars.selectors as cs
import pytest

import dataflare_nb as flare
from dataflare_nb import errors
from dataflare_nb.wasm import AggregateCall
from dataflare_nb.wasm.traps import GuestError

FRAME = pl.DataFrame(
    {
        "user_id": ["ann", "bob"],
        "page": [1, 2],
        "price": [1.5, 2.5],
        "bot": [True, False],
        "tags": [["a"], ["b", "c"]],
        "place": [{"lat": 1.0, "lon": 2.0}] * 2,
        "ts": [datetime(2026, 1, 1), datetime(2026, 1, 2)],
        "day": [date(2026, 1, 1)] * 2,
        "seen": ["2026-01-01", "2026-01-02"],
    }
)
CLICKS = flare.from_frame(FRAME)
TIMED = CLICKS.event_time("ts", max_out_of_orderness="1m")
KEYED = TIMED.key_by("user_id")
HOURLY = KEYED.window(flare.tumbling("1h"))
COUNTED = HOURLY.agg(n=pl.len())
LIVE = flare.rate(10.0)
HAS = "user_id, page, price, bot, tags, place, ts, day, seen"


@flare.udf
def doubled(x: float) -> float:
    return x * 2.0


@flare.udf
def both(a: bool, b: bool) -> bool:
    return a and b


def fails_on_no_rows(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(first=pl.lit(frame["page"][0]))


def call_of_an_aggregator() -> AggregateCall:
    """Return what `flare.wasm.aggregate` would, without a plugin of that type at hand."""
    return AggregateCall(flare.wasm.bundled_plugin("carrier_code"), (pl.col("user_id"),), "visitors")


@dataclass(frozen=True)
class Mistake:
    name: str
    make: Callable[[], Any]
    error: type[Exception]
    stage: str
    says: tuple[str, ...]


MISTAKES: list[Mistake] = []


def mistake(name: str, make: Callable[[], Any], error: type[Exception], stage: str, *says: str) -> None:
    MISTAKES.append(Mistake(name, make, error, stage, says))


# Columns that are not there

mistake(
    "filter reads a column that is not there",
    lambda: CLICKS.filter(pl.col("usr_id") == "ann"),
    errors.UnknownColumn,
    "filter",
    "reads `usr_id`",
    f"the stream has {HAS}",
    "Did you mean `user_id`?",
)
mistake(
    "select reads a column that is not there",
    lambda: CLICKS.select("page", pl.col("pric") * 2),
    errors.UnknownColumn,
    "select",
    "reads `pric`",
    HAS,
    "Did you mean `price`?",
)
mistake(
    "with_columns reads a column that is not there",
    lambda: CLICKS.with_columns(total=pl.col("Price") + pl.col("page")),
    errors.UnknownColumn,
    "with_columns",
    "reads `Price`",
    "Did you mean `price`?",
)
mistake(
    "a selector of columns names one that is not there",
    lambda: CLICKS.with_columns(pl.col("page", "prices") * 2),
    errors.UnknownColumn,
    "with_columns",
    "reads `prices`",
    "Did you mean `price`?",
)
mistake(
    "a filter by value names a column that is not there",
    lambda: CLICKS.filter(pages=3),
    errors.UnknownColumn,
    "filter",
    "reads `pages`",
    "Did you mean `page`?",
)
mistake(
    "drop names a column that is not there",
    lambda: CLICKS.drop("page", "tag"),
    errors.UnknownColumn,
    "drop",
    "reads `tag`",
    "Did you mean `tags`?",
)
mistake(
    "rename names a column that is not there",
    lambda: CLICKS.rename({"user": "who"}),
    errors.UnknownColumn,
    "rename",
    "reads `user`",
    HAS,
)
mistake(
    "cast names a column that is not there",
    lambda: CLICKS.cast({"pagee": pl.Int32}),
    errors.UnknownColumn,
    "cast",
    "reads `pagee`",
    "Did you mean `page`?",
)
mistake(
    "explode names a column that is not there",
    lambda: CLICKS.explode("tagz"),
    errors.UnknownColumn,
    "explode",
    "reads `tagz`",
    "Did you mean `tags`?",
)
mistake(
    "unnest names a column that is not there",
    lambda: CLICKS.unnest("places"),
    errors.UnknownColumn,
    "unnest",
    "reads `places`",
    "Did you mean `place`?",
)
mistake(
    "key_by names a column that is not there",
    lambda: TIMED.key_by("userid"),
    errors.UnknownColumn,
    "key_by",
    "reads `userid`",
    "Did you mean `user_id`?",
)
mistake(
    "event_time names a column that is not there",
    lambda: CLICKS.event_time("tss"),
    errors.UnknownColumn,
    "event_time",
    "reads `tss`",
    "Did you mean `ts`?",
)
mistake(
    "agg reads a column that is not there",
    lambda: HOURLY.agg(worst=pl.col("prce").max()),
    errors.UnknownColumn,
    "agg",
    "reads `prce`",
    "Did you mean `price`?",
)
mistake(
    "a udf is called with a column that is not there",
    lambda: CLICKS.with_columns(twice=doubled("pricee")),
    errors.UnknownColumn,
    "@udf doubled",
    "reads `pricee`",
    "Did you mean `price`?",
)
mistake(
    "a plugin is given a column that is not there",
    lambda: CLICKS.wasm(PLUGIN, column="user"),
    errors.UnknownColumn,
    "wasm",
    "`user`",
    HAS,
)
mistake(
    "a column was dropped before it is used",
    lambda: CLICKS.drop("price").filter(pl.col("price") > 1),
    errors.UnknownColumn,
    "filter",
    "reads `price`",
    "user_id, page, bot",
)
mistake(
    "a struct has no such field",
    lambda: CLICKS.with_columns(x=pl.col("place").struct.field("lattitude")),
    errors.UnknownColumn,
    "with_columns",
    "reads the field `lattitude`",
    "lat, lon",
)

# Types that do not fit

mistake(
    "a filter is not Boolean",
    lambda: CLICKS.filter(pl.col("page") + 1),
    errors.WrongType,
    "filter",
    "`page + 1` is Int64",
    "a filter needs Boolean",
)
mistake(
    "a filter by the name of a column that is text",
    lambda: CLICKS.filter("user_id"),
    errors.WrongType,
    "filter",
    "`user_id` is String",
    "a filter needs Boolean",
)
mistake(
    "a filter by several columns of which one is no Boolean",
    lambda: CLICKS.filter(pl.col("bot", "page")),
    errors.WrongType,
    "filter",
    "`page` is Int64",
)
mistake(
    "text is added to a number",
    lambda: CLICKS.with_columns(x=pl.col("page") + pl.col("tags")),
    errors.WrongType,
    "with_columns",
    "`x = page + tags`",
    "Here `page` is Int64, `tags` is List[String]",
)
mistake(
    "text is treated as time",
    lambda: CLICKS.with_columns(hour=pl.col("seen").dt.hour()),
    errors.WrongType,
    "with_columns",
    "`hour = seen.dt.hour()`",
)
mistake(
    "a sum of text",
    lambda: HOURLY.agg(x=pl.col("seen").sum()),
    errors.WrongType,
    "agg",
    "`x = seen.sum()`",
)
mistake(
    "a cast that cannot be",
    lambda: CLICKS.cast({"tags": pl.Int64}),
    errors.WrongType,
    "cast",
    "`tags` is List[String], which cannot become Int64",
)
mistake(
    "a cast to what is no type",
    lambda: CLICKS.cast({"page": "Int64"}),
    errors.WrongType,
    "cast",
    "types are such as pl.Int64",
)
mistake(
    "explode of what is no list",
    lambda: CLICKS.explode("page"),
    errors.WrongType,
    "explode",
    "`page` is Int64",
    "list columns here: tags",
)
mistake(
    "unnest of what is no struct",
    lambda: CLICKS.unnest("tags"),
    errors.WrongType,
    "unnest",
    "`tags` is List",
    "struct columns here: place",
)
mistake(
    "a key that is a list",
    lambda: CLICKS.key_by("tags"),
    errors.WrongType,
    "key_by",
    "`tags` is List",
    "a key is a plain value",
)
mistake(
    "event time is text",
    lambda: CLICKS.event_time("seen"),
    errors.WrongType,
    "event_time",
    "`seen` is String",
    "str.to_datetime('%Y-%m-%d %H:%M:%S', strict=False)",
    "schema_overrides={'seen': pl.Datetime('us')}, on_error='dead_letter'",
)
mistake(
    "times in a format that would be guessed",
    lambda: CLICKS.with_columns(pl.col("seen").str.to_datetime(strict=False)),
    errors.BadOption,
    "with_columns",
    "guesses the format of times",
    "str.to_datetime('%Y-%m-%d %H:%M:%S')",
)
mistake(
    "a text that is cast to a day",
    lambda: CLICKS.cast({"seen": pl.Date}),
    errors.WrongType,
    "cast",
    "`seen` is String, which cannot become Date",
    "pl.col('seen').str.to_date('%Y-%m-%d')",
)
mistake(
    "event time is an integer of unknown unit",
    lambda: CLICKS.event_time("page"),
    errors.WrongType,
    "event_time",
    "`page` is Int64",
    "unit='s', 'ms', 'us' or 'ns'",
)
mistake(
    "event time is a fraction",
    lambda: CLICKS.event_time("price"),
    errors.WrongType,
    "event_time",
    "`price` is Float64",
    "Convert it first",
)
mistake(
    "a function in place of an expression",
    lambda: HOURLY.agg(n=pl.len),
    errors.WrongType,
    "agg",
    "call it: len()",
)
mistake(
    "a lambda in place of an expression",
    lambda: CLICKS.with_columns(x=lambda frame: frame),
    errors.WrongType,
    "with_columns",
    "map_batches",
)
mistake(
    "a frame in place of an expression",
    lambda: CLICKS.select(FRAME),
    errors.WrongType,
    "select",
    "DataFrame",
)
mistake(
    "an expression that changes the number of rows",
    lambda: CLICKS.with_columns(x=pl.col("page").drop_nulls()),
    errors.WrongType,
    "with_columns",
    "`x = page.drop_nulls()`",
    "use .filter(...)",
)
mistake(
    "a select of constants only",
    lambda: CLICKS.select(pl.lit(1).alias("one")),
    errors.BadOption,
    "select",
    "only constants",
    "with_columns",
)

# Looking at other rows

mistake(
    "a sum over a stream that may never end",
    lambda: CLICKS.with_columns(total=pl.col("price").sum()),
    errors.UnwindowedAggregate,
    "with_columns",
    "`total = price.sum()`",
    ".window(flare.tumbling('1h')).agg(...)",
)
mistake(
    "an aggregate inside an expression over rows",
    lambda: CLICKS.filter(pl.col("price") > pl.col("price").mean()),
    errors.UnwindowedAggregate,
    "filter",
    "whose `price.mean()` looks at other rows",
)
mistake(
    "an aggregate of several columns over rows",
    lambda: CLICKS.with_columns(cs.numeric().sum()),
    errors.UnwindowedAggregate,
    "with_columns",
    "cs.numeric().sum()",
)
mistake(
    "a shift over rows",
    lambda: CLICKS.select(before=pl.col("page").shift(1)),
    errors.UnwindowedAggregate,
    "select",
    "page.shift(1)",
)
mistake(
    "an aggregation without a window",
    lambda: KEYED.agg(n=pl.len()),
    errors.UnwindowedAggregate,
    "agg",
    "needs a window",
    "flare.global_window()",
)
mistake(
    "an aggregation that gives a list of rows",
    lambda: HOURLY.agg(pages=pl.col("page")),
    errors.WrongType,
    "agg",
    "`pages = page`",
    ".implode()",
)
mistake(
    "a name in place of an aggregation",
    lambda: HOURLY.agg("page"),
    errors.WrongType,
    "agg",
    "`page`",
    "not one value",
)

# Time

mistake(
    "a window without event time",
    lambda: CLICKS.key_by("user_id").window(flare.tumbling("1h")),
    errors.MissingEventTime,
    "window",
    "tumbling(1h) needs event time",
    ".event_time('ts'",
)
mistake(
    "event time was overwritten",
    lambda: TIMED.with_columns(ts=pl.lit(datetime(2026, 1, 1))).window(flare.tumbling("1h")),
    errors.MissingEventTime,
    "window",
    "`ts`, the event time, was dropped or overwritten by with_columns at test_mistakes.py",
)
mistake(
    "event time was dropped",
    lambda: TIMED.drop("ts").window(flare.session("1h")),
    errors.MissingEventTime,
    "window",
    "`ts`, the event time, was dropped or overwritten by drop at test_mistakes.py",
)
mistake(
    "event time was renamed and is used by its old name",
    lambda: TIMED.rename({"ts": "at"}).filter(pl.col("ts").is_not_null()),
    errors.UnknownColumn,
    "filter",
    "reads `ts`",
    "at",
)
mistake(
    "a time zone that does not exist",
    lambda: CLICKS.event_time("ts", time_zone="America/NewYork"),
    errors.BadOption,
    "event_time",
    "'America/NewYork' is not a time zone",
)
mistake(
    "a unit that does not exist",
    lambda: CLICKS.event_time("page", unit="m"),
    errors.BadOption,
    "event_time",
    "unit='m'",
    "'s', 'ms', 'us' or 'ns'",
)
mistake(
    "a unit for what is no integer",
    lambda: CLICKS.event_time("ts", unit="ms"),
    errors.BadOption,
    "event_time",
    "`ts` is Datetime",
)
mistake(
    "a duration that is none",
    lambda: CLICKS.event_time("ts", max_out_of_orderness="15 minutes"),
    errors.BadOption,
    "event_time",
    "max_out_of_orderness is '15 minutes'",
    "write it as '5s', '10m'",
)
mistake(
    "a negative duration",
    lambda: CLICKS.event_time("ts", max_out_of_orderness=timedelta(seconds=-1)),
    errors.BadOption,
    "event_time",
    "max_out_of_orderness",
    "cannot be negative",
)
mistake(
    "a duration in months where a fixed one is needed",
    lambda: KEYED.window(flare.tumbling("1h"), allowed_lateness="1mo"),
    errors.BadOption,
    "window",
    "allowed_lateness is '1mo'",
    "no fixed length",
)
mistake(
    "a misspelt option",
    lambda: CLICKS.event_time("ts", max_out_of_orderliness="1m"),
    errors.BadOption,
    "event_time",
    "`max_out_of_orderliness`",
    "Did you mean `max_out_of_orderness`?",
)
mistake(
    "a watermark every zero rows",
    lambda: CLICKS.event_time("ts", watermark_every=0),
    errors.BadOption,
    "event_time",
    "watermark_every=0",
)

# Windows

mistake(
    "every larger than size",
    lambda: flare.hopping("1h", every="2h"),
    errors.BadWindow,
    "hopping",
    "every=2h is larger than size=1h",
    "in none",
    "tumbling('2h')",
)
mistake(
    "an offset as large as the window",
    lambda: flare.tumbling("1h", offset="60m"),
    errors.BadWindow,
    "tumbling",
    "offset=60m is not smaller than size=1h",
)
mistake("a window of no length", lambda: flare.tumbling("0s"), errors.BadWindow, "tumbling", "size is zero")
mistake(
    "a window of negative length",
    lambda: flare.tumbling("-1h"),
    errors.BadWindow,
    "tumbling",
    "size is '-1h'",
    "cannot be negative",
)
mistake("a window as in pandas", lambda: flare.tumbling("5min"), errors.BadWindow, "tumbling", "Did you mean '5m'?")
mistake("a window in words", lambda: flare.tumbling("2 Hours"), errors.BadWindow, "tumbling", "Did you mean '2h'?")
mistake("a window of garbage", lambda: flare.tumbling("an hour"), errors.BadWindow, "tumbling", "'an hour'", "write it")
mistake("a window of a number", lambda: flare.tumbling(3600), errors.BadWindow, "tumbling", "3600", "write it as '5s'")
mistake(
    "months in a hopping window",
    lambda: flare.hopping("1mo", every="1d"),
    errors.BadWindow,
    "hopping",
    "'1mo'",
    "no fixed length",
)
mistake("months and days", lambda: flare.tumbling("1mo2d"), errors.BadWindow, "tumbling", "months do not mix")
mistake(
    "a length beyond time",
    lambda: flare.tumbling("999999999999d"),
    errors.BadWindow,
    "tumbling",
    "longer than event time",
)
mistake("a session without a gap", lambda: flare.session("0s"), errors.BadWindow, "session", "gap is zero")
mistake("a window of no rows", lambda: flare.count(0), errors.BadWindow, "count", "n is 0", "at least 1")
mistake("a count that is no number", lambda: flare.count("10"), errors.BadWindow, "count", "n is '10'")
mistake(
    "steps that do not fit", lambda: flare.cumulative("1d", step="7h"), errors.BadWindow, "cumulative", "not a multiple"
)
mistake("early results after no rows", lambda: flare.after_count(0), errors.BadWindow, "after_count", "n is 0")
mistake("early results all the time", lambda: flare.every("0s"), errors.BadWindow, "every", "period is zero")
mistake(
    "a misspelt option of a window",
    lambda: flare.tumbling("1d", ofset="5h"),
    errors.BadOption,
    "tumbling",
    "`ofset`",
    "Did you mean `offset`?",
)
mistake(
    "a duration in place of a window",
    lambda: KEYED.window("1h"),
    errors.BadWindow,
    "window",
    "'1h' is not a window",
    "flare.tumbling('1h')",
)
mistake(
    "an early that is none",
    lambda: KEYED.window(flare.tumbling("1h"), early="1s"),
    errors.BadWindow,
    "window",
    "early='1s'",
)
mistake(
    "a window in a window",
    lambda: HOURLY.window(flare.tumbling("1d")),
    errors.BadWindow,
    "window",
    "already has the window tumbling(1h)",
)
mistake(
    "lateness for a window of rows",
    lambda: KEYED.window(flare.count(10), allowed_lateness="1m"),
    errors.BadWindow,
    "window",
    "nothing is late",
)
mistake(
    "early results of a window of rows",
    lambda: KEYED.window(flare.count(10), early=flare.after_count(5)),
    errors.BadWindow,
    "window",
    "leave early out",
)
mistake(
    "a window never aggregated, collected",
    lambda: HOURLY.collect(),
    errors.BadWindow,
    "collect",
    "window(tumbling(1h))",
    ".agg(...)",
)
mistake(
    "a window never aggregated, run",
    lambda: HOURLY.filter(pl.col("bot")).run(),
    errors.BadWindow,
    "run",
    "window(tumbling(1h))",
    ".agg(...)",
)
mistake(
    "a window never aggregated, written",
    lambda: HOURLY.write_parquet("never.parquet"),
    errors.BadWindow,
    "write parquet",
    "tumbling(1h)",
    ".agg(...)",
)
mistake(
    "days in a zone with summer time, hopping",
    lambda: CLICKS.event_time("ts", time_zone="Europe/Berlin").window(flare.hopping("2d", every="1d")),
    errors.BadWindow,
    "window",
    "not all 24 hours",
    "Europe/Berlin",
)

# Names

mistake(
    "two results of one name",
    lambda: HOURLY.agg(pl.col("price").max(), pl.col("price").min()),
    errors.BadOption,
    "agg",
    "gives `price` twice",
)
mistake(
    "two columns of one name",
    lambda: CLICKS.select("page", pl.col("price").alias("page")),
    errors.BadOption,
    "select",
    "two columns named `page`",
)
mistake(
    "a rename onto another column",
    lambda: CLICKS.rename({"page": "price"}),
    errors.BadOption,
    "rename",
    "two columns named `price`",
)
mistake(
    "a result named as the key",
    lambda: HOURLY.agg(user_id=pl.len()),
    errors.BadOption,
    "agg",
    "`user_id` is a column that the key or the window gives",
)
mistake(
    "a result named as a column of the window",
    lambda: HOURLY.agg(window_end=pl.len()),
    errors.BadOption,
    "agg",
    "`window_end`",
)
mistake(
    "a name that is ours",
    lambda: CLICKS.with_columns(__rows=pl.lit(1)),
    errors.BadOption,
    "with_columns",
    "`__rows`",
    "two underscores",
)
mistake(
    "a result with a name that is ours",
    lambda: HOURLY.agg(__n=pl.len()),
    errors.BadOption,
    "agg",
    "`__n`",
    "underscores",
)
mistake("a key named twice", lambda: CLICKS.key_by("page", "page"), errors.BadOption, "key_by", "names a key twice")
mistake(
    "the key was dropped",
    lambda: KEYED.drop("user_id").window(flare.tumbling("1h")).agg(n=pl.len()),
    errors.UnknownColumn,
    "agg",
    "the key user_id was dropped or overwritten by drop at test_mistakes.py",
)
mistake("a stage with a bad name", lambda: CLICKS.named("my stage"), errors.BadOption, "named", "'my stage'", "letters")
mistake("a stage with an endless name", lambda: CLICKS.named("x" * 65), errors.BadOption, "named", "at most 64")
mistake(
    "two stages of one name",
    lambda: CLICKS.filter(pl.col("bot")).named("a").filter(pl.col("page") > 1).named("a"),
    errors.BadOption,
    "named",
    "`a`",
    "another name",
)
mistake("a side output with a name", lambda: COUNTED.late.named("late_rows"), errors.BadOption, "named", "side output")

mistake(
    "the first of structs without fields, at which Polars panics",
    lambda: (
        flare.from_frame(pl.DataFrame({"k": [1], "nothing": [{}]}, schema={"k": pl.Int64, "nothing": pl.Struct({})}))
        .key_by("k")
        .window(flare.global_window())
        .agg(x=pl.col("nothing").first())
    ),
    errors.WrongType,
    "agg",
    "Polars panics at this",
    "`nothing` is Struct[]",
)

# Nothing at all

mistake("select nothing", lambda: CLICKS.select(), errors.BadOption, "select", "at least one")
mistake("add nothing", lambda: CLICKS.with_columns(), errors.BadOption, "with_columns", "at least one")
mistake("aggregate nothing", lambda: HOURLY.agg(), errors.BadOption, "agg", "at least one")
mistake("filter by nothing", lambda: CLICKS.filter(), errors.BadOption, "filter", "at least one")
mistake("key by nothing", lambda: CLICKS.key_by(), errors.BadOption, "key_by", "names no column")
mistake(
    "a frame without columns",
    lambda: flare.from_frame(pl.DataFrame()),
    errors.BadOption,
    "from_frame",
    "has no columns;",
)
mistake(
    "a frame of rows without columns",
    lambda: flare.from_frame(pl.DataFrame(height=3)),
    errors.BadOption,
    "from_frame",
    "no columns, though 3 rows",
    "with_row_index",
)
mistake(
    "frames without columns",
    lambda: flare.from_frames([FRAME, pl.DataFrame(height=3)]),
    errors.BadOption,
    "from_frames",
    "no columns",
)
mistake("drop nothing", lambda: CLICKS.drop(), errors.BadOption, "drop", "names no column")
mistake("drop everything", lambda: CLICKS.drop(cs.all()), errors.BadOption, "drop", "leaves no column")
mistake("drop a number", lambda: CLICKS.drop(3), errors.BadOption, "drop", "not 3")
mistake("rename with a name", lambda: CLICKS.rename("page"), errors.BadOption, "rename", "{'old': 'new'}")
mistake("rename to a number", lambda: CLICKS.rename({"page": 3}), errors.BadOption, "rename", "3 is not a name")

# Streams together

mistake(
    "union with a stream that lacks a column",
    lambda: CLICKS.union(CLICKS.rename({"page": "pages"})),
    errors.UnknownColumn,
    "union",
    "input 2 has no `page`",
    "Did you mean `pages`?",
)
mistake(
    "union with a stream of another type",
    lambda: CLICKS.union(CLICKS.cast({"page": pl.Int32})),
    errors.WrongType,
    "union",
    "`page` is Int64 in input 1 and Int32 in input 2",
)
mistake(
    "union with a stream of more columns",
    lambda: CLICKS.union(CLICKS.with_columns(x=1)),
    errors.UnknownColumn,
    "union",
    "input 2 has x, which input 1 has not",
)
mistake(
    "union with a stream in another order",
    lambda: CLICKS.select("page", "price").union(CLICKS.select("price", "page")),
    errors.WrongType,
    "union",
    "another order",
)
mistake("union with a frame", lambda: CLICKS.union(FRAME), errors.WrongType, "union", "not a Stream", "from_frame")
mistake(
    "a union with itself, again and again",
    lambda: functools.reduce(lambda stream, _: stream.union(stream), range(14), CLICKS),
    errors.BadOption,
    "union",
    "puts 2,048 streams together",
    "the most is 1,024",
    "flare.from_frames",
)
mistake("union with nothing", lambda: CLICKS.union(), errors.BadOption, "union", "another stream")
mistake(
    "union of streams with stages of one name",
    lambda: CLICKS.filter(pl.col("bot")).named("a").union(CLICKS.filter(~pl.col("bot")).named("a")),
    errors.BadOption,
    "union",
    "`a`",
    "another name",
)

# Ends and sides

mistake(
    "a step after a sink",
    lambda: CLICKS.write_parquet("never.parquet").filter(pl.col("bot")),
    errors.GraphError,
    "filter",
    "nothing comes after a sink",
)
mistake(
    "a sink after a sink",
    lambda: CLICKS.write_parquet("never.parquet").write_csv("never.csv"),
    errors.GraphError,
    "write_csv",
    "already ends in a sink",
)
mistake(
    "union after a sink",
    lambda: CLICKS.write_csv("never.csv").union(CLICKS),
    errors.GraphError,
    "union",
    "nothing comes after a sink",
)
mistake(
    "a sink collected", lambda: CLICKS.write_csv("never.csv").collect(), errors.GraphError, "collect", "ends in a sink"
)
mistake(
    "late rows of a stream without windows",
    lambda: TIMED.late,
    errors.UnknownStage,
    ".late",
    "no stage of this stream has one",
    "window over event time",
)
mistake(
    "invalid rows of a stream that has none",
    lambda: CLICKS.invalid,
    errors.UnknownStage,
    ".invalid",
    "event_time has one",
)
mistake(
    "a side output that two stages have",
    lambda: COUNTED.select("n").union(KEYED.window(flare.tumbling("2h")).agg(n=pl.len()).select("n")).late,
    errors.UnknownStage,
    ".late",
    "several stages have one",
    ".at('agg-",
)
mistake(
    "a stage that is not there",
    lambda: COUNTED.named("hourly").at("hourli"),
    errors.UnknownStage,
    "at",
    "`hourli`",
    "`hourly`?",
)
mistake(
    "collect of a stream that never ends",
    lambda: LIVE.collect(),
    errors.GraphError,
    "collect",
    "needs input that ends",
    "job.result()",
)
mistake(
    "a method that a stream does not have",
    lambda: CLICKS.filtr(pl.col("bot")),
    AttributeError,
    "",
    "`filtr`",
    "`filter`?",
)
mistake("group_by, as in Polars", lambda: CLICKS.group_by("page"), AttributeError, "", "no `group_by`", "key_by(")
mistake("head, as in Polars", lambda: CLICKS.head(3), AttributeError, "", "no `head`", "collect().head(")
mistake("a join", lambda: CLICKS.join(CLICKS, on="page"), AttributeError, "", "no `join`", "two streams are not joined")
mistake("a column as in pandas", lambda: CLICKS["page"], errors.WrongType, "[...]", ".select(...)", "collect()[...]")
mistake("run of what is no stream", lambda: flare.run(FRAME), errors.WrongType, "run", "DataFrame is not a Stream")
mistake("run of nothing", lambda: flare.run(), errors.BadOption, "run", "at least one stream")
mistake(
    "run of streams with stages of one name",
    lambda: flare.run(CLICKS.filter(pl.col("bot")).named("a"), CLICKS.drop("bot").named("a")),
    errors.BadOption,
    "run",
    "`a`",
)

# Functions

mistake(
    "a udf on a column of the wrong type",
    lambda: CLICKS.with_columns(x=doubled("user_id")),
    errors.WrongType,
    "@udf doubled",
    "passes `user_id`, a String, as `x: float`",
    ".cast(",
)
mistake(
    "a udf that is no filter",
    lambda: CLICKS.filter(doubled("price")),
    errors.WrongType,
    "filter",
    "doubled returns Float64",
)
mistake(
    "a udf that is not called", lambda: CLICKS.with_columns(x=doubled), errors.WrongType, "with_columns", "doubled(...)"
)
mistake(
    "a udf in agg", lambda: HOURLY.agg(x=doubled("price")), errors.WrongType, "agg", "doubled(price)", "with_columns"
)
mistake(
    "two udfs of one name",
    lambda: CLICKS.with_columns(doubled("price"), doubled("page")),
    errors.BadOption,
    "with_columns",
    "doubled",
    "name them apart",
)
mistake(
    "map_batches fails on a frame without rows",
    lambda: CLICKS.map_batches(fails_on_no_rows),
    errors.WrongType,
    "map_batches",
    "fails_on_no_rows failed with IndexError: ",
    "tried on a frame without rows",
    "schema={...}",
)
mistake(
    "map_batches misspells a method",
    lambda: CLICKS.map_batches(lambda frame: frame.wth_columns(x=1)),  # type: ignore[attr-defined]
    errors.WrongType,
    "map_batches",
    "failed with AttributeError: 'DataFrame' object has no attribute 'wth_columns'. It was tried",
)
mistake(
    "map_batches with a function of two",
    lambda: CLICKS.map_batches(lambda frame, epoch: frame, schema={"a": int}),  # type: ignore[arg-type, misc]
    errors.WrongType,
    "map_batches",
    "is called with (frame)",
    "missing a required argument: 'epoch'",
)
mistake(
    "for_each_batch with a function of one",
    lambda: CLICKS.for_each_batch(lambda frame: None),  # type: ignore[arg-type, misc]
    errors.WrongType,
    "for_each_batch",
    "`<lambda>(frame)` is called with (frame, epoch)",
)
mistake(
    "map_batches returns no frame",
    lambda: CLICKS.map_batches(lambda frame: frame.height),
    errors.WrongType,
    "map_batches",
    "returned int",
    "polars.DataFrame",
)
mistake(
    "map_batches of no function", lambda: CLICKS.map_batches("f"), errors.WrongType, "map_batches", "not a function"
)
mistake(
    "map_batches with a schema that is none",
    lambda: CLICKS.map_batches(lambda frame: frame, schema={"a": "Int64"}),
    errors.WrongType,
    "map_batches",
    "types are such as pl.Int64",
)
mistake(
    "for_each_batch of no function",
    lambda: CLICKS.for_each_batch(3),
    errors.WrongType,
    "for_each_batch",
    "(frame, epoch)",
)
mistake("to_memory of a list", lambda: CLICKS.to_memory([]), errors.WrongType, "to_memory", "flare.MemoryBuffer")
mistake(
    "a plugin with column and columns",
    lambda: CLICKS.wasm(PLUGIN, column="user_id", columns=["page"]),
    errors.BadOption,
    "wasm",
    "column= or columns=",
)
mistake(
    "a plugin with a misspelt policy",
    lambda: CLICKS.wasm(PLUGIN, column="user_id", on_error="deadletter"),
    errors.BadOption,
    "wasm",
    "'deadletter'",
    "dead_letter",
)
mistake(
    "a plugin of the package by its name",
    lambda: CLICKS.wasm("url_parts", column="seen"),
    errors.WasmConfiguration,
    "wasm",
    "cannot read url_parts",
    "flare.wasm.bundled_plugin('url_parts')",
)
mistake(
    "a plugin that is not there",
    lambda: CLICKS.wasm("nowhere/plugin.json"),
    errors.WasmConfiguration,
    "wasm",
    "nowhere",
)
mistake(
    "a processor is to be read from",
    lambda: flare.read_wasm(PLUGIN),
    errors.BadOption,
    "read_wasm",
    "carrier_code is a Processor",
    "takes a plugin of type Source",
    "goes into .wasm(plugin)",
)
mistake(
    "a processor is to be written to",
    lambda: CLICKS.write_wasm(PLUGIN),
    errors.BadOption,
    "write_wasm",
    "takes a plugin of type Destination",
    "goes into .wasm(plugin)",
)
mistake(
    "a processor is to aggregate",
    lambda: HOURLY.agg(n=flare.wasm.aggregate(PLUGIN, "user_id")),
    errors.BadOption,
    "aggregate",
    "takes a plugin of type Aggregator",
    "goes into .wasm(plugin)",
)
mistake(
    "a sink plugin is given a column that is not there",
    lambda: CLICKS.write_wasm(PLUGIN, column="user"),
    errors.UnknownColumn,
    "write_wasm",
    "is to read `user`",
    HAS,
)
mistake(
    "a plugin is given a column that only Arrow IPC can carry",
    lambda: CLICKS.wasm(PLUGIN, column="tags"),
    errors.WasmError,
    "wasm",
    "column `tags` is List[String]",
    "this one takes Arrow C data",
    ".explode('tags')",
)
mistake(
    "a plugin is given a column of a type it does not take",
    lambda: CLICKS.wasm(PLUGIN, column="price"),
    GuestError,
    "wasm",
    "plugin carrier_code",
    "takes one text column",
)
mistake(
    "read_wasm of a number",
    lambda: flare.read_wasm(7),
    errors.WrongType,
    "read_wasm",
    "the path of a plugin.json",
)
mistake(
    "a misspelt option of read_wasm",
    lambda: flare.read_wasm(PLUGIN, split="a"),
    errors.BadOption,
    "read_wasm",
    "Did you mean `splits`?",
)
mistake(
    "an aggregation by a plugin outside of agg",
    lambda: CLICKS.with_columns(n=call_of_an_aggregator()),
    errors.WrongType,
    "with_columns",
    "visitors is an aggregation by a plugin",
    ".agg(...)",
)

# Sources and sinks

mistake(
    "a misspelt option of a reader",
    lambda: flare.read_csv("never.csv", seperator=";"),
    errors.BadOption,
    "read_csv",
    "`seperator`",
    "Did you mean `separator`?",
)
mistake(
    "a misspelt option of a writer",
    lambda: CLICKS.write_parquet("never.parquet", compresion="zstd"),
    errors.BadOption,
    "write_parquet",
    "`compresion`",
    "Did you mean `compression`?",
)
mistake(
    "an option of a writer out of range",
    lambda: CLICKS.write_parquet("never.parquet", mode="replace"),
    errors.BadOption,
    "write_parquet",
    "mode='replace'",
)
mistake("a source that does not exist", lambda: flare.read("parket"), errors.BadOption, "read parket", "`parquet`?")
mistake("a sink that does not exist", lambda: CLICKS.write("parket"), errors.BadOption, "write parket", "`parquet`?")
mistake(
    "a file that is not there",
    lambda: flare.read_parquet("never.parquet"),
    errors.SourceError,
    "read_parquet",
    "never.parquet",
)
mistake("a frame that is none", lambda: flare.from_frame(3), errors.WrongType, "from_frame", "not int")
mistake("frames that are one", lambda: flare.from_frames(FRAME), errors.WrongType, "from_frames", "DataFrame")
mistake("no frames", lambda: flare.from_frames([]), errors.BadOption, "from_frames", "no frame")
mistake("no rows a second", lambda: flare.rate(0.0), errors.BadOption, "rate", "rows_per_second")

# Patterns, and what is no text

mistake(
    "a pattern in place of the name of a key",
    lambda: CLICKS.key_by("*"),
    errors.UnknownColumn,
    "key_by",
    "reads `*`",
    HAS,
    "For a pattern write pl.col('*')",
)
mistake(
    "a pattern in place of a name to drop",
    lambda: CLICKS.drop("^p.*$"),
    errors.UnknownColumn,
    "drop",
    "reads `^p.*$`",
    "pl.col('^p.*$')",
)
mistake(
    "a key by a pattern that matches nothing",
    lambda: CLICKS.key_by(pl.col("^z.*$")),
    errors.UnknownColumn,
    "key_by",
    "matches no column",
    HAS,
)
mistake(
    "a selector that matches nothing",
    lambda: CLICKS.select(cs.binary()),
    errors.UnknownColumn,
    "select",
    "`cs.binary()`",
    "matches no column",
    HAS,
)
mistake(
    "an aggregate over a pattern that matches nothing",
    lambda: HOURLY.agg(pl.col("^z.*$").sum()),
    errors.UnknownColumn,
    "agg",
    "matches no column",
)
mistake(
    "a column whose name is a pattern",
    lambda: CLICKS.rename({"page": "^p.*$"}),
    errors.BadOption,
    "rename",
    "`^p.*$`",
    "Polars reads as a pattern",
    "another name",
)
mistake(
    "a frame with a column whose name is a pattern",
    lambda: flare.from_frame(pl.DataFrame({"*": [1]})),
    errors.BadOption,
    "read frame",
    "`*`",
    "rename it",
)
mistake("a name that is no text", lambda: CLICKS.select("\udcff"), errors.BadOption, "select", "'\\udcff'", "UTF-8")
mistake(
    "a new name that is no text",
    lambda: CLICKS.rename({"page": "\udcff"}),
    errors.BadOption,
    "rename",
    "'\\udcff'",
    "UTF-8",
)
mistake(
    "a name of a hundred thousand letters",
    lambda: CLICKS.drop("x" * 100_000),
    errors.UnknownColumn,
    "drop",
    "xxx…`",
    HAS,
)

# Values that a step does not take

mistake("a constant as a key", lambda: CLICKS.key_by(5), errors.WrongType, "key_by", "not 5", "the same for all rows")
mistake(
    "a named constant as a key",
    lambda: CLICKS.key_by(day=None),
    errors.WrongType,
    "key_by",
    "not None",
    "leave key_by out",
)
mistake(
    "a filter for equality with null",
    lambda: CLICKS.filter(page=None),
    errors.BadOption,
    "filter",
    "page=None is never true",
    "pl.col('page').is_null()",
)
mistake(
    "a filter for equality with an object",
    lambda: CLICKS.filter(page=object()),
    errors.WrongType,
    "filter",
    "page=<object object>",
)
mistake(
    "a filter for equality with a frame",
    lambda: CLICKS.filter(page=FRAME),
    errors.WrongType,
    "filter",
    "page=a DataFrame of shape (2, 9)",
)
mistake(
    "rename by a function that fails",
    lambda: CLICKS.rename(int),
    errors.WrongType,
    "rename",
    "int failed on 'user_id' (ValueError: invalid literal",
)
mistake(
    "rename by a frame",
    lambda: CLICKS.rename(FRAME),
    errors.BadOption,
    "rename",
    "{'old': 'new'}",
    "a DataFrame of shape (2, 9)",
)
mistake(
    "a cast that is neither strict nor not",
    lambda: CLICKS.cast({"page": pl.Int8}, strict="no"),
    errors.WrongType,
    "cast",
    "strict='no'",
    "True or False",
)
mistake(
    "event time of an expression",
    lambda: CLICKS.event_time(pl.col("ts")),
    errors.WrongType,
    "event_time",
    "column is an expression, `ts`",
    "in with_columns",
)
mistake("event time of nothing", lambda: CLICKS.event_time(), errors.BadOption, "event_time", "missing", "'column'")
mistake(
    "a time zone of no letters",
    lambda: CLICKS.event_time("ts", time_zone=""),
    errors.BadOption,
    "event_time",
    "time_zone=''",
    "America/New_York",
)
mistake(
    "a watermark after more rows than can be counted",
    lambda: CLICKS.event_time("ts", watermark_every=2**70),
    errors.BadOption,
    "event_time",
    "watermark_every=",
)
mistake(
    "map_batches to no columns",
    lambda: CLICKS.map_batches(lambda frame: frame, schema={}),
    errors.BadOption,
    "map_batches",
    "leaves no column",
)
mistake(
    "map_batches with a name for a schema",
    lambda: CLICKS.map_batches(lambda frame: frame, schema=""),
    errors.WrongType,
    "map_batches",
    "schema=''",
    "a dict",
)
mistake("a plugin that is a number", lambda: CLICKS.wasm(5), errors.WrongType, "wasm", "not 5", "plugin.json")
mistake(
    "a plugin that is to read a list of lists",
    lambda: CLICKS.wasm(PLUGIN, columns=[["user_id"]]),
    errors.WrongType,
    "wasm",
    "columns=[['user_id']]",
    "a list of str",
)
mistake(
    "a plugin whose result is called by a number",
    lambda: CLICKS.wasm(PLUGIN, column="user_id", output=5),
    errors.WrongType,
    "wasm",
    "output=5",
)
mistake("a stage of a number", lambda: CLICKS.at(5), errors.WrongType, "at", "name=5", "a str")
mistake("a stage named by nothing", lambda: CLICKS.named(None), errors.WrongType, "named", "name=None", "a str")
mistake("a document with a wide margin", lambda: CLICKS.to_json(indent="x"), errors.WrongType, "to_json", "indent='x'")
mistake("a sink that is a number", lambda: CLICKS.write(5), errors.WrongType, "write", "sink=5", "a str")
mistake("a path that is a number", lambda: flare.read_csv(5), errors.WrongType, "read_csv", "path=5", "a Path")
mistake(
    "paths of which one is none",
    lambda: flare.read_csv(["a.csv", None]),
    errors.WrongType,
    "read_csv",
    "path=['a.csv', None]",
    "a list of",
)
mistake(
    "a type that is none",
    lambda: flare.read_csv("never.csv", schema={"a": "Int46"}),
    errors.BadOption,
    "read_csv",
    "column `a`: 'Int46'",
    "Did you mean `Int64`?",
)
mistake("more rows a second than there are", lambda: flare.rate(1e300), errors.BadOption, "rate", "rows_per_second")
mistake("rate by a word", lambda: flare.rate("fast"), errors.WrongType, "rate", "rows_per_second='fast'", "a number")
mistake(
    "a window called with too much",
    lambda: flare.global_window(5),
    errors.BadOption,
    "global_window",
    "too many",
    "no arguments",
)
mistake("a window of too many rows", lambda: flare.count(2**70), errors.BadWindow, "count", "n is 1180")
mistake("a buffer of no rows", lambda: flare.MemoryBuffer(0), errors.BadOption, "MemoryBuffer", "max_rows=0")
mistake(
    "a row in place of a frame",
    lambda: flare.MemoryBuffer().add({"a": 1}),
    errors.WrongType,
    "MemoryBuffer.add",
    "dict",
)
mistake(
    "a source under a number",
    lambda: flare.register_source(5, print),
    errors.WrongType,
    "register_source",
    "name=5",
    "a str",
)
mistake(
    "a sink that nothing makes",
    lambda: flare.register_sink("x", 5),
    errors.WrongType,
    "register_sink",
    "5 is not a function",
)

# Running

mistake("a job named by a number", lambda: COUNTED.run(5), errors.WrongType, "run", "name=5", "a str or None")
mistake(
    "workers by a word", lambda: COUNTED.run(workers="all"), errors.WrongType, "run", "workers='all'", "an int or None"
)
mistake("a clock that is none", lambda: COUNTED.collect(clock=5), errors.WrongType, "collect", "clock=5", "a clock")
mistake(
    "a clock that is none, of several streams",
    lambda: flare.run(COUNTED, clock="noon"),
    errors.WrongType,
    "run",
    "clock='noon'",
)
mistake("progress by a word", lambda: COUNTED.collect(progress="yes"), errors.WrongType, "collect", "progress='yes'")
mistake("a job of a number", lambda: flare.job(5), errors.WrongType, "job", "name=5", "a str")
mistake("a job that is not there", lambda: flare.job("nowhere"), errors.UnknownStage, "job", "`nowhere`")

# Calls of functions, taken for expressions

for sign, taken in {
    "`+`": lambda: doubled("price") + 1,
    "`*`": lambda: 2 * doubled("price"),
    "`-`": lambda: -doubled("price"),
    "`>`": lambda: CLICKS.filter(doubled("price") > 3),
    "`&`": lambda: CLICKS.filter(both("bot", "bot") & pl.col("bot")),
    "`~`": lambda: CLICKS.filter(~both("bot", "bot")),
    "and, or, not and if": lambda: CLICKS.filter(both("bot", "bot") and pl.col("bot")),
    ".sum": lambda: HOURLY.agg(doubled("price").sum()),
}.items():
    function, arguments = ("both", "bot, bot") if "bot" in str(taken.__code__.co_consts) else ("doubled", "price")
    mistake(
        f"a call of a udf with {sign}",
        taken,
        errors.WrongType,
        f"{function}({arguments})",
        f"does not take {sign}",
        "no expression",
    )

mistake(
    "a filter that compares text with a number",
    lambda: CLICKS.filter(pl.col("user_id") > 5),
    errors.WrongType,
    "filter",
    "`user_id > 5`",
    "`user_id` is String",
    ".cast(pl.Int64)",
)
mistake(
    "a filter that takes the hour of a number",
    lambda: CLICKS.filter(pl.col("page").dt.hour() > 5),
    errors.WrongType,
    "filter",
    "`page` is Int64",
)

# What users of Polars and pandas try

mistake("rows of a stream", lambda: list(CLICKS), errors.NoRows, "iteration", "collect().iter_rows()")  # type: ignore[call-overload]
mistake("the length of a stream", lambda: len(CLICKS), errors.NoRows, "len", "collect().height", "pl.len()")
mistake("something in a stream", lambda: "page" in CLICKS, errors.NoRows, "`in`", "`in stream.columns`")
mistake("frames that are a stream", lambda: flare.from_frames(CLICKS), errors.NoRows, "iteration", "no rows before")
mistake(
    "a table of a frame",
    lambda: flare.table(FRAME),
    errors.WrongType,
    "table",
    "a DataFrame of shape (2, 9) is",
    "from_frame",
)
mistake(
    "a path that is a frame",
    lambda: flare.read_csv(FRAME),  # type: ignore[arg-type]
    errors.WrongType,
    "read_csv",
    "path is a DataFrame, which flare.from_frame(...) makes a stream of; it is a str",
)
mistake(
    "a source that is a path",
    lambda: flare.read("clicks.csv"),
    errors.BadOption,
    "read clicks.csv",
    "no source is called 'clicks.csv'",
    "A file is read by flare.read_csv('clicks.csv')",
)
mistake(
    "a sink that is a path",
    lambda: CLICKS.write("out/clicks.parquet"),
    errors.BadOption,
    "write out/clicks.parquet",
    "A file is written by stream.write_parquet('out/clicks.parquet')",
)
mistake(
    "a separator by pandas' word",
    lambda: flare.read_csv("never.csv", sep=";"),  # type: ignore[call-arg]
    errors.BadOption,
    "read_csv",
    "no option `sep`",
    "Did you mean `separator`?",
)
mistake(
    "an option that no sink has",
    lambda: CLICKS.write_parquet("never", partition_by="page"),
    errors.BadOption,
    "write_parquet",
    "`partition_by` is not an option. The options are path",
)
mistake(
    "Python's len in an aggregation",
    lambda: HOURLY.agg(n=len),  # type: ignore[arg-type]
    errors.WrongType,
    "agg",
    "`len` is a function; the number of rows is pl.len()",
)
mistake(
    "Python's max in an aggregation",
    lambda: HOURLY.agg(n=max),  # type: ignore[arg-type]
    errors.WrongType,
    "agg",
    "write pl.col('x').max()",
)
mistake(
    "any function in an aggregation",
    lambda: HOURLY.agg(n=fails_on_no_rows),  # type: ignore[arg-type]
    errors.WrongType,
    "agg",
    "an aggregation is an expression such as pl.len()",
)
for word, meant in {
    "int": "`Int64`",
    "float": "`Float64`",
    "datetime": "pl.Datetime('us')",
    "text": "`String`",
    "timedelta": "pl.Duration('us')",
}.items():
    mistake(
        f"a type by the word {word}",
        lambda word=word: flare.read_csv("never.csv", schema={"a": word}),  # type: ignore[misc]
        errors.BadOption,
        "read_csv",
        f"column `a`: '{word}'",
        f"Did you mean {meant}?",
    )
mistake("a cast to a word", lambda: CLICKS.cast({"page": "int"}), errors.WrongType, "cast", "Did you mean pl.Int64?")
mistake(
    "a plugin that takes floats is given ints",
    lambda: CLICKS.with_columns(lat=1, lon=2).wasm(flare.wasm.bundled_plugin("geohash"), columns=["lat", "lon"]),
    GuestError,
    "wasm",
    "`lat` is Int32",
    "cast before: .cast({'lat': pl.Float64})",
)

PLUGIN = Path(__file__).parents[1] / "plugins/carrier_code/plugin.json"


def line_of(trace: TracebackType | None) -> int:
    """The line of this file from which the mistake was made, as Python itself tells it."""
    line = 0
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == __file__:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*args: Any, **options: Any) -> None:
        raise AssertionError("the mistake should have been found before the engine was asked")

    monkeypatch.setattr("dataflare_nb.engine.run", run)


@pytest.mark.usefixtures("nothing_runs")
@pytest.mark.parametrize("mistake", MISTAKES, ids=[each.name for each in MISTAKES])
def test_a_mistake_is_named_at_its_line(mistake: Mistake) -> None:
    with pytest.raises(mistake.error) as raised:
        mistake.make()
    message = str(raised.value)
    place = f"at test_mistakes.py, line {line_of(raised.tb)}"
    assert raised.type is mistake.error
    assert message.startswith(f"{mistake.stage} {place}") if mistake.stage else place in message, message
    for said in mistake.says:
        assert said in message, message
    assert message.count("test_mistakes.py") <= 2, message
    assert len(message) < 500, message
    for jargon in ("Resolved plan", "FAILED HERE", "dyn int", 'col("', "\n"):
        assert jargon not in message, message


def test_the_table_has_no_mistake_twice() -> None:
    names = [each.name for each in MISTAKES]
    assert len(names) == len(set(names))
    assert len(names) >= 40


def test_the_way_from_text_to_event_time_that_a_mistake_names_can_be_gone() -> None:
    with pytest.raises(errors.WrongType) as caught:
        CLICKS.event_time("seen")
    advice = str(caught.value).partition("format: ")[2].partition(";")[0].replace("%Y-%m-%d %H:%M:%S", "%Y-%m-%d")
    parsed = eval(f"CLICKS{advice}", {"CLICKS": CLICKS, "pl": pl})
    assert parsed.event_time("seen").schema["seen"] == pl.Datetime("us")


def test_describing_a_filter_calls_no_function_of_the_user() -> None:
    seen: list[int] = []

    def long(column: pl.Series) -> pl.Series:
        seen.append(column.len())
        return column > column[0]

    CLICKS.filter(pl.col("page").map_batches(long, return_dtype=pl.Boolean))
    assert seen == []


def test_both_ways_to_event_time_keep_the_rows_around_one_without_a_time(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    path.write_text("id,seen\n1,2026-01-01 10:00:00\n2,never\n3,2026-01-01 11:00:00\n")
    text = flare.read_csv(path, try_parse_dates=True)
    with pytest.raises(errors.WrongType) as caught:
        text.event_time("seen")
    parse, _, options = str(caught.value).partition("format: ")[2].partition("; rows")
    parsed = eval(f"text{parse}", {"text": text, "pl": pl}).event_time("seen")
    given = options.partition("do it: ")[2]
    typed = eval(f"flare.read_csv(path, {given})", {"flare": flare, "path": path, "pl": pl})
    for stream, rejected in ((parsed, parsed.invalid), (typed.event_time("seen"), typed.invalid)):
        assert stream.collect()["id"].to_list() == [1, 3]
        assert rejected.collect().height == 1


def test_a_stream_is_true_and_its_error_for_rows_is_what_python_expects() -> None:
    assert CLICKS
    with pytest.raises(TypeError):
        iter(CLICKS)


def test_a_job_is_asked_for_where_none_runs() -> None:
    flare.stop_all()
    with pytest.raises(errors.UnknownStage, match="no job is called `nope`; there is none"):
        flare.job("nope")
