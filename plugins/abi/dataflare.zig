//! dataflare.zig: write a dfx/1 plugin in Zig.
//!
//! A plugin is a file with public functions by the names below and one line that exports them:
//!
//!     const df = @import("dataflare");
//!     comptime { df.plugin(@This()); }
//!
//!     pub fn process(batch: df.Batch) df.Error!df.Answer {
//!         const price = try batch.column(f64, "price");
//!         const out = try df.Out(f64).like("with_tax", price);
//!         for (out.values, price.values) |*to, from| to.* = from * 1.2;
//!         return df.answer(.{out});
//!     }
//!
//! | type | functions |
//! |---|---|
//! | all | `init(settings: Struct) Error!void`, optional: the `config` of plugin.json, read into the struct |
//! | Processor, Transformer, Filter | `process`, `transform`, `filter` `(batch: Batch) Error!Answer` |
//! | Source | `read() Error!?Answer`, null after the last batch; `pub var position`, what it goes on from |
//! | Destination | `write(batch: Batch) Error!void`, `prepare(epoch: i64) Error![]const u8`, `commit(epoch: i64, token: []const u8) Error!void`, `abort() void` |
//! | Aggregator | `aggregate`, `merge` `(batch: Batch, groups: u32) Error!Answer`, `final(batch: Batch) Error!Answer` |
//!
//! What is allocated during a call is gone at the next; what `init` allocates stays.

const std = @import("std");

pub const Error = error{ Config, Input, Type, Memory, Internal, Unsupported, OutOfMemory };

/// Log levels of `log`.
pub const Level = enum(i32) { debug, info, warning, err };

const host = struct {
    extern "dataflare" fn host_log(level: i32, text: [*]const u8, length: u32) void;
    extern "dataflare" fn host_get_time() i64;
    extern "dataflare" fn host_random() f64;
    extern "dataflare" fn host_counter(name: [*]const u8, length: u32, by: i64) void;
};

/// Write to the host's log. A call to the host costs about 10 us: never one per row.
pub fn log(level: Level, text: []const u8) void {
    host.host_log(@intFromEnum(level), text.ptr, text.len);
}

/// Microseconds since the epoch, UTC.
pub fn now() i64 {
    return host.host_get_time();
}

/// A number in [0, 1).
pub fn random() f64 {
    return host.host_random();
}

/// Add to a counter that the dashboard shows.
pub fn count(name: []const u8, by: i64) void {
    host.host_counter(name.ptr, name.len, by);
}

// ---- the Arrow C Data Interface with 32-bit pointers ----

const Schema = extern struct {
    format: [*:0]const u8,
    name: [*:0]const u8,
    metadata: u32 = 0,
    flags: i64 align(8) = 0,
    n_children: i64 = 0,
    children: ?[*]*Schema = null,
    dictionary: u32 = 0,
    release: u32 = 0,
    private_data: u32 = 0,
};
const Array = extern struct {
    length: i64,
    null_count: i64 = 0,
    offset: i64 = 0,
    n_buffers: i64,
    n_children: i64 = 0,
    buffers: [*]?[*]const u8,
    children: ?[*]*Array = null,
    dictionary: u32 = 0,
    release: u32 = 0,
    private_data: u32 = 0,
};
const RawBatch = extern struct { schema: *Schema, array: *Array };
const Slice = extern struct { ptr: u32, len: u32, format: u32, flags: u32 = 0 };
const arrow_c = 3;

comptime {
    std.debug.assert(@sizeOf(Schema) == 48 and @sizeOf(Array) == 64);
}

// ---- memory: an arena that the host empties between batches ----

extern var __heap_base: u8;
var top: usize = 0;
var floor: usize = 0;

fn take(bytes: u64) ?[*]align(64) u8 {
    if (top == 0) {
        top = std.mem.alignForward(usize, @intFromPtr(&__heap_base), 64);
        floor = top;
    }
    const end = std.mem.alignForward(u64, @as(u64, top) + bytes, 64);
    const have = @as(u64, @wasmMemorySize(0)) << 16;
    if (end >= 1 << 31) return null;
    if (end > have and @wasmMemoryGrow(0, @intCast((end - have + 65535) >> 16)) < 0) return null;
    defer top = @intCast(end);
    return @ptrFromInt(top);
}

fn takeFor(comptime T: type, n: usize) Error![]T {
    const at = take(@as(u64, n) * @sizeOf(T)) orelse return fail(error.Memory, "no memory for the result");
    return @as([*]T, @ptrCast(at))[0..n];
}

/// Memory that lasts until the next call, or for good if it is asked for in `init`.
pub const allocator: std.mem.Allocator = .{ .ptr = undefined, .vtable = &.{
    .alloc = allocate,
    .resize = std.mem.Allocator.noResize,
    .remap = std.mem.Allocator.noRemap,
    .free = std.mem.Allocator.noFree,
} };

fn allocate(_: *anyopaque, n: usize, alignment: std.mem.Alignment, _: usize) ?[*]u8 {
    return if (alignment.toByteUnits() <= 64) take(n) else null;
}

fn df_alloc(bytes: u32) callconv(.c) usize {
    return if (take(bytes)) |at| @intFromPtr(at) else 0;
}

fn df_reset() callconv(.c) void {
    top = floor;
}

fn df_abi_version() callconv(.c) i32 {
    return 1;
}

fn df_formats() callconv(.c) i32 {
    return 4;
}

// ---- errors ----

var last_error: Slice = .{ .ptr = 0, .len = 0, .format = 0 };

/// Note why, and return the error: `return df.fail(error.Input, "price must not be negative")`.
pub fn fail(code: Error, text: []const u8) Error {
    last_error = .{ .ptr = @intFromPtr(text.ptr), .len = text.len, .format = 0 };
    return code;
}

fn df_last_error() callconv(.c) *Slice {
    return &last_error;
}

fn number(code: Error) i32 {
    return switch (code) {
        error.Config => -1,
        error.Input => -2,
        error.Type => -3,
        error.Memory, error.OutOfMemory => -4,
        error.Internal => -5,
        error.Unsupported => -6,
    };
}

// ---- reading ----

/// What the host hands over.
pub const Batch = struct {
    raw: *const RawBatch,
    rows: u32,

    fn of(raw: *const RawBatch) Batch {
        return .{ .raw = raw, .rows = @intCast(raw.array.length) };
    }

    /// How many columns there are.
    pub fn width(batch: Batch) usize {
        return @intCast(batch.raw.schema.n_children);
    }

    /// The name of the column at a place.
    pub fn nameOf(batch: Batch, place: usize) []const u8 {
        return std.mem.span(batch.raw.schema.children.?[place].name);
    }

    /// The column of a name. T is an integer, a float, bool, or []const u8 for text and binary; dates and times are
    /// the integers they are made of.
    pub fn column(batch: Batch, comptime T: type, name: []const u8) Error!Column(T) {
        for (0..batch.width()) |place| {
            if (std.mem.eql(u8, batch.nameOf(place), name)) return batch.nth(T, place);
        }
        return fail(error.Input, joined(&.{ "there is no column ", name }));
    }

    /// The column at a place, counted from 0.
    pub fn nth(batch: Batch, comptime T: type, place: usize) Error!Column(T) {
        if (place >= batch.width()) return fail(error.Input, "there are too few columns");
        const schema = batch.raw.schema.children.?[place];
        const format = std.mem.span(schema.format);
        if (!accepts(T, format)) {
            const name = batch.nameOf(place);
            return fail(error.Type, joined(&.{ "column ", name, " has the Arrow format ", format, " and must be ", told(T) }));
        }
        return .of(batch.raw.array.children.?[place], format);
    }

    /// The group of each row, for an Aggregator.
    pub fn groups(batch: Batch) []const u32 {
        const last = batch.raw.array.children.?[batch.width() - 1];
        return @as([*]const u32, @ptrCast(@alignCast(last.buffers[1].?)))[0..batch.rows];
    }
};

/// A column: `values` of a number, and for each type `at(row)`, which is null where the column is.
pub fn Column(comptime T: type) type {
    return struct {
        values: if (isText(T)) []const i64 else if (T == bool) []const u8 else []const T,
        bytes: [*]const u8,
        valid: ?[*]const u8,
        nulls: i64,
        rows: u32,
        format: [:0]const u8,

        const Self = @This();

        fn of(array: *const Array, format: [:0]const u8) Self {
            const rows: u32 = @intCast(array.length);
            const length = if (isText(T)) rows + 1 else if (T == bool) (rows + 7) / 8 else rows;
            const data: [*]const u8 = array.buffers[1] orelse @ptrFromInt(64);
            return .{
                .values = @as([*]const std.meta.Elem(@FieldType(Self, "values")), @ptrCast(@alignCast(data)))[0..length],
                .bytes = if (isText(T)) array.buffers[2] orelse @ptrFromInt(64) else data,
                .valid = array.buffers[0],
                .nulls = array.null_count,
                .rows = rows,
                .format = format,
            };
        }

        /// Whether a row is not null.
        pub inline fn isValid(self: Self, row: usize) bool {
            const bits = self.valid orelse return true;
            return bits[row >> 3] >> @intCast(row & 7) & 1 != 0;
        }

        /// The value of a row whether it is null or not.
        pub inline fn raw(self: Self, row: usize) T {
            if (T == bool) return self.values[row >> 3] >> @intCast(row & 7) & 1 != 0;
            if (!isText(T)) return self.values[row];
            return self.bytes[@intCast(self.values[row])..@intCast(self.values[row + 1])];
        }

        /// The value of a row.
        pub inline fn at(self: Self, row: usize) ?T {
            return if (self.isValid(row)) self.raw(row) else null;
        }

        /// How many bytes all rows of a text column have together.
        pub fn size(self: Self) usize {
            return if (isText(T)) @intCast(self.values[self.rows]) else self.values.len * @sizeOf(T);
        }
    };
}

inline fn isText(comptime T: type) bool {
    return T == []const u8;
}

fn accepts(comptime T: type, format: []const u8) bool {
    if (isText(T)) return format[0] == 'U' or format[0] == 'Z';
    if (format[0] == formatOf(T)[0]) return true;
    if (T == i32) return std.mem.eql(u8, format, "tdD");
    return T == i64 and format[0] == 't' and format[1] != 'd';
}

fn formatOf(comptime T: type) [:0]const u8 {
    return switch (T) {
        i8 => "c",
        u8 => "C",
        i16 => "s",
        u16 => "S",
        i32 => "i",
        u32 => "I",
        i64 => "l",
        u64 => "L",
        f32 => "f",
        f64 => "g",
        bool => "b",
        []const u8 => "u",
        else => @compileError("no column holds " ++ @typeName(T) ++ "; take an integer, a float, bool or []const u8"),
    };
}

fn told(comptime T: type) []const u8 {
    return if (isText(T)) "text" else @typeName(T);
}

/// One text of several.
pub fn concat(parts: []const []const u8) Error![]const u8 {
    return std.mem.concat(allocator, u8, parts) catch fail(error.Memory, "no memory for a text");
}

fn joined(parts: []const []const u8) []const u8 {
    return concat(parts) catch "a column does not fit";
}

// ---- answering ----

/// A column to return. Of a number, fill `values`; or `put` each row in order, which may be null.
pub fn Out(comptime T: type) type {
    return struct {
        name: []const u8,
        format: []const u8,
        rows: u32,
        values: if (isText(T)) []u32 else if (T == bool) []u8 else []T,
        bytes: []u8,
        valid: ?[]u8,
        nulls: i64,

        const Self = @This();

        /// A column of zeros (or empty texts) without nulls.
        pub fn init(name: []const u8, rows: u32) Error!Self {
            const length = if (isText(T)) rows + 1 else if (T == bool) (rows + 7) / 8 else rows;
            const values = try takeFor(std.meta.Elem(@FieldType(Self, "values")), length);
            @memset(values, 0);
            return .{ .name = name, .format = formatOf(T), .rows = rows, .values = values, .bytes = &.{}, .valid = null, .nulls = 0 };
        }

        /// As long as a column and null where it is.
        pub fn like(name: []const u8, column: anytype) Error!Self {
            var out = try init(name, column.rows);
            if (column.nulls != 0) {
                out.valid = @constCast(column.valid.?)[0 .. (column.rows + 7) / 8];
                out.nulls = column.nulls;
            }
            return out;
        }

        /// Say what a row holds. Text grows as it needs to; `reserve` first, if you know how much it will be.
        pub inline fn put(self: *Self, row: usize, value: ?T) Error!void {
            const is = value orelse return self.putNull(row);
            if (T == bool) {
                self.values[row >> 3] |= @as(u8, @intFromBool(is)) << @intCast(row & 7);
            } else if (!isText(T)) {
                self.values[row] = is;
            } else {
                const start = self.values[row];
                if (self.bytes.len - start < is.len) try self.reserve(start, is.len);
                @memcpy(self.bytes[start..][0..is.len], is);
                self.values[row + 1] = start + is.len;
            }
        }

        /// Make a row null.
        pub fn putNull(self: *Self, row: usize) Error!void {
            if (self.valid == null) {
                self.valid = try takeFor(u8, (self.rows + 7) / 8);
                @memset(self.valid.?, 0xff);
            }
            self.valid.?[row >> 3] &= ~(@as(u8, 1) << @intCast(row & 7));
            self.nulls += 1;
            if (isText(T)) self.values[row + 1] = self.values[row];
        }

        /// The column for `answerAll`.
        pub fn any(self: Self) AnyOut {
            return .{
                .name = self.name,
                .format = self.format,
                .rows = self.rows,
                .nulls = self.nulls,
                .valid = if (self.valid) |bits| bits.ptr else null,
                .values = @ptrCast(self.values.ptr),
                .bytes = if (isText(T)) self.bytes.ptr else null,
            };
        }

        /// Have room for `more` bytes of text after `used`.
        pub fn reserve(self: *Self, used: usize, more: usize) Error!void {
            const larger = try takeFor(u8, @max(used + more, self.bytes.len * 2) + 16);
            @memcpy(larger[0..used], self.bytes[0..used]);
            self.bytes = larger;
        }
    };
}

/// What goes back to the host.
pub const Answer = struct { at: i32 };

var answer_slice: Slice = undefined;
var answer_batch: RawBatch = undefined;

/// A column to return, whatever it holds.
pub const AnyOut = struct {
    name: []const u8,
    format: []const u8,
    rows: u32,
    nulls: i64,
    valid: ?[*]const u8,
    values: [*]const u8,
    bytes: ?[*]const u8,
};

/// Return columns: `df.answer(.{ one, two })`.
pub fn answer(outs: anytype) Error!Answer {
    var columns: [outs.len]AnyOut = undefined;
    inline for (outs, 0..) |out, i| columns[i] = out.any();
    return answerAll(&columns);
}

/// Return columns that are chosen when it runs: `columns[0] = out.any()`.
pub fn answerAll(outs: []const AnyOut) Error!Answer {
    const width = outs.len;
    const schemas = try takeFor(Schema, width + 1);
    const arrays = try takeFor(Array, width + 1);
    const schema_list = try takeFor(*Schema, width);
    const array_list = try takeFor(*Array, width);
    const buffers = try takeFor(?[*]const u8, 1 + 3 * width);
    buffers[0] = null;
    const rows: i64 = if (width > 0) outs[0].rows else 0;
    schemas[0] = .{ .format = "+s", .name = "", .n_children = width, .children = schema_list.ptr };
    arrays[0] = .{ .length = rows, .n_buffers = 1, .n_children = width, .buffers = buffers.ptr, .children = array_list.ptr };
    for (outs, 0..) |out, i| {
        const list = buffers[1 + 3 * i ..][0..3];
        list.* = .{ if (out.nulls != 0) out.valid else null, out.values, out.bytes };
        schemas[i + 1] = .{ .format = try terminated(out.format), .name = try terminated(out.name), .flags = 2 };
        arrays[i + 1] = .{ .length = out.rows, .null_count = out.nulls, .n_buffers = if (out.bytes == null) 2 else 3, .buffers = list };
        schema_list[i] = &schemas[i + 1];
        array_list[i] = &arrays[i + 1];
    }
    answer_batch = .{ .schema = &schemas[0], .array = &arrays[0] };
    answer_slice = .{ .ptr = @intFromPtr(&answer_batch), .len = @sizeOf(RawBatch), .format = arrow_c };
    return .{ .at = @intCast(@intFromPtr(&answer_slice)) };
}

fn terminated(text: []const u8) Error![*:0]const u8 {
    const copy = try takeFor(u8, text.len + 1);
    @memcpy(copy[0..text.len], text);
    copy[text.len] = 0;
    return copy[0..text.len :0].ptr;
}

fn answerBytes(bytes: []const u8) i32 {
    answer_slice = .{ .ptr = @intFromPtr(bytes.ptr), .len = bytes.len, .format = 0 };
    return @intCast(@intFromPtr(&answer_slice));
}

// ---- configuration: the JSON of plugin.json's `config`, into a struct ----

const Json = struct {
    text: []const u8,
    at: usize = 0,
    field: []const u8 = "",
    wanted: []const u8 = "an object",

    const Self = @This();

    fn why(self: Self) []const u8 {
        return joined(&.{ "`", self.field, "` must be ", self.wanted });
    }

    fn peek(self: *Self) u8 {
        while (self.at < self.text.len) : (self.at += 1) switch (self.text[self.at]) {
            ' ', '\n', '\r', '\t' => {},
            else => |c| return c,
        };
        return 0;
    }

    fn is(self: *Self, c: u8) bool {
        if (self.peek() != c) return false;
        self.at += 1;
        return true;
    }

    fn need(self: *Self, c: u8) Error!void {
        if (!self.is(c)) return error.Config;
    }

    /// Read the fields a struct has, leave the others out, and take the defaults of what is not there.
    fn readStruct(self: *Self, comptime T: type, to: *T) Error!void {
        const names = @typeInfo(T).@"struct".field_names;
        const types = @typeInfo(T).@"struct".field_types;
        const attributes = @typeInfo(T).@"struct".field_attrs;
        var found: [names.len]bool = @splat(false);
        inline for (names, types, attributes, 0..) |name, Field, attribute, i| if (attribute.defaultValue(Field)) |value| {
            @field(to, name) = value;
            found[i] = true;
        };
        try self.need('{');
        while (!self.is('}')) {
            const key = try self.readText();
            try self.need(':');
            var known = false;
            inline for (names, types, 0..) |name, Field, i| if (std.mem.eql(u8, key, name)) {
                self.field = name;
                try self.read(Field, &@field(to, name));
                found[i] = true;
                known = true;
            };
            if (!known) self.skip();
            _ = self.is(',');
        }
        inline for (names, 0..) |name, i| if (!found[i]) {
            self.field = name;
            self.wanted = "there";
            return error.Config;
        };
    }

    fn read(self: *Self, comptime T: type, to: *T) Error!void {
        if (T == bool) {
            self.wanted = "true or false";
            const start = self.at;
            self.skip();
            const word = std.mem.trim(u8, self.text[start..self.at], " \n\r\t");
            to.* = std.mem.eql(u8, word, "true");
            if (!to.* and !std.mem.eql(u8, word, "false")) return error.Config;
        } else if (T == []const u8) {
            self.wanted = "text";
            to.* = try self.readText();
        } else if (T == []const []const u8) {
            self.wanted = "a list of texts";
            try self.need('[');
            var list: std.ArrayList([]const u8) = .empty;
            while (!self.is(']')) : (_ = self.is(',')) list.append(allocator, try self.readText()) catch return error.Memory;
            to.* = list.items;
        } else switch (@typeInfo(T)) {
            .float => {
                self.wanted = "a number";
                to.* = @floatCast(try self.readNumber());
            },
            .int => {
                self.wanted = "a whole number (" ++ @typeName(T) ++ ")";
                const value = try self.readNumber();
                const most: f64 = @min(@as(comptime_int, std.math.maxInt(T)), 1 << 53);
                const least: f64 = @max(@as(comptime_int, std.math.minInt(T)), -(1 << 53));
                if (value != @floor(value) or value < least or value > most) return error.Config;
                to.* = @intFromFloat(value);
            },
            .@"enum" => {
                self.wanted = comptime blk: {
                    var text: []const u8 = "one of";
                    for (std.meta.fieldNames(T)) |name| text = text ++ " " ++ name;
                    break :blk text;
                };
                to.* = std.meta.stringToEnum(T, try self.readText()) orelse return error.Config;
            },
            else => @compileError("no setting can be " ++ @typeName(T) ++ "; take bool, a number, an enum, text or a list of texts"),
        }
    }

    /// Right to the last bit up to 15 digits and a power of ten up to 22.
    fn readNumber(self: *Self) Error!f64 {
        const negative = self.is('-');
        var value: f64 = 0;
        var tens: i32 = 0;
        var digits: u32 = 0;
        var after = false;
        while (self.at < self.text.len) : (self.at += 1) switch (self.text[self.at]) {
            '0'...'9' => |c| {
                value = value * 10 + @as(f64, @floatFromInt(c - '0'));
                digits += 1;
                if (after) tens -= 1;
            },
            '.' => after = true,
            'e', 'E' => {
                self.at += 1;
                if (self.at < self.text.len and self.text[self.at] == '+') self.at += 1;
                const shift = try self.readNumber();
                if (@abs(shift) > 400) return error.Config;
                tens += @intFromFloat(shift);
                break;
            },
            else => break,
        };
        if (digits == 0) return error.Config;
        var scale: f64 = 1;
        for (0..@abs(tens)) |_| scale *= 10;
        value = if (tens < 0) value / scale else value * scale;
        return if (negative) -value else value;
    }

    fn readText(self: *Self) Error![]const u8 {
        try self.need('"');
        var out = try takeFor(u8, (std.mem.findScalar(u8, self.text[self.at..], '"') orelse 0) + 1);
        var n: usize = 0;
        while (self.at < self.text.len and self.text[self.at] != '"') : (self.at += 1) {
            var c = self.text[self.at];
            if (n + 4 > out.len) {
                const larger = try takeFor(u8, out.len * 2 + 4);
                @memcpy(larger[0..n], out[0..n]);
                out = larger;
            }
            if (c == '\\') {
                self.at += 1;
                c = switch (self.text[self.at]) {
                    'n' => '\n',
                    'r' => '\r',
                    't' => '\t',
                    'b' => 8,
                    'f' => 12,
                    'u' => {
                        if (self.at + 4 >= self.text.len) return error.Config;
                        const code = std.fmt.parseInt(u16, self.text[self.at + 1 ..][0..4], 16) catch return error.Config;
                        self.at += 4;
                        n += std.unicode.utf8Encode(code, out[n..]) catch return error.Config;
                        continue;
                    },
                    else => |other| other,
                };
            }
            out[n] = c;
            n += 1;
        }
        try self.need('"');
        return out[0..n];
    }

    fn skip(self: *Self) void {
        var depth: u32 = 0;
        while (true) {
            switch (self.peek()) {
                '"' => _ = self.readText() catch return,
                '{', '[' => {
                    depth += 1;
                    self.at += 1;
                },
                '}', ']' => {
                    if (depth == 0) return;
                    depth -= 1;
                    self.at += 1;
                },
                ',' => if (depth == 0) return else {
                    self.at += 1;
                },
                0 => return,
                else => self.at += 1,
            }
        }
    }
};

// ---- the exports ----

/// Export what a plugin has.
pub fn plugin(comptime Root: type) void {
    const has = struct {
        fn has(comptime name: []const u8) bool {
            return @hasDecl(Root, name);
        }
    }.has;
    const Of = Exports(Root);
    @export(&df_abi_version, .{ .name = "df_abi_version" });
    @export(&df_formats, .{ .name = "df_formats" });
    @export(&df_alloc, .{ .name = "df_alloc" });
    @export(&df_reset, .{ .name = "df_reset" });
    @export(&df_last_error, .{ .name = "df_last_error" });
    @export(&Of.plugin_init, .{ .name = "plugin_init" });
    if (has("process")) @export(&Of.process_data, .{ .name = "process_data" });
    if (has("transform")) @export(&Of.transform_data, .{ .name = "transform_data" });
    if (has("filter")) @export(&Of.filter_data, .{ .name = "filter_data" });
    if (has("read")) @export(&Of.read_data, .{ .name = "read_data" });
    if (has("position")) {
        @export(&Of.df_offset, .{ .name = "df_offset" });
        @export(&Of.df_seek, .{ .name = "df_seek" });
    }
    if (has("write")) @export(&Of.write_data, .{ .name = "write_data" });
    if (has("prepare")) @export(&Of.df_prepare, .{ .name = "df_prepare" });
    if (has("commit")) @export(&Of.df_commit, .{ .name = "df_commit" });
    if (has("abort")) @export(&Of.df_abort, .{ .name = "df_abort" });
    if (has("aggregate")) {
        @export(&Of.df_groups, .{ .name = "df_groups" });
        @export(&Of.aggregate_data, .{ .name = "aggregate_data" });
    }
    if (has("merge")) @export(&Of.df_merge, .{ .name = "df_merge" });
    if (has("final")) @export(&Of.df_final, .{ .name = "df_final" });
}

fn Exports(comptime Root: type) type {
    return struct {
        var group_count: u32 = 0;

        fn given(result: Error!Answer) i32 {
            const found = result catch |code| return number(code);
            return found.at;
        }

        fn done(result: Error!void) i32 {
            result catch |code| return number(code);
            return 0;
        }

        fn plugin_init(at: [*]const u8, length: u32) callconv(.c) i32 {
            const code = if (@hasDecl(Root, "init")) done(configured(at[0..length])) else 0;
            _ = take(0);
            floor = top;
            return code;
        }

        fn configured(json: []const u8) Error!void {
            const Settings = @FieldType(std.meta.ArgsTuple(@TypeOf(Root.init)), "0");
            var settings: Settings = undefined;
            var reader: Json = .{ .text = json };
            reader.readStruct(Settings, &settings) catch |code| return if (code == error.Memory) code else fail(error.Config, reader.why());
            return Root.init(settings);
        }

        fn process_data(at: *const RawBatch, _: u32) callconv(.c) i32 {
            return given(Root.process(.of(at)));
        }
        fn transform_data(at: *const RawBatch, _: u32) callconv(.c) i32 {
            return given(Root.transform(.of(at)));
        }
        fn filter_data(at: *const RawBatch, _: u32) callconv(.c) i32 {
            return given(Root.filter(.of(at)));
        }
        fn read_data() callconv(.c) i32 {
            const found: ?Answer = Root.read() catch |code| return number(code);
            return if (found) |it| it.at else 0;
        }
        fn df_offset() callconv(.c) i32 {
            return answerBytes(std.mem.asBytes(&Root.position));
        }
        fn df_seek(at: [*]const u8, length: u32) callconv(.c) i32 {
            if (length != @sizeOf(@TypeOf(Root.position))) {
                return number(fail(error.Input, "the position is of another version of this plugin"));
            }
            @memcpy(std.mem.asBytes(&Root.position), at[0..length]);
            return 0;
        }
        fn write_data(at: *const RawBatch, _: u32) callconv(.c) i32 {
            return done(Root.write(.of(at)));
        }
        fn df_prepare(epoch: i64) callconv(.c) i32 {
            const token: []const u8 = Root.prepare(epoch) catch |code| return number(code);
            return if (token.len == 0) 0 else answerBytes(token);
        }
        fn df_commit(epoch: i64, at: [*]const u8, length: u32) callconv(.c) i32 {
            return done(Root.commit(epoch, at[0..length]));
        }
        fn df_abort() callconv(.c) i32 {
            Root.abort();
            return 0;
        }
        fn df_groups(n: u32) callconv(.c) void {
            group_count = n;
        }
        fn aggregate_data(at: *const RawBatch, _: u32) callconv(.c) i32 {
            return given(Root.aggregate(.of(at), group_count));
        }
        fn df_merge(at: *const RawBatch, _: u32) callconv(.c) i32 {
            return given(Root.merge(.of(at), group_count));
        }
        fn df_final(at: *const RawBatch, _: u32) callconv(.c) i32 {
            return given(Root.final(.of(at)));
        }
    };
}
