"""Put another version of a plugin or compiled function in the place of one that runs, between two batches."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Any

from ..dtypes import short
from ..errors import BadOption, JobStopped, UnknownStage, WrongType, listing, nearest, shown
from ..graph import Graph, node
from ..runtime.plan import Guest, Plan, guest
from ..runtime.probe import Swap
from ..types import Schema
from ..wasm.kernel import Kernel
from ..wasm.plugin import Plugin
from ..wasm.udf import Udf
from .scheduler import Scheduler
from .stage import Stage
from .visit import visiting

log = logging.getLogger("dataflare_nb")


def swap(job: str, graph: Graph, stage: Stage, new: Any, scheduler: Scheduler, *, patience: float) -> Swap:
    """Let a stage go on with a new version, or leave it as it is and say why.

    Each batch is worked on by one version, whole: those that were taken before by the old one, all after by the new.
    """
    item = stage.plan.nodes[-1]
    assert isinstance(item, node.Wasm | node.Udf)
    assert stage.host is not None
    blob = _blob(item, new)
    fresh = guest(item, blob)
    try:
        _refuse_another_schema(graph, item, fresh, blob)
        fresh.open(stage.host)
        with visiting(scheduler, stage, patience), scheduler.lock:
            if scheduler.ended or scheduler.stopping or scheduler.error is not None or stage.ended:
                raise JobStopped(f"job {job} has ended at stage `{item.id}`, so nothing can be swapped there")
            old, stage.host.operator = stage.host.operator, fresh
            row = stage.row
            before = stage.swaps[-1].after if stage.swaps else _told(graph.blobs[_key(item)])
            done = Swap(item.id, before, _told(blob), row, scheduler.clock.now())
            stage.swaps.append(done)
    except BaseException:
        fresh.close()
        raise
    old.close()
    log.info("job %s: stage %s runs %s instead of %s from row %d on", job, item.id, done.after, before, row)
    return done


def guests(plan: Plan, stages: Mapping[str, Stage], name: str) -> Stage:
    """Return the stage of a name if it runs a plugin or a compiled function."""
    known = {stage.id for stage in stages.values() if isinstance(stage.plan.nodes[-1], node.Wasm | node.Udf)}
    if name in known:
        return stages[name]
    none = "none of this job can be: there is no plugin and no compiled function in it"
    if name in plan.stage_of:
        others = f"stages that can are {listing(sorted(known))}" if known else none
        raise BadOption(f"stage `{name}` runs no WebAssembly, so it cannot be swapped; {others}")
    others = f"those that can be swapped are {listing(sorted(known))}.{nearest(name, known)}" if known else none
    raise UnknownStage(f"no stage `{name}`; {others}")


def _blob(item: node.Wasm | node.Udf, new: Any) -> Plugin | Kernel:
    if isinstance(item, node.Wasm):
        if not isinstance(new, Plugin | str | os.PathLike | Mapping):
            hint = "; save it as one with .save(folder)" if isinstance(new, Udf) else ""
            raise WrongType(f"stage `{item.id}` runs a plugin, and {shown(new)} is none{hint}")
        return Plugin.load(new)
    if isinstance(new, Udf):
        return new.kernel
    if isinstance(new, Kernel):
        return new
    raise WrongType(f"stage `{item.id}` runs a compiled function, and {shown(new)} is none; put @flare.udf over it")


def _key(item: node.Wasm | node.Udf) -> str:
    return item.plugin if isinstance(item, node.Wasm) else item.udf


def _told(blob: Plugin | Kernel) -> str:
    name = blob.name if isinstance(blob, Plugin) else blob.facts.name
    return f"{name} {blob.sha256[:12]}"


def _refuse_another_schema(graph: Graph, item: node.Wasm | node.Udf, fresh: Guest, blob: Plugin | Kernel) -> None:
    before = graph.edge(item.id).schema
    after = fresh.output_schema(graph.edge(item.inputs[0]).schema)
    difference = _difference(before, after)
    if difference is not None:
        raise WrongType(
            f"stage `{item.id}` cannot go on with {_told(blob)}, because its schema would change: {difference}; "
            "start another job for that"
        )


def _difference(before: Schema, after: Schema) -> str | None:
    """Say how a schema differs from another, None if it does not."""
    said = [
        *(f"it would lose `{name}`" for name in before if name not in after),
        *(f"it would add `{name}` ({short(dtype)})" for name, dtype in after.items() if name not in before),
        *(
            f"`{name}` would be {short(after[name])} instead of {short(dtype)}"
            for name, dtype in before.items()
            if name in after and after[name] != dtype
        ),
    ]
    if not said and list(before) != list(after):
        said = [f"its columns would come as {listing(after)}"]
    return ", ".join(said) or None
