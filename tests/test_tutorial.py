"""What the tutorials stand on: the data besides the flights, and pictures that show what they say."""

from __future__ import annotations

import datetime as dt
import io
import re

import polars as pl
from PIL import Image

import dataflare_nb as flare
from dataflare_nb.demo import data, tutorial
from dataflare_nb.engine.plot import Picture

SLACK = dt.timedelta(minutes=30)


def texts(picture: Picture) -> list[str]:
    return [text.get_text() for axes in picture.axes for text in axes.texts]


def test_flights_have_other_columns_of_the_data_set_besides() -> None:
    more = data.flights(1_000, more=["tailnum", "distance"])
    assert more.drop("tailnum", "distance").equals(data.flights(1_000))
    assert more.join(data.planes(), on="tailnum")["seats"].min() > 0
    assert more.join(data.airports(), left_on="dest", right_on="faa").select("lat", "lon").null_count().row(0) == (0, 0)


def test_weather_has_an_hour_of_each_airport_once_and_in_order() -> None:
    weather = data.weather()
    assert weather.select("time", "origin").is_unique().all()
    assert weather["time"].is_sorted()
    assert weather.schema["time"] == pl.Datetime("us", data.ZONE)
    summer = weather.filter(pl.col("time").dt.month() == 7, pl.col("precip") > 0)
    assert 0 < summer.height < weather.height


def test_rows_against_the_watermark_are_all_marked_once() -> None:
    rows = data.flights(2_000).filter(pl.col("dep_delay").is_not_null(), pl.col("origin") == "EWR")
    hourly = flare.from_frame(rows).event_time("scheduled", "30m", watermark_every=1).window(flare.tumbling("1h"))
    late = hourly.agg(n=pl.len()).late.collect()
    picture = tutorial.against_watermark(rows, late, arrival="departed", event="scheduled", slack=SLACK, title="Newark")
    legend = picture.axes[0].get_legend()
    assert legend is not None
    said = [int(found[1]) for text in legend.get_texts() if (found := re.search(r"\((\d+)\)", text.get_text()))]
    assert sum(said) == rows.height
    assert said[-1] == late.height > 0


def test_windows_stand_below_the_rows_with_their_values() -> None:
    hours = data.weather().filter(pl.col("origin") == "JFK").head(24)
    rain = flare.from_frame(hours).event_time("time")
    frames = {
        str(window): rain.window(window).agg(rain=pl.len()).collect()
        for window in (flare.tumbling("6h"), flare.hopping("6h", every="3h"))
    }
    picture = tutorial.time_line(hours, frames, title="Kennedy")
    assert [axes.get_title(loc="left") for axes in picture.axes] == ["Kennedy", *frames]
    assert texts(picture).count("6.00") >= 3
    assert picture.axes[2].get_ylim()[0] > picture.axes[1].get_ylim()[0]


def test_bars_tell_their_numbers() -> None:
    assert texts(tutorial.bars({"a": 2.0, "b": 0.5}, unit="s", title="both")) == ["2 s", "0.5 s"]


def test_a_picture_is_a_small_png_that_is_the_same_each_time() -> None:
    drawn = [tutorial.bars({"a": 1.0}, unit="s", title="one")._repr_png_() for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert Image.open(io.BytesIO(drawn[0])).mode == "P"
