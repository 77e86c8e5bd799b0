"""Stories of a full disk, told in a process of their own: `python -m tests.connectors.full_disk HOW FOLDER STORY`.

The disk is a small file system of its own (`mount`) or, where that is not allowed, a limit on the size of each file.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl
import pytest

import dataflare_nb as flare
from dataflare_nb import testing
from dataflare_nb.errors import SinkError, StageFailed

from .helpers import hidden, shown

MEGABYTE = 1 << 20
READERS: dict[str, Callable[..., pl.DataFrame]] = {
    "parquet": pl.read_parquet,
    "csv": pl.read_csv,
    "ndjson": pl.read_ndjson,
    "ipc": pl.read_ipc,
}


class Disk:
    """A place with 16 MB of room."""

    def __init__(self, how: str, folder: Path) -> None:
        self.path = folder / "disk"
        self.how = how
        self.path.mkdir()
        if how == "mount":
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16m,nr_inodes=64", "none", self.path], check=True)

    @contextmanager
    def full(self, left: int = MEGABYTE // 4) -> Iterator[None]:
        """Leave only so many bytes, for a while."""
        filler = self.path / ".filler"
        if self.how == "mount":
            there = os.statvfs(self.path)
            filler.write_bytes(b"-" * (there.f_bavail * there.f_frsize - left))
        else:
            resource.setrlimit(resource.RLIMIT_FSIZE, (left, resource.RLIM_INFINITY))
        try:
            yield
        finally:
            if self.how == "mount":
                filler.unlink()
            else:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    @property
    def cause(self) -> str:
        return "No space left on device" if self.how == "mount" else "File too large"


def rows(start: int, count: int) -> pl.DataFrame:
    """Make rows that nothing compresses much."""
    n = pl.int_range(start, start + count)
    return pl.select(n=n, noise=n.hash(7).reinterpret(signed=True), more=n.hash(8).reinterpret(signed=True))


FEW, MANY = rows(0, 1_000), rows(1_000, 150_000)


def visible(kind: str, target: Path) -> list[int]:
    """Return what a reader sees, in order."""
    files = [target] if target.is_file() else [target / name for name in (shown(target) if target.exists() else [])]
    return sorted(n for file in files for n in READERS[kind](file)["n"])


def sink(kind: str, stream: flare.Stream, target: Path) -> flare.Stream:
    write = getattr(stream, f"write_{kind}")
    made: flare.Stream = write(target, mode="append")
    return made


def fails(job: flare.Job, target: Path, cause: str) -> None:
    """See a job fail with the path and the cause."""
    with pytest.raises(StageFailed) as failed:
        job.wait(60)
    assert isinstance(failed.value.__cause__, SinkError), failed.value
    said = str(failed.value)
    assert str(target) in said, said
    assert cause in said, said
    assert "run it again" in said, said


def bounded(disk: Disk, kind: str, target: Path) -> None:
    """What was committed before stays, nothing of the failed run is seen or left, and the next run is complete."""
    flare.run(sink(kind, flare.from_frame(FEW), target)).wait(60)
    before = visible(kind, target)
    assert before == FEW["n"].to_list()
    with disk.full():
        # A batch at a time, so that the end of the room is met in the middle.
        fails(sink(kind, flare.from_frame(MANY), target).run(latency="1ms"), target, disk.cause)
        left = [name for name in hidden(target if target.is_dir() else target.parent) if name != ".filler"]
        assert left == [], left
        assert visible(kind, target) == before
    flare.run(sink(kind, flare.from_frame(MANY), target)).wait(60)
    assert visible(kind, target) == before + MANY["n"].to_list()


def folder(disk: Disk) -> None:
    for kind in READERS:
        bounded(disk, kind, disk.path / "in" / kind)
        empty(disk)


def single(disk: Disk) -> None:
    for kind in READERS:
        bounded(disk, kind, disk.path / "in" / f"out.{kind}")
        empty(disk)


def live(disk: Disk) -> None:
    """Each epoch that was committed before the disk was full can be read after."""
    for kind in READERS:
        target = disk.path / "live"
        feed = testing.Feed(FEW.schema)
        job = sink(kind, feed.stream, target).run(name="live", workers=1, commit_every="1ms")
        feed.give(FEW)
        wait_for(lambda kind=kind, target=target: len(visible(kind, target)) == FEW.height)
        with disk.full():
            for batch in MANY.iter_slices(10_000):
                feed.give(batch)
            fails(job, target, disk.cause)
        seen = visible(kind, target)
        assert hidden(target) == []
        # What was committed, and each row once.
        assert seen == list(range(len(seen)))
        assert len(seen) >= FEW.height
        job = sink(kind, feed.stream, disk.path / "again").run(name="live", workers=1, commit_every="1ms")
        wait_for(lambda kind=kind: len(visible(kind, disk.path / "again")) == FEW.height + MANY.height)
        job.stop()
        empty(disk)


def together(disk: Disk) -> None:
    """A sink that has room shows nothing either when another of its job has failed."""
    for kind in READERS:
        here, there = disk.path / "here", disk.path.parent / f"there-{kind}"
        stream = flare.from_frame(MANY).named("rows")

        def job(stream: flare.Stream = stream, kind: str = kind, here: Path = here, there: Path = there) -> flare.Job:
            # A tenth goes to the place that has room, or the limit would hold for it too.
            few = stream.filter(pl.col("n") % 50 == 0)
            return flare.run(sink(kind, few, there), sink(kind, stream, here), name="both", latency="1ms")

        with disk.full():
            fails(job(), here, disk.cause)
            assert visible(kind, here) == visible(kind, there) == []
            assert [hidden(place) for place in (here, there)] == [[], []], (hidden(here), hidden(there))
        job().wait(60)
        assert visible(kind, here) == MANY["n"].to_list()
        assert visible(kind, there) == [n for n in MANY["n"] if n % 50 == 0]
        empty(disk)


def no_links(disk: Disk) -> None:
    """Where not even a second name for a file finds room, what was prepared is committed by renaming it."""
    for kind in READERS:
        target = disk.path / "out"
        target.mkdir()
        spare = [disk.path / f".spare-{n}" for n in range(100)]
        try:
            for name in spare:
                name.touch()
        except OSError:
            pass
        else:
            raise AssertionError("this file system has room for any number of files")
        # Room for the one file that is staged.
        spare[0].unlink()
        flare.run(sink(kind, flare.from_frame(FEW), target)).wait(60)
        assert visible(kind, target) == FEW["n"].to_list()
        assert hidden(target) == []
        empty(disk)


def empty(disk: Disk) -> None:
    subprocess.run(["find", disk.path, "-mindepth", "1", "-delete"], check=True)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


STORIES = {story.__name__: story for story in (folder, single, live, together, no_links)}

if __name__ == "__main__":
    STORIES[sys.argv[3]](Disk(sys.argv[1], Path(sys.argv[2])))
    print("done")
