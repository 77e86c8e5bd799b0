"""What a display needs of a job, whether it runs in this process or on a cluster."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from ..runtime.outline import Outline
from ..runtime.probe import Probe
from ..types import Batch


class Shown(Probe, Protocol):
    """A job as displays see it. What only jobs of this process have raises AttributeError with the reason elsewhere."""

    @property
    def status(self) -> str: ...
    @property
    def error(self) -> BaseException | None: ...
    @property
    def bounded(self) -> bool:
        """Whether it is known to end by itself."""
        ...

    def outline(self) -> Outline: ...
    def steering(self) -> Mapping[str, Callable[[], str]]: ...
    @property
    def peek(self) -> Callable[..., Batch]: ...
    @property
    def explain_window(self) -> Callable[..., Any]: ...
