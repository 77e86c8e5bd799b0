"""What all tests share."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("default", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# No test reads or leaves anything in the user's own folders.
_OWN = tempfile.TemporaryDirectory(prefix="dataflare-tests-")
os.environ["XDG_CONFIG_HOME"] = _OWN.name + "/config"
os.environ["DATAFLARE_CACHE_DIR"] = _OWN.name + "/cache"
# But a gigabyte is not made anew for each run.
os.environ.setdefault("DATAFLARE_FLINK_ENV", str(Path(__file__).parents[1] / ".venv-flink"))
os.environ.pop("DATAFLARE_REQUIRE_SIGNED", None)
os.environ.pop("DATAFLARE_TRUST", None)


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    start, stalled = time.monotonic(), _stalled()
    yield
    took, waited = time.monotonic() - start, _stalled() - stalled
    assert took - waited < seconds, f"took {took:.3f} s, of which {waited:.3f} s somebody waited for a processor"


def _stalled() -> float:
    """Return the seconds in which anything on this machine has waited for a processor; 0 where nobody counts them."""
    try:
        return int(Path("/proc/pressure/cpu").read_text().partition("total=")[2].split()[0]) / 1e6
    except OSError:
        return 0.0


@pytest.fixture
def within() -> Callable[[float], AbstractContextManager[None]]:
    """Hold a block to so many seconds, not counting those in which the machine was busy with something else."""
    return _within
