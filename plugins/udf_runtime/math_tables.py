"""Compute the tables of src/math_tables.h to far more digits than a double holds.

python plugins/udf_runtime/math_tables.py > plugins/udf_runtime/src/math_tables.h
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal, getcontext

getcontext().prec = 420
ONE = Decimal(1)
EPSILON = Decimal(10) ** -410


def arctan(x: Decimal) -> Decimal:
    """Sum the series of arctan, after halving the angle until it converges fast."""
    doubled = 0
    while abs(x) > Decimal("0.01"):
        x = x / (1 + (1 + x * x).sqrt())
        doubled += 1
    total = term = x
    n = 1
    while abs(term) > EPSILON:
        term = -term * x * x
        n += 2
        total += term / n
    return total * 2**doubled


PI = 4 * arctan(ONE)
LN2 = Decimal(2).ln()


def sine(x: Decimal) -> Decimal:
    """Sum the Taylor series of sine."""
    total = term = x
    n = 1
    while abs(term) > EPSILON:
        term = -term * x * x / ((n + 1) * (n + 2))
        n += 2
        total += term
    return total


def cosine(x: Decimal) -> Decimal:
    """Sum the Taylor series of cosine."""
    total = term = ONE
    n = 0
    while abs(term) > EPSILON:
        term = -term * x * x / ((n + 1) * (n + 2))
        n += 2
        total += term
    return total


def pair(value: Decimal) -> tuple[float, float]:
    """Return the double nearest to a value, and the double nearest to what is left."""
    high = float(value)
    return high, float(value - Decimal(high))


def cut(value: Decimal, bits: int) -> tuple[float, Decimal]:
    """Return a value rounded to a multiple of 2**-bits, and what is left."""
    high = (value * 2**bits).to_integral_value() / Decimal(2) ** bits
    return float(high), value - high


def constant(name: str, *values: float) -> str:
    """Return a C definition."""
    if len(values) == 1:
        return f"static const double {name} = {values[0].hex()};"
    return f"static const double {name}[{len(values)}] = {{{', '.join(value.hex() for value in values)}}};"


def table(name: str, rows: Iterable[tuple[float, ...]]) -> str:
    """Return a C definition of a table."""
    found = [", ".join(value.hex() for value in row) for row in rows]
    width = found[0].count(",") + 1
    body = ",\n".join(f"  {{{row}}}" for row in found)
    return f"static const double {name}[{len(found)}][{width}] = {{\n{body}\n}};"


def two_over_pi(words: int) -> str:
    """Return the fraction 2/pi as 32-bit words, the highest first."""
    bits = int((2 / PI) * 2 ** (32 * words))
    values = [bits >> (32 * (words - 1 - i)) & 0xFFFFFFFF for i in range(words)]
    return f"static const u32 two_over_pi[{words}] = {{{', '.join(f'0x{value:08x}u' for value in values)}}};"


def logs() -> Iterable[tuple[float, ...]]:
    """Yield 1/F, log F in two parts for F = n/128 around 1; the high part is a multiple of 2**-42."""
    for n in range(90, 183):
        high, rest = cut((Decimal(n) / 128).ln(), 42)
        yield float(Decimal(128) / n), high, float(rest)


def main() -> None:
    """Print the header."""
    ln2_high, ln2_rest = cut(LN2, 42)
    step_high, step_rest = cut(LN2 / 128, 42)
    half = PI / 2
    first, rest = cut(half, 32)
    second, rest = cut(rest, 65)
    third, rest = cut(rest, 98)
    lines = [
        "/* Made by math_tables.py. Pairs are a double and what it lacks. */",
        constant("ln2_high", ln2_high),
        constant("ln2_low", float(ln2_rest)),
        constant("ln2_pair", *pair(LN2)),
        constant("exp_steps", float(128 / LN2)),
        constant("exp_step_high", step_high),
        constant("exp_step_low", float(step_rest)),
        constant("log2_e", *pair(1 / LN2)),
        constant("log10_e", *pair(1 / Decimal(10).ln())),
        constant("pi_pair", *pair(PI)),
        constant("half_pi", *pair(half)),
        constant("half_pi_parts", first, second, third, float(rest)),
        constant("per_half_pi", float(2 / PI)),
        two_over_pi(40),
        table("exp_table", (pair(Decimal(2) ** (Decimal(i) / 128)) for i in range(128))),
        table("log_table", logs()),
        table("sin_table", ((*pair(sine(Decimal(i) / 64)), *pair(cosine(Decimal(i) / 64))) for i in range(52))),
        table("atan_table", (pair(arctan(Decimal(i) / 64)) for i in range(65))),
    ]
    print("\n".join(lines))


if __name__ == "__main__":
    main()
