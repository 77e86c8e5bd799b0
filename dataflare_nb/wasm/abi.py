"""The functions of dfx/1: what a plugin may export, by which signature, and what each type must have."""

from __future__ import annotations

from enum import StrEnum

from .calls import Signature

ABI_VERSION = 1

_ASKED: Signature = ((), ("i32",))
_HANDED: Signature = (("i32", "i32"), ("i32",))
_TOLD: Signature = (("i32",), ())


class PluginType(StrEnum):
    """What a plugin does to a stream."""

    SOURCE = "Source"
    DESTINATION = "Destination"
    PROCESSOR = "Processor"
    TRANSFORMER = "Transformer"
    FILTER = "Filter"
    AGGREGATOR = "Aggregator"

    @classmethod
    def _missing_(cls, value: object) -> PluginType | None:
        return next((kind for kind in cls if kind.lower() == str(value).lower()), None)


FUNCTIONS = {
    PluginType.SOURCE: "read_data",
    PluginType.DESTINATION: "write_data",
    PluginType.PROCESSOR: "process_data",
    PluginType.TRANSFORMER: "transform_data",
    PluginType.FILTER: "filter_data",
    PluginType.AGGREGATOR: "aggregate_data",
}
"""The export that does a plugin's work."""

DOORS = {
    PluginType.SOURCE: "flare.read_wasm(plugin)",
    PluginType.DESTINATION: ".write_wasm(plugin)",
    PluginType.PROCESSOR: ".wasm(plugin)",
    PluginType.TRANSFORMER: ".wasm(plugin)",
    PluginType.FILTER: ".wasm(plugin)",
    PluginType.AGGREGATOR: ".agg(name=flare.wasm.aggregate(plugin, column))",
}
"""Where a plugin of a type goes in a stream."""

REQUIRED: dict[str, Signature] = {
    "df_abi_version": _ASKED,
    "df_formats": _ASKED,
    "df_alloc": (("i32",), ("i32",)),
    "df_reset": ((), ()),
}
"""What every plugin exports, beside its memory and its work."""

KNOWN: dict[str, Signature] = {
    **REQUIRED,
    "read_data": _ASKED,
    **{name: _HANDED for kind, name in FUNCTIONS.items() if kind is not PluginType.SOURCE},
    "plugin_init": _HANDED,
    "plugin_cleanup": _ASKED,
    "df_last_error": _ASKED,
    "df_format": _TOLD,
    "df_offset": _ASKED,
    "df_seek": _HANDED,
    "df_prepare": (("i64",), ("i32",)),
    "df_commit": (("i64", "i32", "i32"), ("i32",)),
    "df_abort": _ASKED,
    "df_groups": _TOLD,
    "df_merge": _HANDED,
    "df_final": _HANDED,
    "_initialize": ((), ()),
}
"""Every function that a host may call."""

CALLABLE = ("plugin_init", *FUNCTIONS.values(), "plugin_cleanup")
"""What `WasmRuntime.call_function` calls: the exports of the seed."""


def required(kind: PluginType) -> dict[str, Signature]:
    """Return what a plugin of a type must export."""
    names = [FUNCTIONS[kind], *(["df_groups"] if kind is PluginType.AGGREGATOR else [])]
    return {**REQUIRED, **{name: KNOWN[name] for name in names}}
