"""Print what each attack tries, how it ended, and how long it held the host beyond its budget."""

from __future__ import annotations

import logging
import re
import sys
import tempfile
from pathlib import Path

from . import ATTACKS
from .attack import fight, ground


def main() -> int:
    """Fight all attacks; return how many did not end as they should."""
    logging.disable(logging.CRITICAL)
    lost = 0
    late = 0.0
    with tempfile.TemporaryDirectory() as folder, ground(Path(folder)) as place:
        fight(ATTACKS[0], place)
        print(f"{'attack':46} {'ends in':22} {'budget':>9} {'over':>9}")
        for attack in ATTACKS:
            outcome = fight(attack, place)
            found = type(outcome.error).__name__ if outcome.error else "no harm"
            good = attack.error is None if outcome.error is None else _fits(attack.error, attack.match, outcome.error)
            lost += not good
            over = outcome.seconds * 1000 - attack.budget_ms
            late = max(late, over)
            print(
                f"{attack.name:46} {found:22} {attack.budget_ms:6} ms {max(over, 0):6.0f} ms{'' if good else '  LOST'}"
            )
    print(f"\n{len(ATTACKS)} attacks, {lost} lost, at most {late:.0f} ms over budget; the process is alive")
    return lost


def _fits(kind: type[Exception] | None, match: str, error: Exception) -> bool:
    return kind is not None and isinstance(error, kind) and bool(re.search(match, str(error).partition("\n")[0]))


if __name__ == "__main__":
    sys.exit(1 if main() else 0)
