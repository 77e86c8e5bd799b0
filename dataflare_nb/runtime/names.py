"""Short names of stages, for people."""

from __future__ import annotations

import itertools

from ..graph.node import is_named
from .plan import Plan

LONGEST = 30


def short_names(plan: Plan, longest: int = LONGEST) -> dict[str, str]:
    """Give each stage a short name: its own, or what it does; a number where two do the same."""
    names: dict[str, str] = {}
    for stage in plan.stages:
        name = stage.id if is_named(stage.nodes[-1]) else stage.label
        name = name if len(name) <= longest else name[: longest - 1] + "…"
        twins = (name if n == 1 else f"{name} {n}" for n in itertools.count(1))
        names[stage.id] = next(twin for twin in twins if twin not in names.values())
    return names
