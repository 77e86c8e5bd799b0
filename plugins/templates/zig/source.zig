//! my_plugin: the numbers from 0 to the setting `count`, some at a time.
const df = @import("dataflare");

comptime {
    df.plugin(@This());
}

const Settings = struct { count: i64 = 10 };
var settings: Settings = .{};
pub var position: i64 = 0;

pub fn init(given: Settings) df.Error!void {
    settings = given;
}

pub fn read() df.Error!?df.Answer {
    if (position >= settings.count) return null;
    const out = try df.Out(i64).init("number", @intCast(@min(settings.count - position, 1000)));
    for (out.values) |*to| {
        to.* = position;
        position += 1;
    }
    return try df.answer(.{out});
}
