"""What a user sees of `@udf`: calls on columns and numbers, types, nulls, and errors that point at the source."""

from __future__ import annotations

import functools
import gc
import re
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest

from dataflare_nb.errors import UdfError, WasmConfiguration, WasmInterrupted, WasmPluginExecution, WasmTimeout
from dataflare_nb.wasm import Kernel, KernelPool, Udf, UdfCall, UdfFailed, udf
from dataflare_nb.wasm.columns import Slot
from dataflare_nb.wasm.kernel_layout import CHUNK

from . import functions
from .functions import divide, gained
from .made import made

FRAME = pl.DataFrame({"a": [10.0, None, 3.0, 8.0], "b": [4, 5, None, 9]})


def test_a_call_on_column_names_describes_a_stage():
    call = gained("dep_delay", pl.col("arr_delay"))
    assert call == UdfCall(gained, ("dep_delay", "arr_delay"))
    assert repr(call) == "gained(dep_delay, arr_delay)"


def test_a_call_on_numbers_runs_the_function_itself():
    assert gained(5.0, 2.0) == 3.0
    result = gained(5, 2)
    assert result == 3.0
    assert type(result) is float
    assert gained(None, 2.0) is None
    with pytest.raises(ZeroDivisionError):
        divide(1.0, 0.0)


def test_arguments_that_do_not_fit_are_named():
    with pytest.raises(TypeError, match="takes 2 arguments, not 1: `arr` is missing"):
        gained("a")
    with pytest.raises(TypeError, match="takes 2 arguments, not 3"):
        gained("a", "b", "c")
    with pytest.raises(TypeError, match=r"gained\(dep, arr\) takes dep, arr, each once. Did you mean `arr`"):
        gained("a", ar="b")
    with pytest.raises(TypeError, match=r"`a` is int and was given 1\.5"):
        functions.product(1.5, 2)
    with pytest.raises(UdfError, match="not a plain column"):
        gained(pl.col("a") + 1, "b")


def test_it_is_a_polars_expression_on_any_frame():
    out = FRAME.with_columns(gained.expr("a", "b"), share=divide.expr(pl.col("a") * 2, "a"))
    assert out.schema == {"a": pl.Float64, "b": pl.Int64, "gained": pl.Float64, "share": pl.Float64}
    assert out["gained"].to_list() == [6.0, None, None, 0.0]
    assert out["share"].to_list() == [2.0, None, 2.0, 2.0]
    lazy = FRAME.lazy().with_columns(gained.expr("a", "b"))
    assert lazy.collect_schema()["gained"] == pl.Float64
    assert lazy.collect()["gained"].to_list() == [6.0, None, None, 0.0]


def test_what_a_udf_says_about_itself():
    assert gained.name == "gained"
    assert gained.params == (Slot("dep", "float"), Slot("arr", "float"))
    assert gained.outputs == (Slot("gained", "float"),)
    assert gained.dtype == pl.Float64
    assert functions.sign.dtype == pl.Float64
    assert functions.product.dtype == pl.Int64
    assert functions.chained.dtype == pl.Boolean
    assert gained.source_location.startswith("functions.py, line ")
    assert gained.wasm_bytes.startswith(b"\0asm")
    assert len(gained.sha256) == 64
    assert repr(gained).startswith("<udf gained(dep: float, arr: float) -> float")


def test_the_same_source_compiles_to_the_same_sum():
    assert Udf(gained.function).sha256 == gained.sha256
    assert Udf(gained.function).sha256 != divide.sha256


def test_a_kernel_is_read_back_from_its_bytes():
    kernel = Kernel.load(divide.wasm_bytes)
    assert kernel.facts == divide.kernel.facts
    assert kernel.sha256 == divide.sha256
    pool = KernelPool(kernel)
    assert pool.call([FRAME["a"], FRAME["b"]]).to_list() == [2.5, None, None, 8 / 9]
    assert pool.pool.ticking
    pool.close()


@pytest.mark.parametrize("dtype", [pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64])
def test_any_int_column_is_an_int_or_a_float(dtype: type[pl.DataType]):
    column = pl.Series("n", [1, None, 100], dtype=dtype)
    assert functions.product.call([column, column]).to_list() == [1, None, 10000]
    assert gained.call([column, column]).to_list() == [0.0, None, 0.0]


def test_a_float32_column_is_a_float():
    assert functions.taxed.call([pl.Series("x", [1.5], dtype=pl.Float32)]).to_list() == [1.5 * (1 + 0.07)]


def test_an_int_too_large_for_64_bits_is_named():
    with pytest.raises(WasmPluginExecution, match=r"column `n` \(UInt64\) holds values that do not fit into Int64"):
        functions.opposite.call([pl.Series("n", [2**63], dtype=pl.UInt64)])


@pytest.mark.parametrize(
    ("function", "column"),
    [
        (functions.opposite, pl.Series("x", [1.5])),
        (functions.taxed, pl.Series("x", ["1"])),
        (functions.taxed, pl.Series("x", [True])),
        (functions.bools_as_ints, pl.Series("x", [1])),
    ],
    ids=["float for int", "text for float", "bool for float", "int for bool"],
)
def test_a_column_of_another_type_is_named_with_a_way_out(function: Udf, column: pl.Series):
    with pytest.raises(
        WasmConfiguration, match=r"column `x` is \w+ and parameter `\w+: \w+`; convert it before: .*cast"
    ):
        function.call([column] * len(function.params))


def test_an_all_null_column_gives_nulls():
    assert gained.call([pl.Series("a", [None, None]), pl.Series("b", [1.0, 2.0])]).to_list() == [None, None]


def test_nulls_are_skipped_not_computed():
    a = pl.Series("a", [1.0] * 140_000)
    b = pl.Series("b", [None if i % 3 else 2.0 for i in range(140_000)])
    assert divide.call([a, b]).to_list() == [None if i % 3 else 0.5 for i in range(140_000)]
    assert functions.collatz.call([pl.Series("n", [None, 27], dtype=pl.Int64)]).to_list() == [None, 111]


@pytest.mark.parametrize("rows", [0, 1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 3])
def test_any_number_of_rows(rows: int):
    frame = pl.select(a=pl.int_range(rows).cast(pl.Float64), b=pl.lit(2.0))
    frame = frame.with_columns(b=pl.repeat(2.0, rows)) if rows else frame.clear()
    out = divide.call(frame.get_columns())
    assert out.equals(frame["a"] / 2, null_equal=True) or rows == 0
    assert out.len() == rows


def test_slices_and_chunks_are_read_right():
    whole = pl.Series("x", [None if i % 7 == 0 else float(i) for i in range(1000)])
    both = pl.concat([whole, whole], rechunk=False)
    for start in (0, 1, 5, 8, 13):
        part = both[start : start + 1500]
        assert functions.negated.call([part]).equals(-part)
    flags = pl.Series("p", [None if i % 5 == 0 else i % 2 == 0 for i in range(100)])
    assert functions.logic.call([flags[3:], flags[:-3]]).equals(flags[3:] ^ flags[:-3] | flags[3:] & flags[:-3])


def test_a_failing_row_is_named_with_its_line():
    a = pl.Series("a", [1.0] * 90_000)
    b = pl.Series("b", [0.0 if i == 70_001 else 1.0 for i in range(90_000)])
    with pytest.raises(UdfFailed) as caught:
        divide.call([a, b])
    assert caught.value.row == 70_001
    assert caught.value.error == "ZeroDivisionError"
    where = "at row 70001 of the batch (a=1.0, b=0.0), functions.py, line "
    assert f"divide: ZeroDivisionError: float division by zero {where}" in str(caught.value)
    assert str(caught.value).endswith("`return a / b`")


def test_a_row_that_fails_in_another_udf_names_that_one():
    with pytest.raises(UdfFailed, match=r"nested: ZeroDivisionError.* at row 0 .*, line 3 of divide: `return a / b`"):
        nested.call([pl.Series([1.0])])


def test_failing_rows_are_told_apart():
    a = pl.Series("a", [1.0] * 140_000)
    b = pl.Series("b", [0.0 if i % 30_000 == 5 else 2.0 for i in range(140_000)])
    pool = KernelPool(divide.kernel)
    outcome = pool.apart([a, b])
    assert outcome.failed is not None
    assert (outcome.failed != 0).arg_true().to_list() == [5, 30005, 60005, 90005, 120005]
    assert outcome.columns[0].value_counts(sort=True)["divide"].to_list() == [0.5, 0.0]
    pool.close()


def test_an_error_raised_by_the_function_is_told():
    with pytest.raises(UdfFailed, match="ValueError: no negative prices at row 1"):
        functions.refused.call([pl.Series([1.0, -1.0])])
    with pytest.raises(UdfFailed, match="AssertionError: too dear at row 0"):
        functions.refused.call([pl.Series([1e7])])


def test_overflow_is_an_error_and_never_a_wrong_number():
    with pytest.raises(UdfFailed, match="OverflowError: the result does not fit into 64 bits at row 1"):
        functions.product.call([pl.Series([2, 2**62]), pl.Series([2, 2])])


@udf
def nested(a: float) -> float:
    return divide(a, 0.0)


@udf(max_execution_time="100ms")
def endless(x: float) -> float:
    while x > 0:
        x = x + 0
    return x


@udf(max_execution_time="1h")
def patient(x: float) -> float:
    while x > 0:
        x = x + 0.0
    return x


def test_a_loop_without_an_end_is_stopped(within):
    place = re.escape(endless.source_location)
    told = rf"^@udf endless \({place}\): ran longer than its 100 ms .*@flare.udf\(max_execution_time=...\)$"
    with within(0.3), pytest.raises(WasmTimeout, match=told) as raised:
        endless.call([pl.Series([1.0])])
    assert raised.value.plugin == "endless"
    with pytest.raises(WasmTimeout, match=r"@udf endless .* ran longer than its 100 ms"):
        KernelPool(endless.kernel).apart([pl.Series([1.0])])
    assert endless.call([pl.Series([-1.0])]).to_list() == [-1.0]


def test_an_interrupt_stops_a_loop(within):
    pool = KernelPool(patient.kernel)
    caught: list[BaseException] = []

    def work() -> None:
        try:
            pool.call([pl.Series([1.0])])
        except WasmInterrupted as error:
            caught.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    time.sleep(0.1)
    with within(0.5):
        pool.interrupt()
        thread.join(30)
    assert caught
    pool.close()


def test_many_threads_share_a_udf():
    columns = [pl.Series([float(i) for i in range(5000)]), pl.Series([2.0] * 5000)]
    expected = divide.call(columns)
    wrong: list[int] = []

    def work() -> None:
        wrong.extend(i for i in range(30) if not divide.call(columns).equals(expected))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_closure_is_read_when_the_function_is_decorated():
    factor = 2.5

    @udf
    def scaled(x: float) -> float:
        return x * factor

    factor = 3.5
    assert scaled.call([pl.Series([2.0])]).to_list() == [5.0]


def test_an_unknown_annotation_is_refused():
    with pytest.raises(UdfError, match="an annotation cannot be read: name 'Unknown' is not defined"):

        @udf
        def f(x: Unknown) -> float:  # type: ignore[name-defined]  # noqa: F821
            return 1.0


def test_source_that_is_gone_is_said():
    scope: dict[str, object] = {}
    exec("def f(x: float) -> float:\n    return x", scope)
    with pytest.raises(UdfError, match="cannot be read; define it in a file, a notebook cell or IPython"):
        udf(scope["f"])  # type: ignore[arg-type]


def test_what_is_typed_at_pythons_own_prompt_is_named() -> None:
    scope: dict[str, object] = {}
    exec(compile("def f(x: float) -> float:\n    return x", "<stdin>", "exec"), scope)
    with pytest.raises(UdfError, match=r"Python's own prompt keeps what is typed from 3\.13 on; define it in a file"):
        udf(scope["f"])  # type: ignore[arg-type]


def test_a_coroutine_is_not_taken_for_a_lambda() -> None:
    async def later(x: float) -> float:
        return x

    with pytest.raises(UdfError, match=r"a function written with `def`$"):
        udf(later)


def test_a_module_that_is_no_udf_is_not_a_kernel():
    from dataflare_nb.errors import WasmPluginLoad

    for module in (b"", b"\0asm\1\0\0\0", b"\0asm\1\0\0\0\0\xff", gained.wasm_bytes[:-5]):
        with pytest.raises(WasmPluginLoad, match="not a compiled udf"):
            Kernel.load(module)


@pytest.mark.slow
def test_a_function_compiles_to_the_same_sum_wherever_it_stands():
    import linecache
    import subprocess
    import sys

    sums = set()
    for filename, blank in (("cell_a.py", 0), ("cell_b.py", 7)):
        text = "\n" * blank + "def f(a: float, b: float) -> float:\n    return a / b\n"
        linecache.cache[filename] = (len(text), None, text.splitlines(keepends=True), filename)
        scope: dict[str, object] = {}
        exec(compile(text, filename, "exec"), scope)
        made = udf(scope["f"])  # type: ignore[arg-type]
        assert made.source_location == f"{filename}, line {blank + 1}"
        with pytest.raises(UdfFailed, match=f"at row 0 of the batch .*, {filename}, line {blank + 2}: `return a / b`"):
            made.call([pl.Series([1.0]), pl.Series([0.0])])
        sums.add(made.sha256)
    assert len(sums) == 1
    program = "import sys; sys.path[:0] = sys.argv[1:]; from functions import through_others as f; print(f.sha256)"
    places = [str(Path(__file__).parent), str(Path(__file__).parents[2])]
    there = subprocess.run([sys.executable, "-c", program, *places], capture_output=True, text=True, check=True)
    assert there.stdout.strip() == functions.through_others.sha256


def test_a_stored_kernel_counts_lines_from_its_own_first():
    kernel = Kernel.load(divide.wasm_bytes)
    pool = KernelPool(kernel)
    with pytest.raises(UdfFailed, match=r"at row 0 of the batch .*, line 3 of divide: `return a / b`"):
        pool.call([pl.Series([1.0]), pl.Series([0.0])])
    pool.close()


def test_a_function_wrapped_by_another_decorator_is_refused() -> None:
    def plus_one(function: Callable[[float], float]) -> Callable[[float], float]:
        @functools.wraps(function)
        def call(x: float) -> float:
            return function(x) + 1.0

        return call

    with pytest.raises(UdfError, match=r"`q` is wrapped by another decorator; put @flare.udf innermost"):

        @udf
        @plus_one
        def q(x: float) -> float:
            return x * 2.0


@pytest.mark.parametrize("signature", ["(x: float) -> float", "(x: int) -> int", "(x: str) -> str"])
def test_a_function_that_is_dropped_frees_its_memory_without_a_collector(signature: str):
    body = {"float": "x * 2.0", "int": "n = 0\nwhile n < x:\n    n += 3\nreturn n", "str": "x.upper() + '!'"}
    kind = signature.split()[1][:-1]
    function = made(signature, body[kind])
    column = pl.Series([1, 2]).cast({"float": pl.Float64, "int": pl.Int64, "str": pl.String}[kind])
    gc.disable()
    try:
        function.call([column])
        instance = weakref.ref(function._pool.pool._machine.idle[0])
        del function
        assert instance() is None
    finally:
        gc.enable()
