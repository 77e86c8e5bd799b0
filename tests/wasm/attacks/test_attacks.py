"""Every attack ends in its own error, in its time, and the stage works on."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator

import pytest

from . import ATTACKS, Attack
from .attack import Ground, fight, ground

OVER = 0.2
"""Seconds an attack may hold the host beyond its budget, on a machine with other things to do; alone it is 0.05."""
TRIES = 5


def crowd() -> float:
    """Return how many want what this thread wants: the time that passes while it gets a twentieth of a second."""
    start, own = time.monotonic(), time.thread_time()
    while time.thread_time() - own < 0.05:
        pass
    return (time.monotonic() - start) / 0.05


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("ground")) as found:
        fight(ATTACKS[0], found)
        yield found


@pytest.mark.parametrize("attack", ATTACKS, ids=[attack.name for attack in ATTACKS])
def test_an_attack_ends_in_its_own_error_and_the_stage_works_on(attack: Attack, place: Ground):
    took = []
    for _ in range(TRIES):
        outcome = fight(attack, place)
        if attack.error is None:
            assert outcome.error is None
        else:
            assert type(outcome.error) is attack.error or isinstance(outcome.error, attack.error), outcome.error
            assert re.search(attack.match, str(outcome.error).partition("\n")[0] or "", re.DOTALL), outcome.error
        took.append(outcome.seconds - attack.budget_ms / 1000)
        # A busy machine may be late once; a guest that can hold the host is late each time, by all of its time.
        if took[-1] < OVER or took[-1] < OVER * crowd():
            return
    pytest.fail(f"held the host for {min(took):.3f} s more than its {attack.budget_ms} ms, in each of {TRIES} tries")


def test_there_are_enough_of_them_and_no_two_are_called_the_same():
    names = [attack.name for attack in ATTACKS]
    assert len(names) >= 60
    assert len(set(names)) == len(names)
