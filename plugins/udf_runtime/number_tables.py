"""Compute the powers of ten of src/number_tables.h.

python plugins/udf_runtime/number_tables.py > plugins/udf_runtime/src/number_tables.h
"""

from __future__ import annotations

FIRST, LAST = -342, 324


def significand(power: int) -> int:
    """Return the first 128 bits of a power of ten: of one above, what is behind is cut off; others are rounded up."""
    if power >= 0:
        value = 10**power
        return value >> (value.bit_length() - 128) if value.bit_length() > 128 else value << (128 - value.bit_length())
    divisor = 10**-power
    shift = divisor.bit_length() + 128
    value = (1 << shift) // divisor
    return (value >> (value.bit_length() - 128)) + 1


def main() -> None:
    """Print the header."""
    print("/* Made by number_tables.py: the first 128 bits of the powers of ten. */")
    print(f"enum {{ FIRST_POWER = {FIRST}, LAST_POWER = {LAST} }};")
    print(f"static const u64 powers_of_ten[{LAST - FIRST + 1}][2] = {{")
    for power in range(FIRST, LAST + 1):
        value = significand(power)
        print(f"  {{0x{value >> 64:016x}u, 0x{value & (1 << 64) - 1:016x}u}},")
    print("};")


if __name__ == "__main__":
    main()
