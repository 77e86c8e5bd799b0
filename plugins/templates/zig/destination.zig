//! my_plugin: count what comes, and tell the sum at each commit.
const std = @import("std");
const df = @import("dataflare");

comptime {
    df.plugin(@This());
}

var sum: f64 = 0;

pub fn write(batch: df.Batch) df.Error!void {
    const value = try batch.column(f64, "value");
    for (0..batch.rows) |row| sum += value.at(row) orelse 0;
    df.count("rows", batch.rows);
}

pub fn prepare(_: i64) df.Error![]const u8 {
    return std.mem.asBytes(&sum);
}

pub fn commit(_: i64, _: []const u8) df.Error!void {
    df.log(.info, "committed");
}
