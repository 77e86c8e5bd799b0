"""A param as the last line of a cell, the widget and the value follow each other."""

from __future__ import annotations

import threading

import pytest

import dataflare_nb as flare
from dataflare_nb.errors import BadOption

widgets = pytest.importorskip("ipywidgets")


def model(param: flare.Param):
    """The widget that a cell with the param shows."""
    found = param._repr_mimebundle_(include=None, exclude=None)
    data = found[0] if isinstance(found, tuple) else found
    assert data["text/plain"] == str(param)
    return widgets.widget._instances[data["application/vnd.jupyter.widget-view+json"]["model_id"]]


@pytest.fixture(autouse=True)
def _with_comms(monkeypatch):
    """Widgets are there without a kernel too; text is what static notebooks show."""
    monkeypatch.delenv("DATAFLARE_STATIC", raising=False)


@pytest.mark.parametrize(
    ("value", "options", "kind"),
    [
        (3, {"min": 0, "max": 9}, "IntSlider"),
        (0.5, {"min": 0, "max": 1}, "FloatSlider"),
        (3, {}, "IntText"),
        (3.5, {}, "FloatText"),
        (3, {"min": 0}, "BoundedIntText"),
        (3.5, {"max": 9}, "BoundedFloatText"),
        (True, {}, "Checkbox"),
        ("a", {}, "Text"),
        ("a", {"options": ["a", "b"]}, "Dropdown"),
        (2, {"options": [1, 2]}, "Dropdown"),
        (3, {"min": 3, "max": 3}, "IntSlider"),
    ],
)
def test_the_widget_is_the_one_that_fits(value, options, kind) -> None:
    shown = model(flare.param(value, label="How much", name="shown", **options))
    assert type(shown).__name__ == kind
    assert (shown.value, shown.description) == (value, "How much")


def test_the_widget_and_the_value_follow_each_other() -> None:
    limit = flare.param(3, min=0, max=9, step=3)
    one, two = model(limit), model(limit)
    one.value = 6
    assert (limit.value, two.value) == (6, 6)
    thread = threading.Thread(target=setattr, args=(limit, "value", 9))
    thread.start()
    thread.join()
    assert (one.value, two.value) == (9, 9)
    with pytest.raises(BadOption):
        limit.value = 10
    assert one.value == 9


def test_a_cell_that_is_run_again_shows_the_same_model_until_that_is_closed() -> None:
    shown = set()
    for _ in range(20):
        limit = flare.param(3, min=0, max=10, name="again")
        shown.add(model(limit))
    (one,) = shown
    one.close()
    other = model(limit)
    limit.value = 4
    assert (other is one, other.value) == (False, 4)


def test_a_value_that_the_param_refuses_is_taken_back_from_the_widget() -> None:
    whole = flare.param(2.5, name="whole")
    field = model(whole)
    field.value = float("inf")
    assert (whole.value, field.value) == (2.5, 2.5)


def test_declared_anew_as_something_else_the_old_widget_stays_as_it_is() -> None:
    limit = flare.param(3, name="either")
    field = model(limit)
    flare.param("text", name="either")
    assert (field.value, field.disabled) == (3, True)
    field.value = 4
    assert limit.value == "text"
    flare.param(3, name="either")
    assert (field.value, field.disabled) == (3, False)


def test_static_notebooks_show_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATAFLARE_STATIC", "1")
    limit = flare.param(3, min=0, max=9)
    assert limit._repr_mimebundle_() == {
        "text/plain": "limit = 3 (0 to 9)",
        "text/html": "<code>limit = 3 (0 to 9)</code>",
    }
