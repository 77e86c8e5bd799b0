//! my_plugin: the mean of a column. The state of a group is its sum and how many values it had.
const df = @import("dataflare");

comptime {
    df.plugin(@This());
}

pub fn aggregate(batch: df.Batch, groups: u32) df.Error!df.Answer {
    return addUp(batch, try batch.nth(f64, 0), null, groups);
}

pub fn merge(batch: df.Batch, groups: u32) df.Error!df.Answer {
    return addUp(batch, try batch.column(f64, "sum"), try batch.column(i64, "count"), groups);
}

/// Add up rows by their group; without `counts` each row counts once.
fn addUp(batch: df.Batch, value: df.Column(f64), counts: ?df.Column(i64), groups: u32) df.Error!df.Answer {
    const sum = try df.Out(f64).init("sum", groups);
    const count = try df.Out(i64).init("count", groups);
    for (batch.groups(), 0..) |group, row| {
        const is = value.at(row) orelse continue;
        sum.values[group] += is;
        count.values[group] += if (counts) |known| known.values[row] else 1;
    }
    return df.answer(.{ sum, count });
}

pub fn final(batch: df.Batch) df.Error!df.Answer {
    const sum = try batch.column(f64, "sum");
    const count = try batch.column(i64, "count");
    var out = try df.Out(f64).init("my_plugin", batch.rows);
    for (count.values, sum.values, 0..) |n, total, row| {
        try out.put(row, if (n > 0) total / @as(f64, @floatFromInt(n)) else null);
    }
    return df.answer(.{out});
}
