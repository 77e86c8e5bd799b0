//! json_path: take values out of JSON texts by path.
//!
//! Paths are the singular queries of RFC 9535: names and indices. A document is read once for all paths, to its end: one
//! that is no JSON by RFC 8259 gives null, whatever stands before the mistake. Of equal names in one object the last counts.
#![no_std]

use dataflare::*;

dataflare::no_std! {}
plugin! { init: configure, process: extract }

const MOST_PATHS: usize = 32;
const MOST_STEPS: usize = 16;
const MOST_DEPTH: usize = 256;

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Int,
    Float,
    Flag,
}

#[derive(Clone, Copy)]
enum Step {
    Name(&'static str),
    Index(i64),
}

#[derive(Clone, Copy)]
struct Path {
    name: &'static str,
    kind: Kind,
    steps: [Step; MOST_STEPS],
    length: usize,
}

struct Settings {
    paths: [Path; MOST_PATHS],
    count: usize,
}

static SETTINGS: Global<Settings> = Global::new();

// ---- the setting `paths`: "name=$.a.b[0]" or "name:Int64=$.a" ----

fn configure(config: &Config) -> Result<()> {
    let empty = Path { name: "", kind: Kind::Text, steps: [Step::Index(0); MOST_STEPS], length: 0 };
    let mut settings = Settings { paths: [empty; MOST_PATHS], count: 0 };
    while let Some(text) = config.item("paths", settings.count)? {
        if settings.count == MOST_PATHS {
            return fail(E_CONFIG, &["at most 32 paths are possible"]);
        }
        settings.paths[settings.count] = path(text)?;
        settings.count += 1;
    }
    if settings.count == 0 {
        return fail(E_CONFIG, &["give it `paths`, such as [\"user=$.user.id\", \"first:Int64=$.items[0].n\"]"]);
    }
    for i in 0..settings.count {
        if settings.paths[..i].iter().any(|other| other.name == settings.paths[i].name) {
            return fail(E_CONFIG, &["two paths are called ", settings.paths[i].name]);
        }
    }
    SETTINGS.set(settings);
    Ok(())
}

fn path(text: &'static str) -> Result<Path> {
    let (label, query) = match text.split_once("=$") {
        Some((label, query)) if !label.is_empty() => (label, query),
        _ => return fail(E_CONFIG, &["`", text, "` is not like name=$.a.b[0]"]),
    };
    let (name, kind) = match label.rsplit_once(':') {
        None | Some((_, "String")) => (label.trim_end_matches(":String"), Kind::Text),
        Some((name, "Int64")) => (name, Kind::Int),
        Some((name, "Float64")) => (name, Kind::Float),
        Some((name, "Boolean")) => (name, Kind::Flag),
        Some((_, other)) => return fail(E_CONFIG, &["`", other, "` is not String, Int64, Float64 or Boolean"]),
    };
    let mut path = Path { name, kind, steps: [Step::Index(0); MOST_STEPS], length: 0 };
    let mut rest = query;
    while !rest.is_empty() {
        if path.length == MOST_STEPS {
            return fail(E_CONFIG, &["`", text, "` has more than 16 steps"]);
        }
        let step = match step(rest) {
            Some((step, after)) => {
                rest = after;
                step
            }
            None => return fail(E_CONFIG, &["`", text, "`: `", rest, "` is not like .name, ['name'] or [0]"]),
        };
        path.steps[path.length] = step;
        path.length += 1;
    }
    Ok(path)
}

fn step(text: &'static str) -> Option<(Step, &'static str)> {
    if let Some(rest) = text.strip_prefix('.') {
        let plain = |c: char| c == '_' || c.is_ascii_alphanumeric() || !c.is_ascii();
        let end = rest.find(|c| !plain(c)).unwrap_or(rest.len());
        let fine = end > 0 && !rest.as_bytes()[0].is_ascii_digit();
        return fine.then(|| (Step::Name(&rest[..end]), &rest[end..]));
    }
    let rest = text.strip_prefix('[')?;
    for quote in ['\'', '"'] {
        if let Some(quoted) = rest.strip_prefix(quote) {
            let end = quoted.find(quote)?;
            let after = quoted[end + 1..].strip_prefix(']')?;
            return (!quoted[..end].contains('\\')).then(|| (Step::Name(&quoted[..end]), after));
        }
    }
    let end = rest.find(']')?;
    let digits = &rest[..end];
    let plain = digits.strip_prefix('-').unwrap_or(digits);
    let proper = plain.bytes().all(|c| c.is_ascii_digit()) && (digits == "0" || !plain.starts_with('0'));
    let index = digits.parse().ok().filter(|_| proper)?;
    Some((Step::Index(index), &rest[end + 1..]))
}

// ---- the columns ----

enum Column<'a> {
    Text(TextOut<'a>),
    Int(Out<'a, i64>),
    Float(Out<'a, f64>),
    Flag(FlagsOut<'a>),
}

fn extract(batch: &Batch) -> Result<Answer> {
    let settings = match SETTINGS.get() {
        Some(settings) => settings,
        None => return fail(E_INTERNAL, &["it was not started"]),
    };
    let documents = batch.text(0)?;
    let paths = &settings.paths[..settings.count];
    let mut columns: [Option<Column>; MOST_PATHS] = [const { None }; MOST_PATHS];
    for (column, path) in columns.iter_mut().zip(paths) {
        *column = Some(match path.kind {
            Kind::Text => Column::Text(TextOut::new(path.name, batch, documents.size() / 8)?),
            Kind::Int => Column::Int(Out::new(path.name, batch)?),
            Kind::Float => Column::Float(Out::new(path.name, batch)?),
            Kind::Flag => Column::Flag(FlagsOut::new(path.name, batch)?),
        });
    }
    let all = if paths.len() == 32 { u32::MAX } else { (1 << paths.len()) - 1 };
    for row in 0..batch.rows() {
        let text = documents.bytes(row).unwrap_or(b"");
        let mut reader = Reader { text, at: 0, paths, found: [(0, 0); MOST_PATHS] };
        let whole = reader.document(all).is_some();
        for (column, (start, end)) in columns.iter_mut().flatten().zip(reader.found) {
            let value = if whole && end > start { &text[start..end] } else { b"null" };
            put(column, row, value)?;
        }
    }
    let mut outs: [&dyn Output; MOST_PATHS] = [&Nothing; MOST_PATHS];
    for (out, column) in outs.iter_mut().zip(columns.iter().flatten()) {
        *out = match column {
            Column::Text(column) => column,
            Column::Int(column) => column,
            Column::Float(column) => column,
            Column::Flag(column) => column,
        };
    }
    answer(&outs[..paths.len()])
}

fn put(column: &mut Column, row: usize, value: &[u8]) -> Result<()> {
    let text = unsafe { core::str::from_utf8_unchecked(value) };
    let numeric = matches!(value[0], b'-' | b'0'..=b'9');
    match column {
        Column::Text(out) if value == b"null" => out.null(row),
        Column::Text(out) => {
            if value[0] == b'"' {
                unescape(&value[1..value.len() - 1], out)?;
            } else {
                out.push_bytes(value)?;
            }
            out.end(row);
            Ok(())
        }
        Column::Int(out) => out.put(row, text.parse().ok().filter(|_| numeric)),
        Column::Float(out) => out.put(row, text.parse().ok().filter(|x: &f64| numeric && x.is_finite())),
        Column::Flag(out) => out.put(row, match value {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }),
    }
}

/// Write a JSON string, already checked; half a surrogate pair becomes U+FFFD.
fn unescape(text: &[u8], out: &mut TextOut) -> Result<()> {
    let mut at = 0;
    while at < text.len() {
        let plain = text[at..].iter().position(|&c| c == b'\\').unwrap_or(text.len() - at);
        out.push_bytes(&text[at..at + plain])?;
        at += plain;
        if at == text.len() {
            break;
        }
        let escape = text[at + 1];
        at += 2;
        let c = match escape {
            b'n' => '\n',
            b'r' => '\r',
            b't' => '\t',
            b'b' => '\u{8}',
            b'f' => '\u{c}',
            b'u' => {
                let first = hex(&text[at..at + 4]);
                at += 4;
                let second = match text.get(at..at + 6) {
                    Some([b'\\', b'u', low @ ..]) if (0xd800..0xdc00).contains(&first) => hex(low),
                    _ => 0,
                };
                if (0xdc00..0xe000).contains(&second) {
                    at += 6;
                    char::from_u32(0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00)).unwrap_or('\u{fffd}')
                } else {
                    char::from_u32(first).unwrap_or('\u{fffd}')
                }
            }
            other => other as char,
        };
        out.push(c.encode_utf8(&mut [0; 4]))?;
    }
    Ok(())
}

fn hex(digits: &[u8]) -> u32 {
    digits.iter().fold(0, |value, &c| value << 4 | (c as char).to_digit(16).unwrap_or(0))
}

// ---- reading a document ----

struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    paths: &'a [Path],
    found: [(usize, usize); MOST_PATHS],
}

impl Reader<'_> {
    fn document(&mut self, paths: u32) -> Option<()> {
        self.value(0, paths)?;
        self.space();
        (self.at == self.text.len()).then_some(())
    }

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn space(&mut self) {
        while matches!(self.text.get(self.at), Some(b' ' | b'\n' | b'\r' | b'\t')) {
            self.at += 1;
        }
    }

    fn take(&mut self, c: u8) -> bool {
        let is = self.text.get(self.at) == Some(&c);
        self.at += usize::from(is);
        is
    }

    /// Read a value; `active` are the paths that lead to it or through it.
    fn value(&mut self, depth: usize, active: u32) -> Option<()> {
        self.space();
        let start = self.at;
        if depth > MOST_DEPTH {
            return None;
        }
        match self.peek() {
            b'{' => self.object(depth, active)?,
            b'[' => self.array(depth, active)?,
            b'"' => {
                self.string()?;
            }
            b't' => self.word(b"true")?,
            b'f' => self.word(b"false")?,
            b'n' => self.word(b"null")?,
            _ => self.number()?,
        }
        for i in bits(active) {
            if self.paths[i].length == depth {
                self.found[i] = (start, self.at);
            }
        }
        Some(())
    }

    fn object(&mut self, depth: usize, active: u32) -> Option<()> {
        self.at += 1;
        self.space();
        if self.take(b'}') {
            return Some(());
        }
        loop {
            self.space();
            let (start, end, plain) = self.string()?;
            let inside = self.named(depth, active, start, end, plain);
            self.space();
            if !self.take(b':') {
                return None;
            }
            for i in bits(inside) {
                // What an equal name before it held does not count.
                self.found[i] = (0, 0);
            }
            self.value(depth + 1, inside)?;
            self.space();
            if self.take(b'}') {
                return Some(());
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// The paths that go on with this name.
    fn named(&self, depth: usize, active: u32, start: usize, end: usize, plain: bool) -> u32 {
        let mut inside = 0;
        for i in bits(active) {
            let path = &self.paths[i];
            if let (true, Step::Name(name)) = (depth < path.length, path.steps[depth]) {
                let key = &self.text[start..end];
                if if plain { key == name.as_bytes() } else { same(key, name) } {
                    inside |= 1 << i;
                }
            }
        }
        inside
    }

    fn array(&mut self, depth: usize, active: u32) -> Option<()> {
        let wanted = bits(active).filter(|&i| depth < self.paths[i].length);
        let backwards = wanted.clone().any(|i| matches!(self.paths[i].steps[depth], Step::Index(n) if n < 0));
        let wanted = wanted.fold(0, |mask, i| mask | 1 << i);
        let length = if backwards { self.length(depth)? } else { 0 };
        self.at += 1;
        self.space();
        if self.take(b']') {
            return Some(());
        }
        let mut place = 0i64;
        loop {
            let inside = bits(wanted).fold(0, |mask, i| match self.paths[i].steps[depth] {
                Step::Index(n) if n == place || n < 0 && n + length == place => mask | 1 << i,
                _ => mask,
            });
            self.value(depth + 1, inside)?;
            place += 1;
            self.space();
            if self.take(b']') {
                return Some(());
            }
            if !self.take(b',') {
                return None;
            }
        }
    }

    /// How many values an array has, for a path that counts from its end.
    fn length(&mut self, depth: usize) -> Option<i64> {
        let start = self.at;
        self.at += 1;
        self.space();
        let mut length = 0;
        while !self.take(b']') {
            self.value(depth + 1, 0)?;
            length += 1;
            self.space();
            if !self.take(b',') && self.peek() != b']' {
                return None;
            }
        }
        self.at = start;
        Some(length)
    }

    /// Read a string; where it begins and ends inside its quotes, and whether it is without escapes.
    fn string(&mut self) -> Option<(usize, usize, bool)> {
        if !self.take(b'"') {
            return None;
        }
        let start = self.at;
        let mut plain = true;
        loop {
            self.at = special(self.text, self.at);
            match *self.text.get(self.at)? {
                b'"' => {
                    self.at += 1;
                    return Some((start, self.at - 1, plain));
                }
                b'\\' => {
                    plain = false;
                    let size = match *self.text.get(self.at + 1)? {
                        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                        b'u' if self.text.get(self.at + 2..self.at + 6)?.iter().all(u8::is_ascii_hexdigit) => 6,
                        _ => return None,
                    };
                    self.at += size;
                }
                _ => return None,
            }
        }
    }

    fn word(&mut self, word: &[u8]) -> Option<()> {
        let is = self.text[self.at..].starts_with(word);
        self.at += word.len();
        is.then_some(())
    }

    fn number(&mut self) -> Option<()> {
        self.take(b'-');
        if !self.take(b'0') {
            self.digits()?;
        }
        if self.take(b'.') {
            self.digits()?;
        }
        if self.take(b'e') || self.take(b'E') {
            let _ = self.take(b'+') || self.take(b'-');
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        let start = self.at;
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        (self.at > start).then_some(())
    }
}

/// The next quote, backslash or control character.
fn special(text: &[u8], from: usize) -> usize {
    use core::arch::wasm32::*;
    let mut at = from;
    while at + 16 <= text.len() {
        let block = unsafe { v128_load(text.as_ptr().add(at) as *const v128) };
        let quotes = v128_or(i8x16_eq(block, u8x16_splat(b'"')), i8x16_eq(block, u8x16_splat(b'\\')));
        let hits = i8x16_bitmask(v128_or(quotes, u8x16_lt(block, u8x16_splat(0x20))));
        if hits != 0 {
            return at + hits.trailing_zeros() as usize;
        }
        at += 16;
    }
    while at < text.len() && !(text[at] == b'"' || text[at] == b'\\' || text[at] < 0x20) {
        at += 1;
    }
    at
}

/// Whether a name with escapes is this name.
fn same(key: &[u8], name: &str) -> bool {
    let (mut at, mut rest) = (0, name.as_bytes());
    while at < key.len() {
        let mut room = [0; 4];
        let (part, size): (&[u8], usize) = if key[at] != b'\\' {
            (&key[at..at + 1], 1)
        } else if key[at + 1] != b'u' {
            let c = match key[at + 1] {
                b'n' => b'\n',
                b'r' => b'\r',
                b't' => b'\t',
                b'b' => 8,
                b'f' => 12,
                other => other,
            };
            room[0] = c;
            (&room[..1], 2)
        } else {
            let first = hex(&key[at + 2..at + 6]);
            let second = match key.get(at + 6..at + 12) {
                Some([b'\\', b'u', low @ ..]) if (0xd800..0xdc00).contains(&first) => hex(low),
                _ => 0,
            };
            let pair = (0xdc00..0xe000).contains(&second);
            let code = if pair { 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00) } else { first };
            match char::from_u32(code) {
                Some(c) => (c.encode_utf8(&mut room).as_bytes(), if pair { 12 } else { 6 }),
                None => return false,
            }
        };
        match rest.strip_prefix(part) {
            Some(after) => rest = after,
            None => return false,
        }
        at += size;
    }
    rest.is_empty()
}

#[derive(Clone)]
struct Bits(u32);

fn bits(mask: u32) -> Bits {
    Bits(mask)
}

impl Iterator for Bits {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let place = self.0.trailing_zeros();
        self.0 &= self.0.wrapping_sub(1);
        (place < 32).then_some(place as usize)
    }
}
