"""Write documents as YAML, the same bytes for the same values."""

from __future__ import annotations

import functools
import re
from typing import Any

from ..errors import DataflareError

_TAG = "tag:yaml.org,2002:"
_NUMBER = re.compile(r"[-+]?(0o[0-7_]+|(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?)$")
_WORD = re.compile(r"[yYnN]$")


def write(*documents: dict[str, Any]) -> bytes:
    """Return YAML documents, keys in the order given. Raises DataflareError without PyYAML."""
    dumper = _dumper()
    import yaml

    text = yaml.dump_all(
        documents, Dumper=dumper, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False
    )
    return str(text).encode()


@functools.cache
def _dumper() -> Any:
    """Return a dumper that quotes text which any reader takes for something else.

    PyYAML quotes what it would itself read as a number or a truth; kubectl reads `1e3` and `0o17` as numbers too.
    """
    try:
        import yaml
    except ModuleNotFoundError:
        raise DataflareError(
            'manifests are written with PyYAML; install it with: pip install "dataflare-nb[flink]"'
        ) from None

    class Dumper(yaml.SafeDumper):  # type: ignore[misc]
        pass

    Dumper.add_implicit_resolver(f"{_TAG}float", _NUMBER, list("-+.0123456789"))
    Dumper.add_implicit_resolver(f"{_TAG}bool", _WORD, list("yYnN"))
    return Dumper
