"""The picture of a job: three panels from its history, equal for equal history, and a clear word without matplotlib."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.engine.job import Job
from dataflare_nb.engine.plot import figure
from dataflare_nb.runtime.probe import Sample


@dataclass
class Told:
    """A job of which only the plan, the name and a made-up history are looked at."""

    job: Job
    history: deque[Sample]
    name: str = "told"
    status: str = "finished"
    plan: Any = field(init=False)

    def __post_init__(self) -> None:
        self.plan = self.job.plan


@pytest.fixture
def job() -> Iterator[Job]:
    rows = pl.DataFrame({"at": range(1_000), "key": ["a", "b"] * 500})
    stream = flare.from_frame(rows).event_time("at", unit="s").key_by("key").window(flare.tumbling("10s"))
    job = stream.agg(n=pl.len()).named("counts").run("plotted", workers=1).wait()
    yield job
    job.stop()


def told(job: Job, points: int = 5, *, lag: int | None = 90_000_000) -> Told:
    stages = [stage.id for stage in job.plan.stages]
    history = deque(
        Sample(
            elapsed=0.5 * number,
            rows_out=dict.fromkeys(stages, 1000 * number),
            spent={
                stage: {"busy": 0.25 * number, "idle": 0.2 * number, "backpressured": 0.05 * number} for stage in stages
            },
            lag_us=dict.fromkeys(stages, lag),
        )
        for number in range(1, points + 1)
    )
    return Told(job, history)


def texts(axes: Any) -> list[str]:
    return [text.get_text() for text in axes.texts]


def test_a_job_draws_its_throughput_its_shares_of_time_and_its_lag(job: Job) -> None:
    picture = job.plot()
    assert [axes.get_title(loc="left") for axes in picture.axes] == [
        "Rows out per second",
        "What each stage spent the time on",
        "How far the watermark trails the newest event time",
    ]
    assert "plotted: finished, 1,000 rows read" in picture.get_suptitle()


def test_the_shares_are_the_numbers_in_the_bars(job: Job) -> None:
    _, shares, _ = figure(told(job)).axes  # type: ignore[arg-type]
    assert texts(shares) == ["50%", "10%", "40%"] * len(job.plan.stages)
    for row in range(len(job.plan.stages)):
        widths = [bar.get_width() for bar in shares.patches if round(bar.get_y() + bar.get_height() / 2) == row]
        assert sum(widths) == pytest.approx(1.0)


def test_rates_are_differences_over_time(job: Job) -> None:
    throughput, _, _ = figure(told(job)).axes  # type: ignore[arg-type]
    rates = throughput.patches[0].get_data().values
    assert list(rates) == [2_000.0] * 5


@pytest.mark.parametrize(
    ("lag", "unit"),
    [(500_000, "ms"), (90_000_000, "s"), (7_200_000_000, "h"), (10 * 86_400_000_000, "days"), (0, "ms")],
)
def test_the_lag_has_a_unit_that_fits(lag: int, unit: str, job: Job) -> None:
    assert figure(told(job, lag=lag)).axes[2].get_ylabel() == unit  # type: ignore[arg-type]


def test_a_stream_without_event_time_says_so_instead_of_a_lag(job: Job) -> None:
    assert texts(figure(told(job, lag=None)).axes[2]) == ["no event time"]  # type: ignore[arg-type]


def test_a_job_that_has_no_history_yet_can_be_drawn(job: Job) -> None:
    picture = figure(told(job, points=0))  # type: ignore[arg-type]
    assert picture._repr_png_().startswith(b"\x89PNG")
    assert "nothing measured yet" in picture.get_suptitle()


def test_a_long_history_is_thinned_to_what_the_eye_can_tell_apart(job: Job) -> None:
    throughput, _, _ = figure(told(job, points=600)).axes  # type: ignore[arg-type]
    edges = throughput.patches[0].get_data().edges
    assert len(edges) <= 62
    assert edges[-1] == 300.0


def test_equal_histories_give_equal_pictures(job: Job) -> None:
    assert figure(told(job))._repr_png_() == figure(told(job))._repr_png_()  # type: ignore[arg-type]


def test_stages_carry_their_name_or_what_they_do(job: Job) -> None:
    labels = [label.get_text() for label in figure(told(job)).axes[1].get_yticklabels()]  # type: ignore[arg-type]
    assert labels == ["read frame", "event time at", "counts", "result_counts"]


@pytest.mark.slow
def test_drawing_needs_neither_a_display_nor_pyplot(job: Job) -> None:
    code = (
        "import sys, polars as pl, dataflare_nb as flare\n"
        "job = flare.from_frame(pl.DataFrame({'a': [1]})).run('x', workers=1).wait()\n"
        "assert job.plot()._repr_png_()\n"
        "print('matplotlib.pyplot' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_without_matplotlib_the_extra_is_named() -> None:
    code = (
        "import sys, polars as pl, dataflare_nb as flare\n"
        "sys.modules['matplotlib'] = None\n"
        "job = flare.from_frame(pl.DataFrame({'a': [1]})).run('x', workers=1).wait()\n"
        "try:\n    job.plot()\nexcept flare.DataflareError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "dataflare-nb[notebook]" in done.stdout
