//! my_plugin: the rows whose column `value` is not null, and nothing but it.
const df = @import("dataflare");

comptime {
    df.plugin(@This());
}

pub fn transform(batch: df.Batch) df.Error!df.Answer {
    const value = try batch.column(f64, "value");
    var out = try df.Out(f64).init("value", batch.rows);
    var kept: u32 = 0;
    for (0..batch.rows) |row| if (value.at(row)) |is| {
        out.values[kept] = is;
        kept += 1;
    };
    out.rows = kept;
    return df.answer(.{out});
}
