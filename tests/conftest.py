"""What all tests share."""

from __future__ import annotations

import os
import tempfile

from hypothesis import HealthCheck, settings

settings.register_profile("default", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("thorough", max_examples=1_000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "default"))

# No test reads or leaves anything in the user's own folders.
_OWN = tempfile.TemporaryDirectory(prefix="dataflare-tests-")
os.environ["XDG_CONFIG_HOME"] = _OWN.name + "/config"
os.environ["DATAFLARE_CACHE_DIR"] = _OWN.name + "/cache"
os.environ.pop("DATAFLARE_REQUIRE_SIGNED", None)
os.environ.pop("DATAFLARE_TRUST", None)
