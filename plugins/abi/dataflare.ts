/* dataflare.ts: write a dfx/1 plugin in AssemblyScript.
 *
 *     import * as df from "./dataflare";
 *
 *     export function process_data(at: usize, length: u32): i32 {
 *       const batch = new df.Batch(at);
 *       const price = batch.column<f64>("price");
 *       if (price == null) return df.failed();
 *       const out = df.Out.like<f64>("with_tax", price);
 *       if (out == null) return df.failed();
 *       for (let row = 0; row < batch.rows; row++) out.set(row, price.at(row) * 1.2);
 *       return df.answer([out]);
 *     }
 *
 * It exports the work of its type by the names of the ABI (process_data, transform_data, filter_data, read_data,
 * write_data, aggregate_data with df_merge and df_final, plugin_init); the rest of the exports is added when it is built:
 *
 *     export { df_abi_version, df_formats, df_alloc, df_reset, df_last_error, df_groups } from "./dataflare";
 *
 * Objects and strings are collected between calls. A failed assertion, an index out of range or `throw` ends the guest:
 * answer with `df.fail(df.E_INPUT, "why")` instead.
 */

// ---- what the host offers; a call costs about 10 us: never one per row ----

@external("dataflare", "host_log") declare function host_log(level: i32, text: usize, length: u32): void;
@external("dataflare", "host_get_time") declare function host_get_time(): i64;
@external("dataflare", "host_random") declare function host_random(): f64;
@external("dataflare", "host_counter") declare function host_counter(name: usize, length: u32, by: i64): void;

export const DEBUG = 0, INFO = 1, WARNING = 2, ERROR = 3;

/** Write to the host's log. */
export function log(level: i32, text: string): void {
  const bytes = String.UTF8.encode(text);
  host_log(level, changetype<usize>(bytes), bytes.byteLength);
}

/** Microseconds since the epoch, UTC. */
export function now(): i64 {
  return host_get_time();
}

/** A number in [0, 1). */
export function random(): f64 {
  return host_random();
}

/** Add to a counter that the dashboard shows. */
export function count(name: string, by: i64): void {
  const bytes = String.UTF8.encode(name);
  host_counter(changetype<usize>(bytes), bytes.byteLength, by);
}

/** What `throw` and failed assertions do: tell the log why and end the guest. */
export function df_abort(message: string | null, file: string | null, line: u32, column: u32): void {
  const where = file == null ? "" : file + ", line " + line.toString() + ": ";
  log(ERROR, where + (message == null ? "aborted" : message));
  unreachable();
}

// ---- memory: an arena that the host empties between batches, beside the collected heap ----

const MOST_REGIONS = 256;
const region_starts = new StaticArray<usize>(MOST_REGIONS), region_ends = new StaticArray<usize>(MOST_REGIONS);
let regions: i32 = 0, region: i32 = 0, top: usize = 0;
let floor_region: i32 = 0, floor_top: usize = 0, started = false;

/** Memory until the next call, 64-byte aligned; 0 when there is none. */
export function take(bytes: u64): usize {
  if (bytes >= 1 << 31) return 0;
  const size = (<usize>bytes + 63) & ~63;
  while (region < regions) {
    if (unchecked(region_ends[region]) - top >= size) {
      top += size;
      return top - size;
    }
    if (region + 1 == regions) break;
    region++;
    top = unchecked(region_starts[region]);
  }
  const end = <usize>memory.size() << 16;
  const follows = regions > 0 && unchecked(region_ends[regions - 1]) == end;
  const lacking = follows ? size - (end - top) : size;
  const pages = <i32>((lacking + 65535) >> 16);
  if (<u64>end + (<u64>pages << 16) >= 1 << 31 || memory.grow(pages) < 0) return 0;
  if (follows) {
    unchecked(region_ends[regions - 1] = end + (<usize>pages << 16));
  } else {
    if (regions == MOST_REGIONS) return 0;
    region = regions++;
    unchecked(region_starts[region] = end);
    unchecked(region_ends[region] = end + (<usize>pages << 16));
    top = end;
  }
  top += size;
  return top - size;
}

export function df_alloc(bytes: u32): usize {
  return take(bytes);
}

export function df_reset(): void {
  if (!started) {
    // What was allocated before the first batch is what plugin_init made.
    started = true;
    floor_region = region;
    floor_top = top;
  }
  region = floor_region;
  top = floor_top ? floor_top : unchecked(region_starts[0]);
  __collect();
}

export function df_abi_version(): i32 {
  return 1;
}

export function df_formats(): i32 {
  return 4;
}

// ---- errors ----

export const E_CONFIG = -1, E_INPUT = -2, E_TYPE = -3, E_MEMORY = -4, E_INTERNAL = -5, E_UNSUPPORTED = -6, E_OWN = -1000;

const last_error = memory.data(16);
const error_text = memory.data(512);
let last_code: i32 = E_INTERNAL;

/** Note why, and return the code: `return df.fail(df.E_INPUT, "price must not be negative")`. */
export function fail(code: i32, text: string): i32 {
  const bytes = String.UTF8.encode(text);
  const length = min(bytes.byteLength, 512);
  memory.copy(error_text, changetype<usize>(bytes), length);
  store<u32>(last_error, error_text);
  store<u32>(last_error, length, 4);
  last_code = code;
  return code;
}

/** The code of what failed last: `if (price == null) return df.failed()`. */
export function failed(): i32 {
  return last_code;
}

export function df_last_error(): usize {
  return last_error;
}

// ---- reading: the Arrow C Data Interface with 32-bit pointers ----

/** What the host hands over. */
export class Batch {
  rows: i32;
  width: i32;
  private schemas: usize;
  private arrays: usize;

  constructor(at: usize) {
    const schema = load<u32>(at), array = load<u32>(at, 4);
    this.rows = <i32>load<i64>(array);
    this.width = <i32>load<i64>(schema, 24);
    this.schemas = load<u32>(schema, 32);
    this.arrays = load<u32>(array, 44);
  }

  /** The name of a column. */
  name(place: i32): string {
    return text_at(load<u32>(this.schema(place), 4));
  }

  /** The Arrow format of a column. */
  format(place: i32): string {
    return text_at(load<u32>(this.schema(place)));
  }

  /** The column of a name; null, and `failed()`, if there is none or it is no T. Dates and times are integers. */
  column<T>(name: string): Column<T> | null {
    const place = this.find(name);
    return place < 0 ? null : this.nth<T>(place);
  }

  /** The column at a place, counted from 0. */
  nth<T>(place: i32): Column<T> | null {
    if (!this.is(place, format_of<T>(), also<T>(), nameof<T>())) return null;
    return new Column<T>(load<u32>(this.arrays + (<usize>place << 2)), this.rows);
  }

  /** The text column of a name. */
  text(name: string): Text | null {
    const place = this.find(name);
    return place < 0 ? null : this.nthText(place);
  }

  /** The text column at a place. */
  nthText(place: i32): Text | null {
    if (!this.is(place, "U", "", "text")) return null;
    return new Text(load<u32>(this.arrays + (<usize>place << 2)), this.rows);
  }

  /** The column of bytes at a place. */
  nthBinary(place: i32): Text | null {
    if (!this.is(place, "Z", "", "binary")) return null;
    return new Text(load<u32>(this.arrays + (<usize>place << 2)), this.rows);
  }

  /** The group of each row, for an Aggregator. */
  groups(): Column<u32> {
    return new Column<u32>(load<u32>(this.arrays + (<usize>(this.width - 1) << 2)), this.rows);
  }

  private schema(place: i32): usize {
    return load<u32>(this.schemas + (<usize>place << 2));
  }

  private find(name: string): i32 {
    for (let place = 0; place < this.width; place++) if (this.name(place) == name) return place;
    fail(E_INPUT, "there is no column " + name);
    return -1;
  }

  private is(place: i32, wanted: string, also: string, told: string): bool {
    if (place >= this.width) {
      fail(E_INPUT, "there are too few columns");
      return false;
    }
    const found = this.format(place);
    if (found == wanted || (also.length > 0 && also.includes(found.substring(0, 2)))) return true;
    fail(E_TYPE, "column " + this.name(place) + " has the Arrow format " + found + " and must be " + told);
    return false;
  }
}

function text_at(at: usize): string {
  let end = at;
  while (load<u8>(end)) end++;
  return String.UTF8.decodeUnsafe(at, end - at);
}

function format_of<T>(): string {
  if (isBoolean<T>()) return "b";
  if (isFloat<T>()) return sizeof<T>() == 8 ? "g" : "f";
  if (sizeof<T>() == 1) return isSigned<T>() ? "c" : "C";
  if (sizeof<T>() == 2) return isSigned<T>() ? "s" : "S";
  if (sizeof<T>() == 4) return isSigned<T>() ? "i" : "I";
  return isSigned<T>() ? "l" : "L";
}

/** The beginnings of other formats that hold a T. */
function also<T>(): string {
  if (isFloat<T>() || !isSigned<T>()) return "";
  return sizeof<T>() == 8 ? "ts tD tt" : sizeof<T>() == 4 ? "td" : "";
}

/** A column, whatever it holds. */
export class Known {
  constructor(public array: usize, public rows: i32) {
    this.valid = load<u32>(load<u32>(array, 40));
  }

  valid: usize;

  /** Whether a row is not null. */
  @inline isValid(row: i32): bool {
    return !this.valid || <bool>((load<u8>(this.valid + (row >> 3)) >> <u8>(row & 7)) & 1);
  }
}

/** A column of numbers or Booleans. */
export class Column<T> extends Known {
  data: usize;

  constructor(array: usize, rows: i32) {
    super(array, rows);
    this.data = load<u32>(load<u32>(array, 40), 4);
  }

  /** The value of a row, whether it is null or not. */
  @inline at(row: i32): T {
    if (isBoolean<T>()) return <T>((load<u8>(this.data + (row >> 3)) >> <u8>(row & 7)) & 1);
    return load<T>(this.data + <usize>row * sizeof<T>());
  }
}

/** A column of text, or of bytes. */
export class Text extends Known {
  private ends: usize;
  private bytes: usize;

  constructor(array: usize, rows: i32) {
    super(array, rows);
    this.ends = load<u32>(load<u32>(array, 40), 4);
    this.bytes = load<u32>(load<u32>(array, 40), 8);
  }

  /** Where the text of a row begins, as UTF-8; 16 bytes after it may be read. */
  @inline start(row: i32): usize {
    return this.bytes + <usize>load<i64>(this.ends + (<usize>row << 3));
  }

  /** Where it ends. */
  @inline end(row: i32): usize {
    return this.bytes + <usize>load<i64>(this.ends + (<usize>row << 3), 8);
  }

  /** The text of a row as a string, null where it is. `start` and `end` cost less. */
  get(row: i32): string | null {
    if (!this.isValid(row)) return null;
    return String.UTF8.decodeUnsafe(this.start(row), this.end(row) - this.start(row));
  }

  /** How many bytes all rows have together. */
  get size(): usize {
    return <usize>load<i64>(this.ends + (<usize>this.rows << 3));
  }
}

// ---- answering ----

/** A column to return. */
export class Output {
  valid: usize = 0;
  nulls: i64 = 0;
  data: usize = 0;
  ends: usize = 0;

  constructor(public name: string, public format: string, public rows: i32) {}

  /** Make a row null, once. False when there is no memory. */
  setNull(row: i32): bool {
    if (!this.valid) {
      const size = (this.rows + 7) >> 3;
      this.valid = take(size);
      if (!this.valid) return !fail(E_MEMORY, "no memory for the result");
      memory.fill(this.valid, 0xff, size);
    }
    const at = this.valid + (row >> 3);
    store<u8>(at, load<u8>(at) & ~(<u8>1 << <u8>(row & 7)));
    this.nulls++;
    return true;
  }
}

/** A column of numbers or Booleans to return. */
export class Out<T> extends Output {
  constructor(name: string, rows: i32) {
    super(name, format_of<T>(), rows);
    const size = isBoolean<T>() ? <u64>((rows + 7) >> 3) : <u64>rows * sizeof<T>();
    this.data = take(size);
    if (this.data) memory.fill(this.data, 0, <usize>size);
    else fail(E_MEMORY, "no memory for the result");
  }

  /** A column of zeros; null, and `failed()`, if there is no memory. */
  static of<T>(name: string, rows: i32): Out<T> | null {
    const out = new Out<T>(name, rows);
    return out.data ? out : null;
  }

  /** The same, as long as a column and null where it is. */
  static like<T>(name: string, column: Known): Out<T> | null {
    const out = new Out<T>(name, column.rows);
    if (!out.data) return null;
    out.valid = column.valid;
    out.nulls = column.valid ? load<i64>(column.array, 8) : 0;
    return out;
  }

  /** What a row holds so far. */
  @inline at(row: i32): T {
    if (isBoolean<T>()) return <T>((load<u8>(this.data + (row >> 3)) >> <u8>(row & 7)) & 1);
    return load<T>(this.data + <usize>row * sizeof<T>());
  }

  /** Set a row; a Boolean once. */
  @inline set(row: i32, value: T): void {
    if (isBoolean<T>()) store<u8>(this.data + (row >> 3), load<u8>(this.data + (row >> 3)) | (<u8>value << <u8>(row & 7)));
    else store<T>(this.data + <usize>row * sizeof<T>(), value);
  }
}

/** A column of text to return, row by row in order: `put`, or `push` parts and then `end` the row. */
export class TextOut extends Output {
  private used: usize = 0;
  private room: usize;

  constructor(name: string, rows: i32, bytes: usize, format: string = "u") {
    super(name, format, rows);
    this.room = bytes + 64;
    this.ends = take(<u64>(rows + 1) << 2);
    this.data = take(this.room + 16);
    if (this.ends && this.data) store<u32>(this.ends, 0);
    else fail(E_MEMORY, "no memory for the text");
  }

  /** A column with room for `bytes` of text, more is made when it is needed; null if there is no memory. */
  static of(name: string, rows: i32, bytes: usize): TextOut | null {
    const out = new TextOut(name, rows, bytes);
    return out.ends && out.data ? out : null;
  }

  /** Say what a row holds. False when there is no memory, here and below. */
  put(row: i32, text: string | null): bool {
    if (text == null) return this.putNull(row);
    const size = String.UTF8.byteLength(text);
    if (!this.reserve(size)) return false;
    String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, this.data + this.used);
    this.used += size;
    this.end(row);
    return true;
  }

  /** The same for bytes in memory. */
  @inline putBytes(row: i32, from: usize, length: usize): bool {
    if (!this.push(from, length)) return false;
    this.end(row);
    return true;
  }

  putNull(row: i32): bool {
    this.end(row);
    return this.setNull(row);
  }

  /** Add to the row that comes next. */
  @inline push(from: usize, length: usize): bool {
    if (!this.reserve(length)) return false;
    memory.copy(this.data + this.used, from, length);
    this.used += length;
    return true;
  }

  /** End a row with what was added to it. */
  @inline end(row: i32): void {
    store<u32>(this.ends + (<usize>row << 2), <u32>this.used, 4);
  }

  @inline private reserve(more: usize): bool {
    return this.room - this.used >= more || this.grow(more);
  }

  private grow(more: usize): bool {
    const room = max(this.used + more, this.room * 2);
    const larger = take(<u64>room + 16);
    if (!larger) return !fail(E_MEMORY, "no memory for the text");
    memory.copy(larger, this.data, this.used);
    this.data = larger;
    this.room = room;
    return true;
  }
}

/** Return columns to the host. */
export function answer(outs: Output[]): i32 {
  const width = outs.length;
  const schemas = take(48 * <u64>(width + 1)), arrays = take(64 * <u64>(width + 1));
  const lists = take(4 * <u64>(2 * width + 3 * width + 1)), head = take(24);
  if (!schemas || !arrays || !lists || !head) return fail(E_MEMORY, "no memory for the answer");
  memory.fill(schemas, 0, 48 * <usize>(width + 1));
  memory.fill(arrays, 0, 64 * <usize>(width + 1));
  const schema_list = lists, array_list = lists + 4 * width, buffers = array_list + 4 * width;
  store<u32>(buffers, 0);
  store<u32>(schemas, terminated("+s"));
  store<u32>(schemas, terminated(""), 4);
  store<i64>(schemas, width, 24);
  store<u32>(schemas, schema_list, 32);
  store<i64>(arrays, width ? outs[0].rows : 0);
  store<i64>(arrays, 1, 24);
  store<i64>(arrays, width, 32);
  store<u32>(arrays, buffers, 40);
  store<u32>(arrays, array_list, 44);
  for (let i = 0; i < width; i++) {
    const out = outs[i];
    const schema = schemas + 48 * (i + 1), array = arrays + 64 * (i + 1), list = buffers + 4 + 12 * i;
    const format = terminated(out.format), name = terminated(out.name);
    if (!format || !name) return fail(E_MEMORY, "no memory for the answer");
    store<u32>(schema, format);
    store<u32>(schema, name, 4);
    store<i64>(schema, 2, 16);
    store<u32>(list, out.nulls ? out.valid : 0);
    store<u32>(list, out.ends ? out.ends : out.data, 4);
    store<u32>(list, out.data, 8);
    store<i64>(array, out.rows);
    store<i64>(array, out.nulls, 8);
    store<i64>(array, out.ends ? 3 : 2, 24);
    store<u32>(array, list, 40);
    store<u32>(schema_list + 4 * i, schema);
    store<u32>(array_list + 4 * i, array);
  }
  store<u32>(head, schemas, 16);
  store<u32>(head, arrays, 20);
  return answer_slice(head, head + 16, 8, 3);
}

/** Return bytes to the host, as df_offset and df_prepare do. */
export function answer_bytes(at: usize, length: u32): i32 {
  const slice = take(16);
  return slice ? answer_slice(slice, at, length, 0) : fail(E_MEMORY, "no memory for the answer");
}

function answer_slice(slice: usize, at: usize, length: u32, format: u32): i32 {
  store<u32>(slice, at);
  store<u32>(slice, length, 4);
  store<u32>(slice, format, 8);
  store<u32>(slice, 0, 12);
  return <i32>slice;
}

function terminated(text: string): usize {
  const at = take(String.UTF8.byteLength(text, true));
  if (at) String.UTF8.encodeUnsafe(changetype<usize>(text), text.length, at, true);
  return at;
}

// ---- an Aggregator ----

/** How many groups there are, for aggregate_data and df_merge. */
export let group_count: i32 = 0;

export function df_groups(count: i32): void {
  group_count = count;
}

// ---- configuration: the JSON of plugin.json's `config`, as plugin_init gets it ----

/** The settings of a plugin. */
export class Config {
  private json: string;

  constructor(at: usize, length: u32) {
    this.json = String.UTF8.decodeUnsafe(at, length);
  }

  /** The text of a setting. Escapes other than \" and \\ are kept as they are written. */
  text(key: string, otherwise: string = ""): string {
    const raw = this.raw(key);
    return raw.startsWith('"') ? unquoted(raw) : otherwise;
  }

  number(key: string, otherwise: f64 = 0): f64 {
    const raw = this.raw(key);
    return raw.length > 0 && (raw.charCodeAt(0) == 45 || <u32>(raw.charCodeAt(0) - 48) < 10) ? parseFloat(raw) : otherwise;
  }

  flag(key: string, otherwise: bool = false): bool {
    const raw = this.raw(key);
    return raw == "true" || (raw != "false" && otherwise);
  }

  /** The texts of a list. */
  list(key: string): string[] {
    const items = this.items(key), found = new Array<string>();
    for (let i = 0; i < items.length; i++) if (items[i].startsWith('"')) found.push(unquoted(items[i]));
    return found;
  }

  /** The numbers of a list. */
  numbers(key: string): f64[] {
    const items = this.items(key), found = new Array<f64>();
    for (let i = 0; i < items.length; i++) found.push(parseFloat(items[i]));
    return found;
  }

  private items(key: string): string[] {
    const raw = this.raw(key), found = new Array<string>();
    if (!raw.startsWith("[")) return found;
    for (let at = skip(raw, 1); at < raw.length && raw.charCodeAt(at) != 93; ) {
      const end = after(raw, at);
      found.push(raw.substring(at, end));
      at = skip(raw, end);
      if (at < raw.length && raw.charCodeAt(at) == 44) at = skip(raw, at + 1);
    }
    return found;
  }

  /** The JSON of a setting, empty if there is none. */
  raw(key: string): string {
    const json = this.json;
    let at = skip(json, 1);
    while (at < json.length && json.charCodeAt(at) == 34) {
      const end = after(json, at);
      const found = unquoted(json.substring(at, end)) == key;
      at = skip(json, skip(json, end) + 1);
      const stop = after(json, at);
      if (found) return json.substring(at, stop);
      at = skip(json, skip(json, stop) + 1);
    }
    return "";
  }
}

function skip(json: string, at: i32): i32 {
  while (at < json.length && json.charCodeAt(at) <= 32) at++;
  return at;
}

/** The place after the value at a place. */
function after(json: string, at: i32): i32 {
  let depth = 0;
  while (at < json.length) {
    const c = json.charCodeAt(at);
    if (c == 34) {
      for (at++; at < json.length && json.charCodeAt(at) != 34; at++) if (json.charCodeAt(at) == 92) at++;
      at++;
    } else if (c == 123 || c == 91) {
      depth++;
      at++;
    } else if (c == 125 || c == 93) {
      if (!depth) return at;
      depth--;
      at++;
    } else if (!depth && (c == 44 || c <= 32)) {
      return at;
    } else {
      at++;
      continue;
    }
    if (!depth) return at;
  }
  return json.length;
}

function unquoted(json: string): string {
  return json.substring(1, json.length - 1).replaceAll('\\"', '"').replaceAll("\\\\", "\\");
}
