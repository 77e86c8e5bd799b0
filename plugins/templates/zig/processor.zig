//! my_plugin: what the column `value` is, times the setting `factor`.
const df = @import("dataflare");

comptime {
    df.plugin(@This());
}

const Settings = struct { factor: f64 = 2 };
var settings: Settings = .{};

pub fn init(given: Settings) df.Error!void {
    settings = given;
}

pub fn process(batch: df.Batch) df.Error!df.Answer {
    const value = try batch.column(f64, "value");
    const out = try df.Out(f64).like("my_plugin", value);
    for (out.values, value.values) |*to, from| to.* = from * settings.factor;
    return df.answer(.{out});
}
