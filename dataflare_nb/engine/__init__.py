"""The local engine: a loop around hosts."""

from .job import Job
from .local import job, jobs, run, stop_all
from .report import WindowReport

__all__ = ["Job", "WindowReport", "job", "jobs", "run", "stop_all"]
