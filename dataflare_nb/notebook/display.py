"""Show a job in a notebook: live while it runs, as a picture and text when it has ended."""

from __future__ import annotations

import os
import threading
import time
import uuid
import weakref
from base64 import b64encode
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..errors import DataflareError, told
from .change import ENDED
from .wording import ending_text, outline_text

if TYPE_CHECKING:
    from .dashboard import Dashboard
    from .shown import Shown

_PATIENCE = 30.0
"""Seconds that a bounded job is waited for where only its picture is shown."""
_shown: weakref.WeakValueDictionary[int, Dashboard] = weakref.WeakValueDictionary()
_showing = threading.Lock()


def static() -> bool:
    """Whether only pictures and text are wanted: in tests, for documentation, in conversions."""
    return os.environ.get("DATAFLARE_STATIC", "") not in ("", "0")


def dashboard(job: Shown) -> Any:
    """Return the dashboard of a job, the one that is open if there is one.

    With `DATAFLARE_STATIC=1`, or when the job has ended, it is what stands in its place: the picture.
    """
    if static() or job.read().status in ENDED:
        return SavedForm(job)
    made = _live(job)
    if made is None:
        raise DataflareError(
            'a dashboard needs anywidget; install it with: pip install "dataflare-nb[notebook]", and restart the '
            "kernel. Without it there are job.metrics(), job.ledger() and job.plot()"
        )
    return made


def show(job: Shown) -> None:
    """Show a job that is the last line of a cell. A terminal shows its repr."""
    if _kernel() is None:
        raise NotImplementedError
    if static() or job.read().status in ENDED:
        SavedForm(job)._ipython_display_()
        return
    made = _live(job)
    if made is not None:
        place(made)
        return
    text = outline_text(job.outline())
    _publish({"text/plain": f'{text}\nIt is shown live with anywidget: pip install "dataflare-nb[notebook]"'}, {})


class SavedForm:
    """A job as it is saved: a picture and text. It looks at the job when it is shown."""

    def __init__(self, job: Shown) -> None:
        self._job = job

    def __repr__(self) -> str:
        return str(saved_form(self._job)[0]["text/plain"])

    def _ipython_display_(self) -> None:
        if _kernel() is None:
            raise NotImplementedError
        if static():
            _wait_a_while(self._job)
        _publish(*saved_form(self._job))


def place(shown: Dashboard) -> None:
    """Put a dashboard under this cell, and let the picture take its place when the job has ended."""
    if _kernel() is None:
        raise NotImplementedError
    name = uuid.uuid4().hex
    bundle = shown._repr_mimebundle_()
    data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
    _publish({**(data or {}), "text/plain": repr(shown)}, metadata, name)
    shown.is_placed(name)


def saved_form(job: Shown) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the picture, where matplotlib is there, and the text of a job, and how large the picture is shown.

    Numbers are those of rows. Where outputs are compared they stand only if they are the same in each run: of a bounded
    job whose input is through.
    """
    reading = job.read()
    outline = job.outline()
    numbers = reading.whole or (reading.status in ENDED and not static())
    data: dict[str, Any] = {"text/plain": ending_text(outline, reading, job.error, numbers=numbers)}
    try:
        from .picture import drawn
    except ImportError:
        return data, {}
    picture = drawn(outline, reading, job.error, numbers=numbers)
    data["image/png"] = b64encode(picture.png).decode()
    alt = data["text/plain"].partition("\n")[0]
    if job.error is not None:
        alt += "; " + " ".join(told(job.error).split())
    return data, {"image/png": {"width": picture.width, "height": picture.height, "alt": alt}}


def replace(places: Sequence[str], job: Shown) -> None:
    """Put what is saved of a job where its dashboard was."""
    if places:
        data, metadata = saved_form(job)
        for name in places:
            _publish(data, metadata, name, update=True)


def _live(job: Shown) -> Dashboard | None:
    """Return the open dashboard of a job or a new one, None without anywidget."""
    try:
        from .dashboard import Dashboard
    except ImportError:
        return None
    with _showing:
        known = _shown.get(id(job))
        if known is None or not known.of(job):
            known = _shown[id(job)] = Dashboard(job)
        return known


def _wait_a_while(job: Shown) -> None:
    """Wait for a job that will end by itself, so that the picture is that of its end."""
    deadline = time.monotonic() + _PATIENCE
    while job.bounded and job.status in ("running", "draining") and time.monotonic() < deadline:
        time.sleep(0.02)


def _kernel() -> Any:
    """Return the shell of a notebook's kernel, None in a terminal."""
    try:
        from IPython.core.getipython import get_ipython
    except ImportError:
        return None
    shell = get_ipython()
    return shell if shell is not None and getattr(shell, "kernel", None) is not None else None


def _publish(data: dict[str, Any], metadata: dict[str, Any], name: str | None = None, *, update: bool = False) -> None:
    shell = _kernel()
    if shell is not None:
        transient = {"display_id": name} if name is not None else None
        shell.display_pub.publish(data, metadata, transient=transient, update=update)
