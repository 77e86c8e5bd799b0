"""Which integer Flink must be given as a key, so that the shares of the keys lie evenly over its key groups.

Flink finds the key group of a key by murmur-hashing its `hashCode`, and PyFlink's key is a row around ours. With keys
counted from 0 some instances would have twice the shares of others; so the keys are chosen.
"""

from __future__ import annotations

import functools

_ROW = 62
"""What the `hashCode` of a row of one int is more than the int, in the version of Flink that is pinned."""
_MASK = 0xFFFFFFFF


def key_group(key: int, key_groups: int) -> int:
    """Return the key group that Flink puts an int key of PyFlink into."""
    mixed = (key + _ROW) * 0xCC9E2D51 & _MASK
    mixed = _rotated(mixed, 15) * 0x1B873593 & _MASK
    mixed = (_rotated(mixed, 13) * 5 + 0xE6546B64 & _MASK) ^ 4
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        mixed = (mixed ^ mixed >> shift) * factor & _MASK
    signed = mixed - (1 << 32) if mixed >> 31 else mixed
    return abs(signed) % key_groups if signed != -(1 << 31) else 0


def instance(group: int, key_groups: int, parallelism: int) -> int:
    """Return the instance that has a key group."""
    return group * parallelism // key_groups


@functools.lru_cache(maxsize=8)
def keys(shares: int, key_groups: int) -> tuple[int, ...]:
    """Return the key of each share, evenly spaced over the key groups."""
    wanted = {share * key_groups // shares: share for share in range(shares)}
    found: dict[int, int] = {}
    key = 0
    while len(found) < shares:
        share = wanted.get(key_group(key, key_groups))
        if share is not None:
            found.setdefault(share, key)
        key += 1
    return tuple(found[share] for share in range(shares))


def _rotated(value: int, by: int) -> int:
    return (value << by | value >> (32 - by)) & _MASK
