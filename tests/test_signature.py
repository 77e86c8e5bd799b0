"""A call of the public face is held to its signature before it does anything."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb.errors import BadOption, DataflareError, StageFailed, UnknownColumn, WrongType, brief
from dataflare_nb.signature import held, public, spelled


@spelled
def paint(wall: Any, *, colour: str = "red") -> str:
    return colour


@held
def build(
    name: str,
    floors: int = 1,
    height: float | None = None,
    *,
    roof: Literal["flat", "steep"] = "flat",
    plan: str | Path = "plan.txt",
    rooms: Sequence[str] | None = None,
    cellar: bool = False,
    owners: Mapping[str, Any] | None = None,
    neighbour: object = None,
    **more: Any,
) -> str:
    return name


@public
class House:
    def enter(self, times: int = 1) -> int:
        return self._steps(times)

    def _steps(self, times: Any) -> int:
        return int(times)


def test_a_misspelt_keyword_is_told_the_nearest() -> None:
    assert paint("north", colour="blue") == "blue"
    with pytest.raises(
        BadOption,
        match=r"^paint at test_signature.py, line \d+ has no option `color`; "
        r"it has wall, colour\. Did you mean `colour`\?$",
    ):
        paint("north", color="blue")


@pytest.mark.parametrize(
    ("call", "says"),
    [
        (lambda: paint(), "missing a required argument: 'wall'; it takes wall, colour"),
        (lambda: paint(1, 2), "too many positional arguments"),
        (lambda: paint(1, wall=2), "multiple values for argument 'wall'"),
        (lambda: House().enter(1, 2), "too many positional arguments; it takes times"),
    ],
)
def test_a_call_that_does_not_fit_is_told_what_there_is(call: Any, says: str) -> None:
    with pytest.raises(BadOption, match=rf"at test_signature.py, line \d+: {says}"):
        call()


@pytest.mark.parametrize(
    ("option", "value", "allowed"),
    [
        ("name", 5, "a str"),
        ("name", None, "a str"),
        ("name", b"x", "a str"),
        ("floors", "2", "an int"),
        ("floors", 2.0, "an int"),
        ("floors", True, "an int"),
        ("height", "tall", "a number or None"),
        ("height", float("nan"), "a number or None"),
        ("height", False, "a number or None"),
        ("roof", 5, "'flat' or 'steep'"),
        ("plan", 5, "a str or a Path"),
        ("rooms", "kitchen", "a list of str or None"),
        ("rooms", ["kitchen", 5], "a list of str or None"),
        ("rooms", {"kitchen"}, "a list of str or None"),
        ("cellar", 1, "True or False"),
        ("owners", ["ann"], "a dict or None"),
    ],
)
def test_a_value_of_another_type_is_named_with_what_it_may_be(option: str, value: Any, allowed: str) -> None:
    with pytest.raises(WrongType, match=rf"^build at test_signature.py, line \d+: {option}=.*; it is {allowed}$"):
        build(**{"name": "home", option: value})


def test_an_expression_in_place_of_a_name_is_shown_as_it_was_written() -> None:
    with pytest.raises(WrongType, match=r"name is an expression, `n \+ 1`; compute it before, in with_columns"):
        build(pl.col("n") + 1)


def test_a_text_that_is_none_of_the_choices_is_an_option_out_of_range() -> None:
    with pytest.raises(BadOption, match="roof='round'; it is 'flat' or 'steep'"):
        build("home", roof="round")


def test_what_fits_passes_and_what_is_not_plain_is_left_to_the_function() -> None:
    assert build("home", 2, 3, roof="steep", plan=Path("x"), rooms=("a", "b"), owners={}, neighbour=3, garden=5)
    assert House().enter(3) == 3
    assert House()._steps("3") == 3


def test_text_that_utf8_cannot_hold_is_refused() -> None:
    @spelled
    def write(text: str) -> bytes:
        return text.encode()

    assert write("ü") == "ü".encode()
    with pytest.raises(BadOption, match=r"write at test_signature.py, line \d+: '\\udcff' is no text that UTF-8 can"):
        write("\udcff")


@flare.udf
def halved(price: float) -> float:
    return price / 2


class Test_what_a_traceback_shows:  # noqa: N801
    STREAM = flare.from_frame(pl.DataFrame({"price": [1.0]}))

    def frames(self, error: BaseException) -> list[str]:
        return [Path(frame.filename).name for frame in traceback.extract_tb(error.__traceback__)]

    def test_the_users_lines_and_the_name_of_the_error(self) -> None:
        with pytest.raises(UnknownColumn) as caught:
            self.STREAM.filter(pl.col("prise") > 1)
        assert self.frames(caught.value) == ["test_signature.py"]
        assert caught.value.__context__ is None

    @pytest.mark.parametrize(
        "mistake",
        [
            lambda: halved(pl.col("price") + 1),
            lambda: halved("price", "price"),
            lambda: halved("price") > 2,
            lambda: halved("price").sum(),
            lambda: bool(halved("price")),
            lambda: setattr(flare.param(1, max=5, name="bounded"), "value", 6),
            lambda: setattr(flare.param(1, name="whole"), "value", "x"),
            lambda: setattr(flare.param(1, name="typed"), "valu", 2),
            lambda: flare.Flink(parallelism=0),
            lambda: flare.Flink(4),  # type: ignore[call-arg]
            lambda: Test_what_a_traceback_shows.STREAM.late,
            lambda: Test_what_a_traceback_shows.STREAM.invalid,
            lambda: flare.Graph.from_json(b"{}"),
            lambda: flare.Stream(flare.Graph()),
        ],
    )
    def test_the_users_lines_only_wherever_it_comes_from(self, mistake: Callable[[], Any]) -> None:
        with pytest.raises(DataflareError) as caught:
            mistake()
        assert set(self.frames(caught.value)) == {"test_signature.py"}
        assert "dyn int" not in str(caught.value)

    def test_what_the_user_was_handling_stays(self) -> None:
        mine = KeyError("mine")

        def handle() -> None:
            try:
                raise mine
            except KeyError:
                self.STREAM.select("prise")

        with pytest.raises(UnknownColumn) as caught:
            handle()
        assert caught.value.__context__ is mine

    def test_of_a_cause_what_the_user_wrote(self) -> None:
        with pytest.raises(DataflareError) as caught:
            self.STREAM.map_batches(lambda frame: frame.select(1 / 0))
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        assert self.frames(caught.value.__cause__) == ["test_signature.py"]

    def test_each_wait_for_a_failed_job_by_itself(self) -> None:
        failing = self.STREAM.map_batches(lambda frame: frame.select(1 / 0), schema={"price": pl.Float64})
        failing_job = failing.run()
        for ask in (failing_job.wait, failing_job.result, failing_job.wait):
            with pytest.raises(StageFailed) as caught:
                ask()
            assert self.frames(caught.value) == ["test_signature.py"]

    def test_of_an_interrupt_where_the_user_was(self) -> None:
        def interrupted(frame: pl.DataFrame) -> pl.DataFrame:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt) as caught:
            self.STREAM.map_batches(interrupted)
        assert set(self.frames(caught.value)) == {"test_signature.py"}

    def test_everything_if_asked(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("DATAFLARE_TRACEBACK", "full")
        with pytest.raises(UnknownColumn) as caught:
            self.STREAM.filter(pl.col("prise") > 1)
        assert "asking.py" in self.frames(caught.value)
        assert caught.value.__context__ is not None

    def test_of_code_without_lines_where_an_interrupt_may_come(self) -> None:
        nowhere = compile("raise KeyboardInterrupt", "cell.py", "exec").replace(co_linetable=b"")
        with pytest.raises(KeyboardInterrupt) as caught:
            exec(nowhere)
        assert caught.tb.tb_next is not None
        assert caught.tb.tb_next.tb_lineno is None
        brief(caught.value, None)
        lines = [line for _, line in traceback.walk_tb(caught.value.__traceback__)]
        assert len(lines) == 2
        assert None not in lines
