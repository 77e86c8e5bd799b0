//! geohash: positions to geohashes and back.
//!
//! A geohash (G. Niemeyer, 2008) halves longitude and latitude in turn and writes five halvings as a letter. All bounds of
//! cells are numbers that a double holds exactly, so a position on a bound is in the upper cell, with no rounding.

const df = @import("dataflare");

comptime {
    df.plugin(@This());
}

const Settings = struct {
    mode: enum { encode, decode } = .encode,
    precision: u8 = 9,
    column: []const u8 = "geohash",
    prefix: []const u8 = "",
};
var settings: Settings = .{};
var lat_name: []const u8 = undefined;
var lon_name: []const u8 = undefined;

pub fn init(given: Settings) df.Error!void {
    if (given.precision < 1 or given.precision > most) return df.fail(error.Config, "precision is 1 to 12 letters");
    settings = given;
    lat_name = try df.concat(&.{ given.prefix, "lat" });
    lon_name = try df.concat(&.{ given.prefix, "lon" });
}

pub fn process(batch: df.Batch) df.Error!df.Answer {
    return if (settings.mode == .encode) encode(batch) else decode(batch);
}

const alphabet = "0123456789bcdefghjkmnpqrstuvwxyz";
const most = 12;
const bits = 30;
const cells: f64 = 1 << bits;
const none = 0xff;
const values = blk: {
    var table: [256]u8 = @splat(none);
    for (alphabet, 0..) |letter, value| {
        table[letter] = value;
        if (letter >= 'a') table[letter - 32] = value;
    }
    break :blk table;
};

fn encode(batch: df.Batch) df.Error!df.Answer {
    const lat = try batch.nth(f64, 0);
    const lon = try batch.nth(f64, 1);
    var out = try df.Out([]const u8).init(settings.column, batch.rows);
    try out.reserve(0, @as(usize, batch.rows) * most);
    for (0..batch.rows) |row| {
        const valid = lat.isValid(row) and lon.isValid(row) and @abs(lat.values[row]) <= 90 and @abs(lon.values[row]) <= 180;
        if (!valid) {
            try out.putNull(row);
            continue;
        }
        const hash = spread(cell(lon.values[row], 180)) << 1 | spread(cell(lat.values[row], 90));
        var text: [most]u8 = undefined;
        inline for (0..most) |i| text[i] = alphabet[@as(u5, @truncate(hash >> (5 * (most - 1 - i))))];
        try out.put(row, text[0..settings.precision]);
    }
    return df.answer(.{out});
}

/// The number of the cell of 2^30 that a value from -half to half is in.
fn cell(value: f64, comptime half: f64) u32 {
    const width = 2 * half / cells;
    const guess = @floor((value + half) / width);
    // The sum was rounded; the bounds are exact.
    const low = guess * width - half;
    const found = if (value < low) guess - 1 else if (value >= low + width) guess + 1 else guess;
    return @intFromFloat(@min(@max(found, 0), cells - 1));
}

/// Put a zero before each bit.
fn spread(n: u32) u64 {
    var x: u64 = n;
    x = (x | x << 16) & 0x0000ffff0000ffff;
    x = (x | x << 8) & 0x00ff00ff00ff00ff;
    x = (x | x << 4) & 0x0f0f0f0f0f0f0f0f;
    x = (x | x << 2) & 0x3333333333333333;
    return (x | x << 1) & 0x5555555555555555;
}

/// Take every second bit.
fn gather(n: u64) u32 {
    var x = n & 0x5555555555555555;
    x = (x | x >> 1) & 0x3333333333333333;
    x = (x | x >> 2) & 0x0f0f0f0f0f0f0f0f;
    x = (x | x >> 4) & 0x00ff00ff00ff00ff;
    x = (x | x >> 8) & 0x0000ffff0000ffff;
    return @truncate(x | x >> 16);
}

fn decode(batch: df.Batch) df.Error!df.Answer {
    const text = try batch.nth([]const u8, 0);
    var lat = try df.Out(f64).init(lat_name, batch.rows);
    var lon = try df.Out(f64).init(lon_name, batch.rows);
    for (0..batch.rows) |row| {
        const hash = (if (text.at(row)) |letters| number(letters) else null) orelse {
            try lat.putNull(row);
            try lon.putNull(row);
            continue;
        };
        // The first bit is of the longitude, so it has the last one too if there is an odd number.
        const odd = hash.count & 1 == 1;
        lat.values[row] = middle(gather(if (odd) hash.bits >> 1 else hash.bits), hash.count / 2, 90);
        lon.values[row] = middle(gather(if (odd) hash.bits else hash.bits >> 1), hash.count - hash.count / 2, 180);
    }
    return df.answer(.{ lat, lon });
}

const Hash = struct { bits: u64, count: u6 };

/// The bits of a geohash, null if it is none.
fn number(letters: []const u8) ?Hash {
    if (letters.len == 0 or letters.len > most) return null;
    var hash: u64 = 0;
    for (letters) |letter| {
        const value = values[letter];
        if (value == none) return null;
        hash = hash << 5 | value;
    }
    return .{ .bits = hash, .count = @intCast(5 * letters.len) };
}

/// The middle of one of 2^count cells.
fn middle(place: u32, count: u6, comptime half: f64) f64 {
    const width = 2 * half / @as(f64, @floatFromInt(@as(u64, 1) << count));
    return (@as(f64, @floatFromInt(place)) + 0.5) * width - half;
}
