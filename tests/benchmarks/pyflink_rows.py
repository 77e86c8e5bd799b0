"""The job of `cluster.py` as one writes it in PyFlink, a row at a time. Run by Flink's client, in its environment."""

import sys

import pyarrow.parquet as pq
from pyflink.common import Configuration, Duration, Encoder, Time, Types, WatermarkStrategy
from pyflink.common.watermark_strategy import TimestampAssigner
from pyflink.datastream import StreamExecutionEnvironment
from pyflink.datastream.connectors.file_system import FileSink, RollingPolicy
from pyflink.datastream.connectors.number_seq import NumberSequenceSource
from pyflink.datastream.functions import AggregateFunction, ProcessWindowFunction
from pyflink.datastream.window import TumblingEventTimeWindows


class At(TimestampAssigner):
    def extract_timestamp(self, value, record_timestamp):
        return value[0] * 1000


class Sums(AggregateFunction):
    def create_accumulator(self):
        return 0, 0.0

    def add(self, value, accumulator):
        return accumulator[0] + 1, accumulator[1] + value[2]

    def get_result(self, accumulator):
        return accumulator

    def merge(self, a, b):
        return a[0] + b[0], a[1] + b[1]


class Named(ProcessWindowFunction):
    def process(self, key, context, elements):
        for count, gained in elements:
            yield f"{key},{context.window().start},{count},{gained}"


def main(path, out, parallelism):
    # PyFlink's own defaults, which suit single rows; the cluster's are for batches.
    defaults = Configuration()
    defaults.set_string("python.fn-execution.bundle.size", "1000")
    defaults.set_string("python.fn-execution.bundle.time", "1000")
    # Room for the windows of every key; with the 1,000 that are the default each row asks Java for its state.
    defaults.set_string("python.state.cache-size", "100000")
    environment = StreamExecutionEnvironment.get_execution_environment(defaults)
    environment.set_parallelism(parallelism)
    environment.enable_checkpointing(1_000)

    def rows(group):
        for row in pq.ParquetFile(path).read_row_group(group).to_pylist():
            yield row["at"], row["key"], row["dep"], row["arr"]

    groups = pq.ParquetFile(path).metadata.num_row_groups
    wide = Types.TUPLE([Types.LONG(), Types.LONG(), Types.DOUBLE(), Types.DOUBLE()])
    narrow = Types.TUPLE([Types.LONG(), Types.LONG(), Types.DOUBLE()])
    # One reader, since rows that are read out of turn would be late.
    read = environment.from_source(NumberSequenceSource(0, groups - 1), WatermarkStrategy.no_watermarks(), "groups")
    read.set_parallelism(1)
    late_by = WatermarkStrategy.for_bounded_out_of_orderness(Duration.of_seconds(10)).with_timestamp_assigner(At())
    (
        read.flat_map(rows, wide)
        .set_parallelism(1)
        .assign_timestamps_and_watermarks(late_by)
        .map(lambda row: (row[0], row[1], max(row[2] - row[3], 0.0)), narrow)
        .key_by(lambda row: row[1], Types.LONG())
        .window(TumblingEventTimeWindows.of(Time.minutes(5)))
        .aggregate(Sums(), Named(), Types.TUPLE([Types.LONG(), Types.DOUBLE()]), Types.STRING())
        .sink_to(
            FileSink.for_row_format(out, Encoder.simple_string_encoder())
            .with_rolling_policy(RollingPolicy.on_checkpoint_rolling_policy())
            .build()
        )
    )
    environment.execute("row by row")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
