"""One real cluster for the tests: a JobManager and two TaskManagers as processes of their own."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import dataflare_nb as flare
from dataflare_nb.deploy import versions
from dataflare_nb.deploy.local import LocalCluster
from dataflare_nb.deploy.local.environment import default_folder, java_home, ready
from dataflare_nb.errors import DataflareError

sys.path.insert(0, str(Path(__file__).parents[1]))


@pytest.fixture(scope="session")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalCluster]:
    """Skip where Java or the environment is missing, unless all tests are required."""
    required = os.environ.get("DATAFLARE_REQUIRE_ALL") == "1"
    if ".".join(map(str, sys.version_info[:2])) not in versions.PYTHONS:
        pytest.skip(f"apache-flink {versions.FLINK} is for Python {versions.PYTHONS[0]} to {versions.PYTHONS[-1]}")
    try:
        java_home()
        if not required and not ready(default_folder()):
            raise DataflareError("there is no environment of apache-flink; `make cluster` makes one, of 1.1 GB")
    except DataflareError as error:
        if required:
            pytest.fail(f"{error} (DATAFLARE_REQUIRE_ALL=1 asks for it)")
        pytest.skip(str(error))
    with flare.Flink.local(task_managers=2) as made:
        yield made


@pytest.fixture(autouse=True)
def whole(request: pytest.FixtureRequest) -> None:
    """Start each test with all TaskManagers: the one before may have cost one, which is being started again."""
    if "cluster" not in request.fixturenames:
        return
    cluster: LocalCluster = request.getfixturevalue("cluster")
    deadline = time.monotonic() + 60
    while cluster.get("/overview")["taskmanagers"] < cluster.task_managers:
        assert time.monotonic() < deadline, f"a TaskManager is gone for good; {cluster.pids}"
        time.sleep(0.2)
