//! my_plugin: keep the rows whose column `value` is at least the setting `least`.
const df = @import("dataflare");

comptime {
    df.plugin(@This());
}

const Settings = struct { least: f64 = 0 };
var settings: Settings = .{};

pub fn init(given: Settings) df.Error!void {
    settings = given;
}

pub fn filter(batch: df.Batch) df.Error!df.Answer {
    const value = try batch.column(f64, "value");
    var keep = try df.Out(bool).init("keep", batch.rows);
    for (0..batch.rows) |row| {
        const is = value.at(row) orelse continue;
        try keep.put(row, is >= settings.least);
    }
    return df.answer(.{keep});
}
