"""The live dashboard of a job: frames to the page, and what its buttons and clicks ask for."""

from __future__ import annotations

import struct
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anywidget
import traitlets

from ..engine import jobs
from ..errors import told
from ..runtime.outline import Outline
from .change import EDGE, ENDED, NODE, UNEXPECTED, Frame, fields
from .display import place, replace
from .feed import Feed
from .flow import HZ, Flow
from .looking import history, peeked, windows
from .wording import outline_text

if TYPE_CHECKING:
    from .shown import Shown

STATIC = Path(__file__).parent / "static"
_feeds: weakref.WeakValueDictionary[int, Feed] = weakref.WeakValueDictionary()
_feeding = threading.Lock()
_crowd: weakref.WeakSet[Flow] = weakref.WeakSet()


class Dashboard(anywidget.AnyWidget):  # type: ignore[misc, unused-ignore]
    """The dashboard of one job. It may be shown many times, and all of them are one model.

    Traits hold what rarely changes; frames go as messages, the newest wins, and only as many as the page paints.
    Handlers run on whatever thread the kernel chooses, so that a cell that blocks holds no click up.
    """

    _esm = STATIC / "dashboard.js"
    _css = STATIC / "dashboard.css"
    graph = traitlets.Dict().tag(sync=True)
    fields = traitlets.Dict().tag(sync=True)
    status = traitlets.Unicode("running").tag(sync=True)
    error = traitlets.Unicode("").tag(sync=True)
    can = traitlets.List(traitlets.Unicode()).tag(sync=True)
    hz = traitlets.Float(HZ).tag(sync=True)
    last = traitlets.Dict().tag(sync=True)

    def __init__(self, job: Shown) -> None:
        self._job: Callable[[], Shown | None] = lambda: job
        self._outline = job.outline()
        now = job.read()
        self._flow = Flow(crowd=_crowd)
        self._logged = -1
        self._busy: set[str] = set()
        self._places: list[str] = []
        self._door = threading.RLock()
        self._closed = self._over = False
        super().__init__(
            graph=self._outline.document(),
            fields=fields(remote=now.totals is not None),
            status=now.status,
            can=list(job.steering()),
        )
        self.on_msg(self._hear)
        self._feed = _joined(job, self._outline, self)

    def open(self) -> None:
        """Open the comm, and let clicks come in wherever the page asks.

        ipykernel 7.4 sends the next message on a comm to the shell that published on it last. The feed publishes all
        the time, and its messages count as those of the main shell: a cell that blocks it would hold up each click.
        """
        super().open()
        if hasattr(self.comm, "_reply_subshell_for"):
            self.comm._reply_subshell_for = None

    def close(self) -> None:
        """Take the dashboard away, wherever it is shown. The job goes on."""
        with self._door:
            if self._closed:
                return
            self._closed = True
            self._flow.close()
        self._feed.leave(self)
        super().close()
        # A model of its own, that nobody else closes.
        self.layout.close()

    def of(self, job: Shown) -> bool:
        """Tell whether this is an open dashboard of that job."""
        return not self._closed and self._job() is job

    def is_placed(self, name: str) -> None:
        """Take note of an output that the picture replaces when the job has ended, at once if it has."""
        job = self._job()
        with self._door:
            self._places.append(name)
            over = self._over
        if over and job is not None:
            replace([name], job)

    def __repr__(self) -> str:
        return outline_text(self._outline)

    def _ipython_display_(self) -> None:
        place(self)

    # What the feed tells

    def seen(self) -> bool:
        """Tell whether a page wants more than a sign of life."""
        with self._door:
            return self._flow.watched

    def take(self, frame: Frame) -> None:
        """Send a frame if the page can take it."""
        if frame.status not in ENDED and frame.status != self.status:
            self.status = frame.status
        with self._door:
            if self._flow.wants(time.monotonic(), _size(frame)):
                self._send_frame(frame)

    def end(self, frame: Frame) -> None:
        """Show how it ended, and let go of the job."""
        job = self._job()
        if job is not None:
            self._job = weakref.ref(job)
        with self._door:
            self._send_frame(frame)
            self._over = True
            places = list(self._places)
        self.last = frame.document()
        self.error = told(job.error) if job is not None and job.error is not None else ""
        self.status = frame.status
        if job is not None:
            replace(places, job)
            with self._door:
                seen = self._flow.views > 0
            if not seen and job not in jobs().values():
                # The cell has been run again. Else a page that is closed may come back, and show this.
                self.close()

    def _send_frame(self, frame: Frame) -> None:
        if self._closed:
            return
        log = frame.log_after(self._logged)
        self._logged = log[-1]["n"] if log else self._logged
        seq = self._flow.frame(time.monotonic(), _size(frame) + sum(len(line["text"]) + 60 for line in log))
        self.send({"t": "frame", "seq": seq, **frame.words(), "log": log}, buffers=[frame.numbers()])

    # What the page says

    def _hear(self, _: Any, said: Any, __: Any) -> None:
        match said:
            case {"t": "ack", "seq": int(seq)}:
                with self._door:
                    self._flow.ack(seq)
            case {"t": "hello", **more}:
                self._greet(_view(more))
            case {"t": "view", "visible": visible, **more}:
                self._look(_view(more) or "", visible=bool(visible))
            case {"t": "bye", **more}:
                self._look(_view(more) or "", visible=None)
            case {"t": "do", "do": str(action)}:
                self._do(action)
            case {"t": "peek", "id": asked, "node": int(place)} if 0 <= place < len(self._outline.stages):
                self._answer("rows", asked, lambda job: peeked(job, self._outline.stages[place]))
            case {"t": "peek", "id": asked, "edge": int(place)} if 0 <= place < len(self._outline.pipes):
                pipe = self._outline.pipes[place]
                self._answer("rows", asked, lambda job: peeked(job, self._outline.stages[pipe.sender], pipe.tag))
            case {"t": "windows", "id": asked, "node": int(place)} if 0 <= place < len(self._outline.stages):
                stage = self._outline.stages[place]
                # It waits for the batch that the stage is at.
                self._apart("windows", lambda: self._answer("windows", asked, lambda job: windows(job, stage)))
            case _:
                pass

    def _greet(self, view: str | None) -> None:
        """Give a view that has opened the past, and a frame at once."""
        job = self._job()
        with self._door:
            self._flow.hello(view)
            self._logged = -1
            if job is None or self._closed:
                return
            times, rates = history(job, self._outline)
            numbers = struct.pack(f"<{len(rates)}d", *rates)
            self._say({"t": "history", "elapsed": times}, numbers)
            shown = self._feed.look()
            if shown is not None:
                self._send_frame(shown)
        self._feed.hurry()

    def _look(self, view: str, *, visible: bool | None) -> None:
        """A view is seen, is hidden, or (None) is gone."""
        with self._door:
            if visible is None:
                self._flow.bye(view)
            else:
                self._flow.look(view, visible)
            # The picture has taken the place of every view, and the page has seen that.
            replaced = visible is None and self._over and self._places and not self._flow.views
        if replaced:
            self.close()
        else:
            self._feed.hurry()

    def _do(self, action: str) -> None:
        job = self._job()
        act = job.steering().get(action) if job is not None else None
        if act is None or job is None:
            self._done(action, f"this job cannot {action}")
            return
        with self._door:
            if action in self._busy:
                return
            self._busy.add(action)
        self._say({"t": "doing", "do": action})
        self._apart(action, lambda: self._act(job, action, act))

    def _act(self, job: Shown, action: str, act: Callable[[], str]) -> None:
        error, did = None, ""
        try:
            did = act()
        except UNEXPECTED as failed:
            error = told(failed)
        with self._door:
            self._busy.discard(action)
        self._done(action, error, did, job.status)
        if job.status not in ENDED and not self._closed:
            self.status = job.status
        self._feed.hurry()

    def _done(self, action: str, error: str | None, did: str = "", status: str = "") -> None:
        self._say({"t": "done", "do": action, "error": error, "did": did, "status": status or self.status})

    def _answer(self, kind: str, asked: Any, look: Callable[[Shown], Mapping[str, Any]]) -> None:
        """Answer a question about rows, and if they cannot be had, why."""
        job = self._job()
        try:
            found = look(job) if job is not None else _nothing("the job has ended, and its rows are gone")
        except UNEXPECTED as error:
            found = _nothing(told(error))
        self._say({"t": kind, "id": asked, **found})

    def _say(self, message: Mapping[str, Any], numbers: bytes | None = None) -> None:
        with self._door:
            if self._closed:
                return
            self._flow.count(time.monotonic(), len(str(message)) + len(numbers or b""))
            self.send(message, buffers=[numbers] if numbers is not None else None)

    def _apart(self, what: str, work: Callable[[], None]) -> None:
        """Do what may take its time, out of the way of the next click."""
        threading.Thread(target=work, name=f"dataflare:{self._outline.name}:{what}", daemon=True).start()


def _joined(job: Shown, outline: Outline, shown: Dashboard) -> Feed:
    """Return the feed of a job, which tells this dashboard from now on; a new one if the job's has told of its end."""
    with _feeding:
        known = _feeds.get(id(job))
        if known is None or not known.join(shown, job):
            known = _feeds[id(job)] = Feed(job, outline)
            known.join(shown, job)
        return known


def _size(frame: Frame) -> int:
    return 8 * (len(frame.nodes) * len(NODE) + len(frame.edges) * len(EDGE)) + 600


def _view(said: Mapping[Any, Any]) -> str | None:
    view = said.get("view")
    return None if view is None else str(view)


def _nothing(why: str) -> dict[str, Any]:
    return {"title": "", "columns": [], "rows": [], "waits": [], "of": 0, "note": why}
