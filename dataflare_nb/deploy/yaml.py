"""Write documents as YAML, the same bytes for the same values."""

from __future__ import annotations

from typing import Any

from ..errors import DataflareError


def write(*documents: dict[str, Any]) -> bytes:
    """Return YAML documents, keys in the order given."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise DataflareError(
            'manifests are written with PyYAML; install it with: pip install "dataflare-nb[flink]"'
        ) from None
    text = yaml.safe_dump_all(documents, sort_keys=False, allow_unicode=True, width=120, default_flow_style=False)
    return str(text).encode()
