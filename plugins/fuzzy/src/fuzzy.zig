//! fuzzy: how alike two texts are, by characters (Unicode code points).
//!
//! Levenshtein's distance (1966) by the bits of Myers (1999) in the form of Hyyrö (2003), for texts of up to 64
//! characters, and by rows beyond. Jaro's similarity (1989) with Winkler's bonus (1990) for up to four equal first
//! characters, given as usual only above 0.7.

const std = @import("std");
const df = @import("dataflare");

comptime {
    df.plugin(@This());
}

const Settings = struct {
    metrics: []const []const u8 = &.{ "jaro_winkler", "levenshtein" },
    to: []const u8 = "",
    prefix: []const u8 = "",
    ignore_case: bool = false,
};
const Metric = enum { jaro, jaro_winkler, levenshtein, levenshtein_ratio };

var metrics: [4]Metric = undefined;
var names: [4][]const u8 = undefined;
var count: usize = 0;
var settings: Settings = .{};
var target: ?[]const u21 = null;

pub fn init(given: Settings) df.Error!void {
    settings = given;
    for (given.metrics) |name| {
        const metric = std.meta.stringToEnum(Metric, name) orelse
            return df.fail(error.Config, "metrics may be jaro, jaro_winkler, levenshtein and levenshtein_ratio");
        for (metrics[0..count]) |known| if (known == metric) return df.fail(error.Config, "a metric is named twice");
        metrics[count] = metric;
        names[count] = try df.concat(&.{ given.prefix, name });
        count += 1;
    }
    if (given.to.len > 0) {
        var room: Characters = .{};
        target = try room.read(given.to);
    }
}

pub fn process(batch: df.Batch) df.Error!df.Answer {
    first = &.{};
    second = &.{};
    const one = try batch.nth([]const u8, 0);
    const other = if (target == null) try batch.nth([]const u8, 1) else one;
    var scores: [4]df.Out(f64) = undefined;
    var distances: [4]df.Out(u32) = undefined;
    for (0..count) |i| switch (metrics[i]) {
        .levenshtein => distances[i] = try .init(names[i], batch.rows),
        else => scores[i] = try .init(names[i], batch.rows),
    };
    var left: Characters = .{};
    var right: Characters = .{};
    for (0..batch.rows) |row| {
        const a: ?[]const u21 = if (one.at(row)) |text| try left.read(text) else null;
        const b: ?[]const u21 = target orelse if (other.at(row)) |text| try right.read(text) else null;
        for (0..count) |i| switch (metrics[i]) {
            .levenshtein => try distances[i].put(row, if (a == null or b == null) null else try levenshtein(a.?, b.?)),
            .levenshtein_ratio => try scores[i].put(row, if (a == null or b == null) null else try ratio(a.?, b.?)),
            .jaro => try scores[i].put(row, if (a == null or b == null) null else try jaro(a.?, b.?)),
            .jaro_winkler => try scores[i].put(row, if (a == null or b == null) null else try jaroWinkler(a.?, b.?)),
        };
    }
    var columns: [4]df.AnyOut = undefined;
    for (0..count) |i| columns[i] = if (metrics[i] == .levenshtein) distances[i].any() else scores[i].any();
    return df.answerAll(columns[0..count]);
}

/// Memory for the characters of a text, used again for the next.
const Characters = struct {
    room: []u21 = &.{},

    fn read(self: *Characters, text: []const u8) df.Error![]const u21 {
        if (self.room.len < text.len) self.room = try df.allocator.alloc(u21, @max(text.len, 2 * self.room.len));
        var n: usize = 0;
        var i: usize = 0;
        while (i < text.len) : (n += 1) {
            const size: usize = if (text[i] < 0x80) 1 else if (text[i] < 0xe0) 2 else if (text[i] < 0xf0) 3 else 4;
            const c: u21 = switch (size) {
                1 => text[i],
                2 => @as(u21, text[i] & 0x1f) << 6 | text[i + 1] & 0x3f,
                3 => @as(u21, text[i] & 0x0f) << 12 | @as(u21, text[i + 1] & 0x3f) << 6 | text[i + 2] & 0x3f,
                else => @as(u21, text[i] & 0x07) << 18 | @as(u21, text[i + 1] & 0x3f) << 12 |
                    @as(u21, text[i + 2] & 0x3f) << 6 | text[i + 3] & 0x3f,
            };
            self.room[n] = if (settings.ignore_case and c < 0x80) std.ascii.toLower(@intCast(c)) else c;
            i += size;
        }
        return self.room[0..n];
    }
};

// ---- Levenshtein ----

fn ratio(a: []const u21, b: []const u21) df.Error!f64 {
    const longest = @max(a.len, b.len);
    if (longest == 0) return 1;
    const distance: f64 = @floatFromInt(try levenshtein(a, b));
    return 1 - distance / @as(f64, @floatFromInt(longest));
}

fn levenshtein(a: []const u21, b: []const u21) df.Error!u32 {
    var start: usize = 0;
    while (start < @min(a.len, b.len) and a[start] == b[start]) start += 1;
    var end: usize = 0;
    while (end < @min(a.len, b.len) - start and a[a.len - 1 - end] == b[b.len - 1 - end]) end += 1;
    const one = a[start .. a.len - end];
    const other = b[start .. b.len - end];
    const short, const long = if (one.len <= other.len) .{ one, other } else .{ other, one };
    if (short.len == 0) return long.len;
    return if (short.len <= 64) byBits(short, long) else byRows(short, long);
}

var masks: [128]u64 = @splat(0);

fn byBits(short: []const u21, long: []const u21) u32 {
    for (short, 0..) |c, i| {
        if (c < masks.len) masks[c] |= @as(u64, 1) << @intCast(i);
    }
    const last = @as(u64, 1) << @intCast(short.len - 1);
    var up: u64 = std.math.maxInt(u64);
    var down: u64 = 0;
    var distance: u32 = short.len;
    for (long) |c| {
        const equal = if (c < masks.len) masks[c] else maskOf(short, c);
        const vertical = equal | down;
        const horizontal = (((equal & up) +% up) ^ up) | equal;
        var more = down | ~(horizontal | up);
        var less = up & horizontal;
        if (more & last != 0) distance += 1;
        if (less & last != 0) distance -= 1;
        more = more << 1 | 1;
        less <<= 1;
        up = less | ~(vertical | more);
        down = more & vertical;
    }
    for (short) |c| {
        if (c < masks.len) masks[c] = 0;
    }
    return distance;
}

fn maskOf(short: []const u21, c: u21) u64 {
    var mask: u64 = 0;
    for (short, 0..) |own, i| mask |= @as(u64, @intFromBool(own == c)) << @intCast(i);
    return mask;
}

fn byRows(short: []const u21, long: []const u21) df.Error!u32 {
    const row = try scratch(u32, short.len + 1);
    for (row, 0..) |*cell, i| cell.* = i;
    for (long, 1..) |c, n| {
        var diagonal = row[0];
        row[0] = n;
        for (short, 1..) |own, i| {
            const cost = diagonal + @intFromBool(own != c);
            diagonal = row[i];
            row[i] = @min(cost, @min(row[i], row[i - 1]) + 1);
        }
    }
    return row[short.len];
}

// ---- Jaro ----

fn jaroWinkler(a: []const u21, b: []const u21) df.Error!f64 {
    const score = try jaro(a, b);
    if (score <= 0.7) return score;
    var same: usize = 0;
    while (same < @min(4, @min(a.len, b.len)) and a[same] == b[same]) same += 1;
    return score + @as(f64, @floatFromInt(same)) * 0.1 * (1 - score);
}

fn jaro(a: []const u21, b: []const u21) df.Error!f64 {
    if (a.len == 0 and b.len == 0) return 1;
    if (a.len == 0 or b.len == 0) return 0;
    const reach = @max(@max(a.len, b.len) / 2, 1) - 1;
    const taken = try scratch(u8, b.len);
    @memset(taken, 0);
    const matched = try scratchToo(u21, a.len);
    var matches: usize = 0;
    for (a, 0..) |c, i| {
        const stop = @min(i + reach + 1, b.len);
        for (@min(i -| reach, stop)..stop) |j| {
            if (taken[j] != 0 or b[j] != c) continue;
            taken[j] = 1;
            matched[matches] = c;
            matches += 1;
            break;
        }
    }
    if (matches == 0) return 0;
    var apart: usize = 0;
    var k: usize = 0;
    for (taken, b) |is, c| {
        if (is == 0) continue;
        if (matched[k] != c) apart += 1;
        k += 1;
    }
    const m: f64 = @floatFromInt(matches);
    const moved: f64 = @floatFromInt(apart / 2);
    return (m / @as(f64, @floatFromInt(a.len)) + m / @as(f64, @floatFromInt(b.len)) + (m - moved) / m) / 3;
}

// ---- memory that is used again until the end of a batch ----

var first: []align(8) u8 = &.{};
var second: []align(8) u8 = &.{};

fn scratch(comptime T: type, n: usize) df.Error![]T {
    return sized(T, n, &first);
}

fn scratchToo(comptime T: type, n: usize) df.Error![]T {
    return sized(T, n, &second);
}

fn sized(comptime T: type, n: usize, room: *[]align(8) u8) df.Error![]T {
    if (room.len < n * @sizeOf(T)) room.* = try df.allocator.alignedAlloc(u8, .@"8", 2 * n * @sizeOf(T));
    return @as([*]T, @ptrCast(room.ptr))[0..n];
}
