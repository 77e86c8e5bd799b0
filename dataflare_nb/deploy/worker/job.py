"""Put the job of a bundle together and run it. Flink's client runs this file's `main`, by the bundle's job.py."""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from pyflink.common import Configuration, Encoder, Row, Types, WatermarkStrategy
from pyflink.datastream import CheckpointingMode, DataStream, KeyedStream, StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSink, RollingPolicy
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.java_gateway import get_gateway

from .. import configuration
from ..remote.sketch import KEY, Sketch
from . import delivery
from .hosts import BYTES, RECORD, Hosted, Ticked, tag
from .loading import Loaded, load
from .ticks import ticks

_TICK_BYTES = 32_000
"""A tick about fills a buffer of Flink's, so that few wait before the sources, and a checkpoint for few of them."""


_ALONE = 1
"""Instances of what keeps rows in order: an autoscaler that gave it more would make ticks overtake each other."""


def main(folder: Path, arguments: Sequence[str]) -> None:
    """Run the job, and hand its rows to the sinks: when it has ended, or as they are committed if the input is live."""
    parser = argparse.ArgumentParser(prog="job.py")
    parser.add_argument("--results", help="the folder that committed rows go to (default: that of the bundle)")
    parser.add_argument("--parallelism", type=int, help="in place of that of each spread vertex")
    asked, _ = parser.parse_known_args(list(arguments))
    loaded = load(folder)
    results = asked.results or f"file:///data/.flink/results/{loaded.job.name}"
    place = Path(results.removeprefix("file://"))
    delivery.check(loaded, place)
    environment = build(loaded, results, asked.parallelism)
    if loaded.plan.bounded:
        environment.execute(loaded.job.name)
        # A job that was stopped with a savepoint ends well too, and goes on later.
        delivery.deliver(loaded, place)
        return
    with closing(delivery.Courier(loaded, place)) as courier:
        running = environment.execute_async(loaded.job.name)
        ended = running.get_job_execution_result()
        try:
            while not ended.done():
                time.sleep(loaded.job.checkpoint_interval / 2_000)
                courier.go()
        except BaseException:
            # Nobody would hand over the rows of a job that goes on. On Kubernetes its cluster is started again with it.
            if not _of_its_own_cluster(environment):
                running.cancel().result()
            raise
        courier.go()
        ended.result()


def _of_its_own_cluster(environment: StreamExecutionEnvironment) -> bool:
    """Tell whether this runs in the JobManager of a cluster that is there for this job alone."""
    told = Configuration(j_configuration=environment._j_stream_execution_environment.getConfiguration())
    return str(told.get_string("execution.target", "")) == "embedded"


def build(loaded: Loaded, results: str, parallelism: int | None = None) -> StreamExecutionEnvironment:
    """Return the environment with the job in it: a vertex each, whose records go by share to those after it."""
    told = Configuration()
    for name, value in {**configuration.WORKERS, **loaded.job.restart}.items():
        told.set_string(name, value)
    # Whoever attaches to the job reads there what its vertices are.
    told.set_string(
        "pipeline.global-job-parameters", f"{KEY}:{Sketch.of_graph(loaded.job.name, loaded.graph).written()}"
    )
    environment = StreamExecutionEnvironment.get_execution_environment(told)
    environment.set_max_parallelism(loaded.job.key_groups)
    environment.set_parallelism(1)
    environment.enable_checkpointing(loaded.job.checkpoint_interval, CheckpointingMode.EXACTLY_ONCE)
    sent: dict[int, list[DataStream]] = {}
    rows: list[DataStream] = []
    for number, vertex in enumerate(loaded.job.vertices):
        first = loaded.stages[vertex.stages[0]]
        if first.source is not None:
            last = ticks(loaded, vertex.stages) - 1
            arriving, function = _ticker(environment, last), Ticked(str(loaded.folder), number, last)
        else:
            head, *others = sent[number]
            arriving, function = (
                head.union(*others) if others else head,
                Hosted(str(loaded.folder), number, vertex.keys is not None),
            )
        instances = parallelism if parallelism and vertex.keys is not None else vertex.parallelism
        made = (
            _keyed(arriving)
            .process(function, Types.STRING())
            .set_parallelism(instances)
            .name(vertex.id)
            .uid(f"vertex-{vertex.id}")
        )
        if vertex.keys is None:
            made.set_max_parallelism(_ALONE)
        rows.append(made)
        for later in range(len(loaded.job.vertices)):
            if _reads(loaded, later, number):
                sent.setdefault(later, []).append(_beside(made, later))
    _keep(rows, results)
    return environment


def _ticker(environment: StreamExecutionEnvironment, last: int) -> DataStream:
    source = NumberSequenceSource(0, last)
    numbers = environment.from_source(source, WatermarkStrategy.no_watermarks(), "ticks").uid("ticks")
    numbers.set_max_parallelism(_ALONE)
    return numbers.map(_tick, RECORD).uid("ticks-as-records").set_max_parallelism(_ALONE)


def _tick(number: Any) -> Any:
    return Row(0, int(number).to_bytes(_TICK_BYTES, "little"))


def _beside(stream: DataStream, vertex: int) -> DataStream:
    """Return the records for a vertex. PyFlink's own way would take each through Python once more."""
    return DataStream(stream._j_data_stream.getSideOutput(tag(vertex).get_java_output_tag()))


def _keyed(records: DataStream) -> KeyedStream:
    """Key records by their first field, again without a way through Python; functions are given the second."""
    keyed = records._j_data_stream.keyBy(
        get_gateway().jvm.KeyByKeySelector(), Types.ROW([Types.INT()]).get_java_type_info()
    )
    return KeyedStream(keyed, BYTES, records)


def _keep(rows: list[DataStream], results: str) -> None:
    """Write rows to files that Flink shows when the checkpoint that knows them is complete."""
    head, *others = rows
    sink = (
        FileSink.for_row_format(results, Encoder.simple_string_encoder())
        .with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
        .build()
    )
    kept = (head.union(*others) if others else head).sink_to(sink).set_parallelism(1).name("results").uid("results")
    kept._j_data_stream_sink.setMaxParallelism(_ALONE)


def _reads(loaded: Loaded, later: int, number: int) -> bool:
    return later != number and any(
        loaded.vertex_of[sender] == number
        for stage in loaded.job.vertices[later].stages
        for sender, _ in loaded.stages[stage].inputs
    )
