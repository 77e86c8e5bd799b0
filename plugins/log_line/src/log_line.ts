// log_line: take a line of a log apart, logfmt or CSV.
//
// logfmt (as Heroku's and Go's kr/logfmt write it): `key=value` and `key="quoted \"value\""` with spaces between, and a key
// alone means true. CSV by RFC 4180: a field in quotes holds anything, "" in it is a quote.
import * as df from "./dataflare";

const SPACE: u8 = 32, QUOTE: u8 = 34, EQUALS: u8 = 61, BACKSLASH: u8 = 92;

let csv = false;
let delimiter: u8 = 44;
let names: string[] = [];
let keys: ArrayBuffer[] = [];

export function plugin_init(at: usize, length: u32): i32 {
  const config = new df.Config(at, length);
  const format = config.text("format", "logfmt");
  if (format != "logfmt" && format != "csv") return df.fail(df.E_CONFIG, "format may be logfmt and csv");
  csv = format == "csv";
  const cut = config.text("delimiter", ",");
  if (cut.length != 1 || cut.charCodeAt(0) > 126 || cut == '"') return df.fail(df.E_CONFIG, "delimiter is one ASCII letter, no quote");
  delimiter = <u8>cut.charCodeAt(0);
  const fields = config.list("fields"), prefix = config.text("prefix");
  if (fields.length == 0) return df.fail(df.E_CONFIG, 'say which fields it is to give, as ["level", "msg"]');
  for (let i = 0; i < fields.length; i++) {
    if (fields.indexOf(fields[i]) != i) return df.fail(df.E_CONFIG, "two fields are called " + fields[i]);
    names.push(prefix + fields[i]);
    keys.push(String.UTF8.encode(fields[i]));
  }
  return 0;
}

let outs: df.TextOut[] = [];

export function process_data(at: usize, length: u32): i32 {
  const batch = new df.Batch(at);
  const lines = batch.nthText(0);
  if (lines == null) return df.failed();
  outs = [];
  for (let i = 0; i < names.length; i++) {
    const out = df.TextOut.of(names[i], batch.rows, lines.size / names.length);
    if (out == null) return df.failed();
    outs.push(out);
  }
  seen = new StaticArray<i32>(names.length);
  for (let row = 0; row < batch.rows; row++) {
    let fine = true;
    if (lines.isValid(row)) {
      const start = lines.start(row), end = lines.end(row);
      fine = csv ? split_csv(start, end, row) : split_logfmt(start, end, row);
    }
    for (let i = 0; i < names.length; i++) {
      if (unchecked(seen[i]) != row + 1) fine = unchecked(outs[i]).putNull(row) && fine;
    }
    if (!fine) return df.failed();
  }
  const columns = new Array<df.Output>();
  for (let i = 0; i < outs.length; i++) columns.push(outs[i]);
  outs = [];
  return df.answer(columns);
}

/** For each field the row, counted from 1, that it has a value in. */
let seen = new StaticArray<i32>(0);

function split_csv(at: usize, end: usize, row: i32): bool {
  let field = 0;
  let more = at < end;
  while (more) {
    const out = field < outs.length ? unchecked(outs[field]) : null;
    let start = at, fine = true;
    if (at < end && load<u8>(at) == QUOTE) {
      start = ++at;
      while (at < end) {
        if (load<u8>(at) != QUOTE) {
          at++;
        } else if (at + 1 < end && load<u8>(at, 1) == QUOTE) {
          if (out != null) fine = out.push(start, at + 1 - start) && fine;
          start = at += 2;
        } else {
          break;
        }
      }
      if (out != null) fine = out.push(start, at - start) && fine;
      // What follows the closing quote belongs to the field too.
      start = ++at;
    }
    at = min(at, end);
    start = min(start, end);
    while (at < end && load<u8>(at) != delimiter) at++;
    if (out != null) {
      fine = out.push(start, at - start) && fine;
      out.end(row);
      unchecked(seen[field] = row + 1);
    }
    if (!fine) return false;
    more = at++ < end;
    field++;
  }
  return true;
}

function split_logfmt(at: usize, end: usize, row: i32): bool {
  while ((at = skip_spaces(at, end)) < end) {
    const key = at;
    while (at < end && load<u8>(at) > SPACE && load<u8>(at) != EQUALS) at++;
    const out = wanted(key, at - key, row);
    if (at >= end || load<u8>(at) != EQUALS) {
      if (out != null && !out.putBytes(row, TRUE, 4)) return false;
      continue;
    }
    at++;
    if (at < end && load<u8>(at) == QUOTE) {
      const start = at + 1;
      let escapes = false;
      for (at++; at < end && load<u8>(at) != QUOTE; at++) {
        if (load<u8>(at) == BACKSLASH && at + 1 < end) {
          escapes = true;
          at++;
        }
      }
      if (out != null && !(escapes ? unescaped(out, start, at, row) : out.putBytes(row, start, at - start))) return false;
      at++;
    } else {
      const start = at;
      while (at < end && load<u8>(at) > SPACE) at++;
      if (out != null && !out.putBytes(row, start, at - start)) return false;
    }
  }
  return true;
}

function skip_spaces(at: usize, end: usize): usize {
  while (at < end && load<u8>(at) <= SPACE) at++;
  return at;
}

const TRUE = memory.data<u8>([116, 114, 117, 101]);
const LETTER = memory.data(1);

function unescaped(out: df.TextOut, at: usize, end: usize, row: i32): bool {
  let start = at;
  for (; at + 1 < end; at++) {
    if (load<u8>(at) != BACKSLASH) continue;
    if (!out.push(start, at - start)) return false;
    const c = load<u8>(at, 1);
    if (c == 110 || c == 116 || c == 114) {
      store<u8>(LETTER, c == 110 ? 10 : c == 116 ? 9 : 13);
      if (!out.push(LETTER, 1)) return false;
      start = at + 2;
    } else {
      start = at + 1;
    }
    at++;
  }
  return out.putBytes(row, start, end - start);
}

/** The column of a key that has no value in this row yet; the first one counts. */
function wanted(key: usize, length: usize, row: i32): df.TextOut | null {
  for (let i = 0; i < keys.length; i++) {
    const own = unchecked(keys[i]);
    if (<usize>own.byteLength != length || memory.compare(changetype<usize>(own), key, length) != 0) continue;
    if (unchecked(seen[i]) == row + 1) return null;
    unchecked(seen[i] = row + 1);
    return unchecked(outs[i]);
  }
  return null;
}
