"""The examples of the public face run."""

from __future__ import annotations

import doctest
import importlib

import polars as pl
import pytest

import dataflare_nb as flare

MODULES = ["errors", "expr", "graph.graph", "sources", "stream", "windows"]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_run(name: str) -> None:
    module = importlib.import_module(f"dataflare_nb.{name}")
    with pl.Config(fmt_str_lengths=80):
        failed, tried = doctest.testmod(module)
    assert tried > 0
    assert failed == 0


@pytest.mark.parametrize(
    "name",
    [name for name in vars(flare.Stream) if not name.startswith("_") and name not in flare.Stream.__dataclass_fields__],
)
def test_every_method_of_a_stream_says_what_it_does(name: str) -> None:
    doc = getattr(flare.Stream, name).__doc__
    assert doc
    assert doc.split("\n")[0].endswith(".") or doc.split("\n")[0].endswith(":")
