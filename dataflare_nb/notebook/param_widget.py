"""A param as a widget: a slider, a checkbox, a list or a text field, whichever fits."""

from __future__ import annotations

import threading
import weakref
from typing import Any

from ..errors import DataflareError
from ..parameters import Param
from .display import static

_MOST_SHOWN = 2**53
"""Beyond this a page cannot tell one whole number from the next."""
_shown: weakref.WeakValueDictionary[str, Follower] = weakref.WeakValueDictionary()
_showing = threading.Lock()


def bundle(param: Param, **options: Any) -> Any:
    """Return what a notebook shows: a widget that follows the param, or text without ipywidgets or when static."""
    text = {"text/plain": str(param), "text/html": param._repr_html_()}
    if static():
        return text
    try:
        import ipywidgets  # noqa: F401 - it comes with the notebook extra
    except ImportError:
        return text
    made = _follower(param).widget._repr_mimebundle_(**options)
    data, *more = made if isinstance(made, tuple) else (made,)
    # What is left of it where the kernel is gone, and in a plain diff.
    data = {**data, "text/plain": text["text/plain"]}
    return (data, *more) if more else data


def _follower(param: Param) -> Follower:
    """Return the one whose widget is shown: however often a cell is run, a param has one model."""
    with _showing:
        known = _shown.get(param.spec.name)
        if known is None or not known.follows(param):
            known = _shown[param.spec.name] = Follower(param)
        return known


class Follower:
    """Keeps a widget and its param at one value, whoever changes it."""

    def __init__(self, param: Param) -> None:
        self._param, self._spec = param, param.spec
        self.widget = _widget(param)
        # As long as there is the widget there is this, and no longer.
        self.widget.follower = self
        self.widget.observe(self._set, names="value")
        param.watch(self)

    def follows(self, param: Param) -> bool:
        """Tell whether this is an open widget of that param as it is declared now."""
        return self._param is param and self._spec == param.spec and self.widget.comm is not None

    def told(self, param: Param) -> None:
        """Show the param's value. One that was declared anew as something else has another widget."""
        if param.spec != self._spec:
            self.widget.disabled = True
            return
        self.widget.disabled = False
        if self.widget.value != param.newest:
            self.widget.value = param.newest

    def _set(self, change: Any) -> None:
        if self._param.spec != self._spec or change["new"] == self._param.newest:
            return
        try:
            self._param.value = change["new"]
        except DataflareError:
            self.told(self._param)


def _widget(param: Param) -> Any:
    import ipywidgets as w

    spec, value = param.spec, param.newest
    common = {"value": value, "description": param.label, "style": {"description_width": "initial"}}
    if spec.options is not None:
        return w.Dropdown(options=list(spec.options), **common)
    if spec.dtype == "Boolean":
        return w.Checkbox(indent=False, **common)
    if spec.dtype == "String":
        # Each key would be a value of its own.
        return w.Text(continuous_update=False, **common)
    whole, stepped = spec.dtype == "Int64", ({} if spec.step is None else {"step": spec.step})
    if spec.min is not None and spec.max is not None:
        step = spec.step or (1 if whole else (spec.max - spec.min) / 100 or 1.0)
        kind = w.IntSlider if whole else w.FloatSlider
        shown = {} if whole else {"readout_format": ".6g"}
        # It takes effect where the handle is let go, so that a record holds what was meant.
        return kind(min=spec.min, max=spec.max, step=step, continuous_update=False, **shown, **common)
    if spec.min is None and spec.max is None:
        return (w.IntText if whole else w.FloatText)(continuous_update=False, **stepped, **common)
    low, high = (-_MOST_SHOWN if spec.min is None else spec.min), (_MOST_SHOWN if spec.max is None else spec.max)
    kind = w.BoundedIntText if whole else w.BoundedFloatText
    return kind(min=low, max=high, continuous_update=False, **stepped, **common)
