"""Python functions that are compiled and compared with CPython, row by row and bit by bit."""

import math
from math import floor as down

from dataflare_nb.wasm import Udf, udf

RATE = 0.07
LIMIT = 10
BIG = 2**60 + 1


@udf
def gained(dep: float, arr: float) -> float:
    return max(dep - arr, 0.0)


@udf
def add(a: float, b: float) -> float:
    return a + b


@udf
def divide(a: float, b: float) -> float:
    return a / b


@udf
def floor_divide(a: float, b: float) -> float:
    return a // b


@udf
def modulo(a: float, b: float) -> float:
    return a % b


@udf
def polynomial(x: float, y: float) -> float:
    return 3.5 * x * x - 2 * y + x / 7 - 1e-3


@udf
def taxed(price: float) -> float:
    return price * (1 + RATE)


@udf
def ordered(price: float, quantity: int, tax: float) -> float:
    return price * quantity * (1.0 + tax)


@udf
def each(price: float, quantity: int) -> float:
    if not 0 < quantity <= 2**53:
        return -price / quantity
    return quantity - price


@udf
def whichever(a: int, b: int) -> tuple[float, bool]:
    return (0.5 if a == b else 1.5 * a if a >= b else 0.25 / b), a != 7 and b > -(2**62)


@udf
def counted_on(a: int, x: float) -> float:
    return (a + 1) * x


@udf
def negated(x: float) -> float:
    return -x


@udf
def absolute(x: float) -> float:
    return abs(x) + math.fabs(-x)


@udf
def root(x: float) -> float:
    return math.sqrt(x)


@udf
def distance(x: float, y: float) -> float:
    return math.sqrt(x * x + y * y)


@udf
def clipped(x: float) -> float:
    return min(max(x, 0.0), 100.0)


@udf
def clipped_by_ints(x: float) -> float:
    return min(max(x, 0), 100)


@udf
def least(a: float, b: float, c: float) -> float:
    return min(a, b, c)


@udf
def most(a: float, b: float, c: float) -> float:
    return max(a, b, c)


@udf
def sign(x: float) -> float:
    return 1.0 if x > 0 else -1.0 if x < 0 else x


@udf
def guarded(a: float, b: float) -> float:
    if b == 0.0:
        return 0.0
    return a / b


@udf
def banded(x: float) -> float:
    if x < 0:
        x = -x
    elif 10 <= x < 20:
        x = x * 2.0
    else:
        x += 1
    return x


@udf
def named_steps(a: float, b: float) -> float:
    """Text is left out."""
    half = (a + b) / 2
    spread = abs(a - b)
    return half + spread * 0.25


@udf
def missing_to_zero(x: float) -> float:
    return 0.0 if math.isnan(x) else x


@udf
def sum_of_ints(a: int, b: int) -> int:
    return a + b


@udf
def difference(a: int, b: int) -> int:
    return a - b


@udf
def product(a: int, b: int) -> int:
    return a * b


@udf
def quotient(a: int, b: int) -> int:
    return a // b


@udf
def remainder(a: int, b: int) -> int:
    return a % b


@udf
def ratio(a: int, b: int) -> float:
    return a / b


@udf
def opposite(a: int) -> int:
    return -a


@udf
def magnitude(a: int) -> int:
    return abs(a)


@udf
def cube(a: int) -> int:
    return a**3


@udf
def seventh(a: int) -> int:
    return 2 * a**7 + a**0 - a**1


@udf
def bits(a: int, b: int) -> int:
    return (a & b) ^ (a | ~b)


@udf
def shifted(a: int, b: int) -> int:
    return (a >> b) + (a << 3)


@udf
def shifted_left(a: int, b: int) -> int:
    return a << b


@udf
def int_meets_float(a: int, x: float) -> bool:
    return a < x or a == x


@udf
def float_meets_int(x: float, a: int) -> bool:
    return x >= a and x != a


@udf
def int_meets_float_both(a: int, x: float) -> int:
    return int(a <= x) + 2 * int(a > x) + 4 * int(a >= x) + 8 * int(x < a) + 16 * int(x == a) + 32 * int(a != x)


@udf
def mixed_arithmetic(a: int, x: float) -> float:
    return a * x + a - x / 3


@udf
def big_constant(a: int) -> bool:
    return a > BIG


@udf
def truncated(x: float) -> int:
    return int(x)


@udf
def rounded(x: float) -> int:
    return round(x)


@udf
def floored(x: float) -> int:
    return down(x) + 1


@udf
def ceiled(x: float) -> int:
    return math.ceil(x) if x < 0 else math.trunc(x)


@udf
def as_float(a: int) -> float:
    return float(a)


@udf
def chained(a: int, b: int) -> bool:
    return 0 <= a < b != 7


@udf
def logic(p: bool, q: bool) -> bool:
    return (p and not q) or (q and not p) or p & q


@udf
def bools_as_ints(p: bool, a: int) -> int:
    return p + a * (p == False) + True  # noqa: E712


@udf
def or_default(x: float, y: float) -> float:
    return x or y


@udf
def and_value(a: int, b: int) -> int:
    return a and b


@udf
def short_circuit(a: float, b: float) -> bool:
    return b != 0 and a / b > 1


@udf
def quarters(x: float, y: float) -> tuple[float, bool, float]:
    if x < y:
        return x / y, True, x + y
    return (x, x == y, y) if y > 0 else (-x, False, 0.0)


@udf
def kinds_of_float(x: float) -> int:
    if math.isnan(x):
        return 0
    if math.isinf(x):
        return 1
    return 2 if math.isfinite(x) and x else 3


@udf
def signed(x: float, y: float) -> float:
    return math.copysign(x, y)


@udf
def c_remainder(x: float, y: float) -> float:
    return math.fmod(x, y)


@udf
def collatz(n: int) -> int:
    if n <= 0 or n > 1000:
        return -1
    steps = 0
    while n > 1:
        if n % 2 == 0:
            n //= 2
        else:
            n = 3 * n + 1
        steps += 1
    return steps


@udf
def series(x: float, n: int) -> float:
    total = 0
    term = 1.0
    for i in range(n % 20):
        if i == 13:
            break
        if i % 3 == 2:
            continue
        total += term
        term = term * x / (i + 1)
    return total


@udf
def countdown(a: int) -> int:
    last = -1
    seen = 0
    for i in range(a % 30, -5, -3):
        last = i
        seen += 1
    return last * 100 + seen


@udf
def far_ranges(a: int, b: int) -> int:
    seen = 0
    for i in range(a, b, 4611686018427387904):
        seen = seen + 1 + i * 0
    return seen


@udf
def stepped(a: int) -> int:
    seen = 0
    for i in range(0, 10, a % 4):
        seen += i
    return seen


@udf
def fibonacci(n: int) -> int:
    a, b = n * 0, n * 0 + 1
    for _ in range(n % 120):
        a, b = b, a + b
    return a


@udf
def endless_with_break(x: float) -> int:
    n = 0
    while True:
        n += 1
        x = x * 0.5
        if not 1.0 < x < 1e300:
            break
    return n if n < LIMIT else LIMIT


@udf
def early(a: int) -> int:
    for i in range(10):
        for j in range(10):
            if i * j == a:
                return i + j
    return -1


@udf
def through_others(a: float, b: float) -> float:
    return gained(a, b) + clipped(series(a, 5)) / divide(b, 2.0)


@udf
def refused(a: float) -> float:
    if a < 0:
        raise ValueError("no negative prices")
    assert a < 1e6, "too dear"
    return a


def functions_by_name() -> dict[str, Udf]:
    """Return all of them."""
    return {name: found for name, found in globals().items() if isinstance(found, Udf)}
