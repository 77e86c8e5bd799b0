//! dataflare.rs: write a dfx/1 plugin in Rust.
//!
//! ```
//! use dataflare::*;
//!
//! plugin! { process: process }
//!
//! fn process(batch: &Batch) -> Result<Answer> {
//!     let price = batch.column::<f64>("price")?;
//!     let out = Out::<f64>::like("with_tax", &price)?;
//!     for (to, from) in out.values.iter_mut().zip(price.values) {
//!         *to = from * 1.2;
//!     }
//!     answer(&[&out])
//! }
//! ```
//!
//! `plugin!` takes what a plugin has:
//!
//! | type | functions |
//! |---|---|
//! | all | `init(config: &Config) -> Result<()>`, optional |
//! | Processor, Transformer, Filter | `process`, `transform`, `filter` `(batch: &Batch) -> Result<Answer>` |
//! | Source | `read() -> Result<Option<Answer>>`, None after the last batch; `position`: a `State`, what it goes on from |
//! | Destination | `write(batch: &Batch) -> Result<()>`, `prepare(epoch: i64) -> Result<&'static [u8]>`, `commit(epoch: i64, token: &[u8]) -> Result<()>`, `abort()` |
//! | Aggregator | `aggregate`, `merge` `(batch: &Batch, groups: usize) -> Result<Answer>`, `finish(batch: &Batch) -> Result<Answer>` |
//!
//! Settings that `init` makes are kept in a `static SETTINGS: Global<Settings> = Global::new()`. A plugin may use `std`;
//! one that is to be small says `#![no_std]` and `dataflare::no_std! {}`.
#![no_std]

use core::cell::UnsafeCell;
use core::marker::PhantomData;
use core::slice;

// ---- what the host offers; a call costs about 10 us: never one per row ----

mod host {
    #[link(wasm_import_module = "dataflare")]
    extern "C" {
        pub fn host_log(level: i32, text: *const u8, length: u32);
        pub fn host_get_time() -> i64;
        pub fn host_random() -> f64;
        pub fn host_counter(name: *const u8, length: u32, by: i64);
    }
}

pub const DEBUG: i32 = 0;
pub const INFO: i32 = 1;
pub const WARNING: i32 = 2;
pub const ERROR: i32 = 3;

/// Write to the host's log.
pub fn log(level: i32, text: &str) {
    unsafe { host::host_log(level, text.as_ptr(), text.len() as u32) }
}

/// Microseconds since the epoch, UTC.
pub fn now() -> i64 {
    unsafe { host::host_get_time() }
}

/// A number in [0, 1).
pub fn random() -> f64 {
    unsafe { host::host_random() }
}

/// Add to a counter that the dashboard shows.
pub fn count(name: &str, by: i64) {
    unsafe { host::host_counter(name.as_ptr(), name.len() as u32, by) }
}

// ---- state: a guest has one thread ----

struct Single<T>(UnsafeCell<T>);
unsafe impl<T> Sync for Single<T> {}

impl<T> Single<T> {
    const fn new(value: T) -> Self {
        Single(UnsafeCell::new(value))
    }

    fn at(&self) -> *mut T {
        self.0.get()
    }
}

/// What is set once, by `init`, and read from then on.
pub struct Global<T>(Single<Option<T>>);

impl<T> Global<T> {
    pub const fn new() -> Self {
        Global(Single::new(None))
    }

    /// Set it; only the first time counts.
    pub fn set(&self, value: T) {
        let slot = unsafe { &mut *self.0.at() };
        if slot.is_none() {
            *slot = Some(value);
        }
    }

    /// What was set.
    pub fn get(&self) -> Option<&T> {
        unsafe { (*self.0.at()).as_ref() }
    }
}

impl<T> Default for Global<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// What a Source or a Destination keeps between calls: a number.
pub struct State<T>(Single<T>);

impl<T: Number> State<T> {
    pub const fn new(value: T) -> Self {
        State(Single::new(value))
    }

    pub fn get(&self) -> T {
        unsafe { *self.0.at() }
    }

    pub fn set(&self, value: T) {
        unsafe { *self.0.at() = value }
    }

    #[doc(hidden)]
    pub fn offset(&self) -> i32 {
        let bytes = unsafe { slice::from_raw_parts(self.0.at() as *const u8, core::mem::size_of::<T>()) };
        glue::bytes(bytes)
    }

    #[doc(hidden)]
    pub fn seek(&self, bytes: &[u8]) -> i32 {
        if bytes.len() != core::mem::size_of::<T>() {
            return glue::code(fail(E_INPUT, &["the position is of another version of this plugin"]));
        }
        self.set(unsafe { core::ptr::read_unaligned(bytes.as_ptr() as *const T) });
        0
    }
}

/// One text of several; it lasts as `kept` does, or for good if it is made in `init`.
pub fn joined(parts: &[&str]) -> Result<&'static str> {
    let copy = take::<u8>(parts.iter().map(|part| part.len()).sum())?;
    let mut at = 0;
    for part in parts {
        copy[at..at + part.len()].copy_from_slice(part.as_bytes());
        at += part.len();
    }
    Ok(unsafe { core::str::from_utf8_unchecked(copy) })
}

/// A copy of bytes for the host, as `prepare` returns it.
pub fn kept(bytes: &[u8]) -> Result<&'static [u8]> {
    let copy = take::<u8>(bytes.len())?;
    copy.copy_from_slice(bytes);
    Ok(copy)
}

// ---- errors ----

pub const E_CONFIG: i32 = -1;
pub const E_INPUT: i32 = -2;
pub const E_TYPE: i32 = -3;
pub const E_MEMORY: i32 = -4;
pub const E_INTERNAL: i32 = -5;
pub const E_UNSUPPORTED: i32 = -6;
/// This and below are the plugin's own.
pub const E_OWN: i32 = -1000;

/// A code; the text is kept for the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error(pub i32);
pub type Result<T> = core::result::Result<T, Error>;

#[repr(C)]
struct Slice {
    ptr: u32,
    len: u32,
    format: u32,
    flags: u32,
}

const MOST_TEXT: usize = 512;
static TEXT: Single<[u8; MOST_TEXT]> = Single::new([0; MOST_TEXT]);
static LAST: Single<Slice> = Single::new(Slice { ptr: 0, len: 0, format: 0, flags: 0 });

/// Note why, and return the error: `return fail(E_INPUT, &["price must not be ", text])`.
pub fn fail<T>(code: i32, parts: &[&str]) -> Result<T> {
    let mut length = 0;
    for part in parts {
        let room = part.len().min(MOST_TEXT - length);
        unsafe { core::ptr::copy_nonoverlapping(part.as_ptr(), (TEXT.at() as *mut u8).add(length), room) };
        length += room;
    }
    unsafe { *LAST.at() = Slice { ptr: TEXT.at() as u32, len: length as u32, format: 0, flags: 0 } };
    Err(Error(code))
}

#[no_mangle]
extern "C" fn df_last_error() -> i32 {
    LAST.at() as i32
}

// ---- memory: an arena that the host empties between batches, beside the heap of `std` ----

const MOST_REGIONS: usize = 256;

#[derive(Clone, Copy)]
struct Spot {
    region: usize,
    top: usize,
}

struct Arena {
    regions: [(usize, usize); MOST_REGIONS],
    count: usize,
    here: Spot,
    floor: Spot,
}

static ARENA: Single<Arena> = Single::new(Arena {
    regions: [(0, 0); MOST_REGIONS],
    count: 0,
    here: Spot { region: 0, top: 0 },
    floor: Spot { region: 0, top: 0 },
});

impl Arena {
    fn take(&mut self, bytes: usize) -> Option<*mut u8> {
        let size = bytes.checked_add(63)? & !63;
        while self.here.region < self.count {
            let (_, end) = self.regions[self.here.region];
            if end - self.here.top >= size {
                let at = self.here.top;
                self.here.top += size;
                return Some(at as *mut u8);
            }
            if self.here.region + 1 == self.count {
                break;
            }
            self.here.region += 1;
            self.here.top = self.regions[self.here.region].0;
        }
        self.grow(size)?;
        self.take(bytes)
    }

    /// Add pages: to the last region, if they follow it, else as another.
    fn grow(&mut self, size: usize) -> Option<()> {
        let end = core::arch::wasm32::memory_size(0) << 16;
        let follows = self.count > 0 && self.regions[self.count - 1].1 == end;
        let lacking = if follows { size - (end - self.here.top) } else { size };
        let pages = lacking.checked_add(65535)? >> 16;
        if end as u64 + ((pages as u64) << 16) > 1 << 31 || core::arch::wasm32::memory_grow(0, pages) == usize::MAX {
            return None;
        }
        if follows {
            self.regions[self.count - 1].1 = end + (pages << 16);
        } else if self.count < MOST_REGIONS {
            self.regions[self.count] = (end, end + (pages << 16));
            self.here = Spot { region: self.count, top: end };
            self.count += 1;
        } else {
            return None;
        }
        Some(())
    }
}

fn arena() -> &'static mut Arena {
    unsafe { &mut *ARENA.at() }
}

/// Zeroed memory that lasts until the next call, or for good if it is asked for in `init`.
fn take<T>(length: usize) -> Result<&'static mut [T]> {
    let bytes = length.checked_mul(core::mem::size_of::<T>());
    match bytes.and_then(|bytes| arena().take(bytes)) {
        Some(at) => unsafe {
            core::ptr::write_bytes(at, 0, bytes.unwrap_or(0));
            Ok(slice::from_raw_parts_mut(at as *mut T, length))
        },
        None => fail(E_MEMORY, &["no memory for the result"]),
    }
}

#[no_mangle]
extern "C" fn df_alloc(bytes: usize) -> usize {
    arena().take(bytes).map_or(0, |at| at as usize)
}

#[no_mangle]
extern "C" fn df_reset() {
    let arena = arena();
    arena.here = arena.floor;
    if arena.here.top == 0 {
        arena.here.top = arena.regions[0].0;
    }
}

#[no_mangle]
extern "C" fn df_abi_version() -> i32 {
    1
}

#[no_mangle]
extern "C" fn df_formats() -> i32 {
    4
}

// ---- the Arrow C Data Interface with 32-bit pointers ----

#[repr(C)]
struct Schema {
    format: *const u8,
    name: *const u8,
    metadata: u32,
    flags: i64,
    n_children: i64,
    children: *const *const Schema,
    dictionary: u32,
    release: u32,
    private_data: u32,
}

#[repr(C)]
struct Array {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *const *const u8,
    children: *const *const Array,
    dictionary: u32,
    release: u32,
    private_data: u32,
}

/// What the host hands over.
#[repr(C)]
pub struct Batch {
    schema: *const Schema,
    array: *const Array,
}

const _: () = assert!(core::mem::size_of::<Schema>() == 48 && core::mem::size_of::<Array>() == 64);

unsafe fn text_at(at: *const u8) -> &'static str {
    let mut length = 0;
    while *at.add(length) != 0 {
        length += 1;
    }
    core::str::from_utf8_unchecked(slice::from_raw_parts(at, length))
}

/// Where a column is: its name, or its place counted from 0.
pub trait Place: Copy {
    #[doc(hidden)]
    fn find(self, batch: &Batch) -> Result<usize>;
}

impl Place for usize {
    fn find(self, batch: &Batch) -> Result<usize> {
        if self < batch.width() {
            Ok(self)
        } else {
            fail(E_INPUT, &["there are too few columns"])
        }
    }
}

impl Place for &str {
    fn find(self, batch: &Batch) -> Result<usize> {
        match (0..batch.width()).find(|&place| batch.name(place) == self) {
            Some(place) => Ok(place),
            None => fail(E_INPUT, &["there is no column ", self]),
        }
    }
}

impl Batch {
    /// How many rows there are.
    pub fn rows(&self) -> usize {
        unsafe { (*self.array).length as usize }
    }

    /// How many columns there are.
    pub fn width(&self) -> usize {
        unsafe { (*self.schema).n_children as usize }
    }

    /// The name of a column.
    pub fn name(&self, place: usize) -> &str {
        assert!(place < self.width());
        unsafe { text_at((**(*self.schema).children.add(place)).name) }
    }

    /// The Arrow format of a column.
    pub fn format(&self, place: usize) -> &str {
        assert!(place < self.width());
        unsafe { text_at((**(*self.schema).children.add(place)).format) }
    }

    /// A column of numbers; dates and times are the integers they are made of.
    pub fn column<T: Number>(&self, place: impl Place) -> Result<Column<'_, T>> {
        let raw = self.raw(place, |format| T::takes(format), T::NAME)?;
        let values = unsafe { slice::from_raw_parts(raw.buffer(1) as *const T, raw.rows) };
        Ok(Column { values, nulls: raw.nulls(), rows: raw.rows })
    }

    /// A column of text.
    pub fn text(&self, place: impl Place) -> Result<Text<'_>> {
        self.bytes_like(place, "U", "text")
    }

    /// A column of Booleans.
    pub fn flags(&self, place: impl Place) -> Result<Flags<'_>> {
        let raw = self.raw(place, |format| format == "b", "Boolean")?;
        let bits = unsafe { slice::from_raw_parts(raw.buffer(1), (raw.rows + 7) / 8) };
        Ok(Flags { bits, nulls: raw.nulls(), rows: raw.rows })
    }

    /// A column of bytes.
    pub fn binary(&self, place: impl Place) -> Result<Text<'_>> {
        self.bytes_like(place, "Z", "binary")
    }

    /// The group of each row, for an Aggregator.
    pub fn groups(&self) -> Result<&[u32]> {
        Ok(self.column::<u32>(self.width() - 1)?.values)
    }

    fn bytes_like(&self, place: impl Place, format: &str, told: &str) -> Result<Text<'_>> {
        let raw = self.raw(place, |found| found == format, told)?;
        let ends = unsafe { slice::from_raw_parts(raw.buffer(1) as *const i64, raw.rows + 1) };
        let bytes = unsafe { slice::from_raw_parts(raw.buffer(2), ends[raw.rows] as usize) };
        Ok(Text { ends, bytes, nulls: raw.nulls(), rows: raw.rows })
    }

    fn raw(&self, place: impl Place, takes: impl Fn(&str) -> bool, told: &str) -> Result<Raw<'_>> {
        let place = place.find(self)?;
        let format = self.format(place);
        if !takes(format) {
            let name = self.name(place);
            return fail(E_TYPE, &["column ", name, " has the Arrow format ", format, " and must be ", told]);
        }
        let array = unsafe { &**(*self.array).children.add(place) };
        Ok(Raw { array, rows: array.length as usize })
    }
}

struct Raw<'a> {
    array: &'a Array,
    rows: usize,
}

impl<'a> Raw<'a> {
    fn buffer(&self, index: usize) -> *const u8 {
        let at = unsafe { *self.array.buffers.add(index) };
        if at.is_null() {
            64 as *const u8
        } else {
            at
        }
    }

    fn nulls(&self) -> Nulls<'a> {
        let at = unsafe { *self.array.buffers };
        let bits = (!at.is_null()).then(|| unsafe { slice::from_raw_parts(at, (self.rows + 7) / 8) });
        Nulls { bits, count: self.array.null_count }
    }
}

/// Which rows are null.
#[derive(Clone, Copy)]
pub struct Nulls<'a> {
    bits: Option<&'a [u8]>,
    count: i64,
}

impl Nulls<'_> {
    #[inline]
    fn valid(&self, row: usize) -> bool {
        match self.bits {
            Some(bits) => bits[row >> 3] >> (row & 7) & 1 != 0,
            None => true,
        }
    }
}

/// What may be the type of a column of numbers.
pub trait Number: Copy + 'static {
    #[doc(hidden)]
    const FORMAT: &'static str;
    #[doc(hidden)]
    const NAME: &'static str;
    #[doc(hidden)]
    fn takes(format: &str) -> bool {
        format == Self::FORMAT
    }
}

macro_rules! numbers {
    ($($type:ident $format:literal)*) => { $(impl Number for $type {
        const FORMAT: &'static str = $format;
        const NAME: &'static str = stringify!($type);
    })* };
}
numbers! { i8 "c" u8 "C" i16 "s" u16 "S" u32 "I" u64 "L" f32 "f" f64 "g" }

impl Number for i32 {
    const FORMAT: &'static str = "i";
    const NAME: &'static str = "i32";
    fn takes(format: &str) -> bool {
        format == "i" || format == "tdD"
    }
}

impl Number for i64 {
    const FORMAT: &'static str = "l";
    const NAME: &'static str = "i64";
    fn takes(format: &str) -> bool {
        format == "l" || format.starts_with("ts") || format.starts_with("tD") || format.starts_with("ttn")
    }
}

/// A column of numbers.
pub struct Column<'a, T> {
    pub values: &'a [T],
    nulls: Nulls<'a>,
    rows: usize,
}

impl<T: Copy> Column<'_, T> {
    /// The value of a row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<T> {
        self.nulls.valid(row).then(|| self.values[row])
    }
}

/// A column of text or bytes.
pub struct Text<'a> {
    ends: &'a [i64],
    bytes: &'a [u8],
    nulls: Nulls<'a>,
    rows: usize,
}

impl<'a> Text<'a> {
    /// The text of a row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&'a str> {
        self.bytes(row).map(|bytes| unsafe { core::str::from_utf8_unchecked(bytes) })
    }

    /// The bytes of a row.
    #[inline]
    pub fn bytes(&self, row: usize) -> Option<&'a [u8]> {
        self.nulls.valid(row).then(|| &self.bytes[self.ends[row] as usize..self.ends[row + 1] as usize])
    }

    /// How many bytes all rows have together.
    pub fn size(&self) -> usize {
        self.bytes.len()
    }
}

/// A column of Booleans.
pub struct Flags<'a> {
    bits: &'a [u8],
    nulls: Nulls<'a>,
    rows: usize,
}

impl Flags<'_> {
    /// The value of a row.
    #[inline]
    pub fn get(&self, row: usize) -> Option<bool> {
        self.nulls.valid(row).then(|| self.bits[row >> 3] >> (row & 7) & 1 != 0)
    }
}

/// A column that says how many rows it has and which are null.
pub trait Like<'a> {
    #[doc(hidden)]
    fn rows_and_nulls(&self) -> (usize, Nulls<'a>);
}

macro_rules! like {
    ($($type:ty $(, $item:ident)?;)*) => { $(impl<'a $(, $item)?> Like<'a> for $type {
        fn rows_and_nulls(&self) -> (usize, Nulls<'a>) {
            (self.rows, self.nulls)
        }
    })* };
}
like! { Column<'a, T>, T; Text<'a>; Flags<'a>; }

// ---- answering ----

struct Valid {
    bits: Option<*mut u8>,
    nulls: i64,
    rows: usize,
}

impl Valid {
    fn all(rows: usize) -> Self {
        Valid { bits: None, nulls: 0, rows }
    }

    fn like(rows: usize, nulls: Nulls<'_>) -> Self {
        let bits = nulls.bits.filter(|_| nulls.count != 0);
        Valid { bits: bits.map(|bits| bits.as_ptr() as *mut u8), nulls: if bits.is_some() { nulls.count } else { 0 }, rows }
    }

    fn clear(&mut self, row: usize) -> Result<()> {
        assert!(row < self.rows);
        let bits = match self.bits {
            Some(bits) => bits,
            None => {
                let fresh = take::<u8>((self.rows + 7) / 8)?;
                fresh.fill(0xff);
                self.bits = Some(fresh.as_mut_ptr());
                fresh.as_mut_ptr()
            }
        };
        let byte = unsafe { &mut *bits.add(row >> 3) };
        self.nulls += i64::from(*byte >> (row & 7) & 1);
        *byte &= !(1 << (row & 7));
        Ok(())
    }
}

#[doc(hidden)]
pub struct Parts<'a> {
    name: &'a str,
    format: &'a str,
    rows: usize,
    nulls: i64,
    buffers: [*const u8; 3],
    count: usize,
}

/// A column to return.
pub trait Output {
    #[doc(hidden)]
    fn parts(&self) -> Parts<'_>;
}

/// No column, to fill a list with.
pub struct Nothing;

impl Output for Nothing {
    fn parts(&self) -> Parts<'_> {
        Parts { name: "", format: "n", rows: 0, nulls: 0, buffers: [core::ptr::null(); 3], count: 0 }
    }
}

/// A column of numbers to return: fill `values`, or `put` each row.
pub struct Out<'a, T> {
    pub values: &'a mut [T],
    /// The Arrow format, for dates and times.
    pub format: &'a str,
    name: &'a str,
    valid: Valid,
}

impl<'a, T: Number> Out<'a, T> {
    /// A column of zeros as long as the batch, without nulls.
    pub fn new(name: &'a str, batch: &'a Batch) -> Result<Self> {
        Self::with_rows(name, batch.rows())
    }

    /// A column of zeros without nulls.
    pub fn with_rows(name: &'a str, rows: usize) -> Result<Self> {
        Ok(Out { values: take(rows)?, format: T::FORMAT, name, valid: Valid::all(rows) })
    }

    /// As long as a column and null where it is.
    pub fn like(name: &'a str, column: &impl Like<'a>) -> Result<Self> {
        let (rows, nulls) = column.rows_and_nulls();
        Ok(Out { values: take(rows)?, format: T::FORMAT, name, valid: Valid::like(rows, nulls) })
    }

    /// Say what a row holds.
    #[inline]
    pub fn put(&mut self, row: usize, value: Option<T>) -> Result<()> {
        match value {
            Some(value) => self.values[row] = value,
            None => self.valid.clear(row)?,
        }
        Ok(())
    }
}

impl<T: Number> Output for Out<'_, T> {
    fn parts(&self) -> Parts<'_> {
        let bits = self.valid.bits.map_or(core::ptr::null(), |bits| bits as *const u8);
        let buffers = [bits, self.values.as_ptr() as *const u8, core::ptr::null()];
        Parts { name: self.name, format: self.format, rows: self.values.len(), nulls: self.valid.nulls, buffers, count: 2 }
    }
}

/// A column of Booleans to return.
pub struct FlagsOut<'a> {
    bits: &'a mut [u8],
    name: &'a str,
    valid: Valid,
}

impl<'a> FlagsOut<'a> {
    /// A column of false.
    pub fn new(name: &'a str, batch: &'a Batch) -> Result<Self> {
        Ok(FlagsOut { bits: take((batch.rows() + 7) / 8)?, name, valid: Valid::all(batch.rows()) })
    }

    /// Say what a row holds, once for each.
    #[inline]
    pub fn put(&mut self, row: usize, value: Option<bool>) -> Result<()> {
        match value {
            Some(value) => self.bits[row >> 3] |= (value as u8) << (row & 7),
            None => self.valid.clear(row)?,
        }
        Ok(())
    }
}

impl Output for FlagsOut<'_> {
    fn parts(&self) -> Parts<'_> {
        let bits = self.valid.bits.map_or(core::ptr::null(), |bits| bits as *const u8);
        let buffers = [bits, self.bits.as_ptr(), core::ptr::null()];
        Parts { name: self.name, format: "b", rows: self.valid.rows, nulls: self.valid.nulls, buffers, count: 2 }
    }
}

/// A column of text to return, row by row in order: `put`, or `push` parts and then `end` the row.
pub struct TextOut<'a> {
    ends: &'a mut [u32],
    bytes: *mut u8,
    room: usize,
    used: usize,
    format: &'static str,
    name: &'a str,
    valid: Valid,
    marker: PhantomData<&'a mut [u8]>,
}

impl<'a> TextOut<'a> {
    /// A column as long as the batch, with room for `bytes` of text; more is made when it is needed.
    pub fn new(name: &'a str, batch: &'a Batch, bytes: usize) -> Result<Self> {
        Self::with_rows(name, batch.rows(), bytes, "u")
    }

    /// The same for bytes that are no text, and with rows of its own.
    pub fn binary(name: &'a str, rows: usize, bytes: usize) -> Result<Self> {
        Self::with_rows(name, rows, bytes, "z")
    }

    fn with_rows(name: &'a str, rows: usize, bytes: usize, format: &'static str) -> Result<Self> {
        let ends = take(rows + 1)?;
        let room = bytes + 64;
        let bytes = take::<u8>(room)?.as_mut_ptr();
        Ok(TextOut { ends, bytes, room, used: 0, format, name, valid: Valid::all(rows), marker: PhantomData })
    }

    /// Say what a row holds.
    #[inline]
    pub fn put(&mut self, row: usize, value: Option<&str>) -> Result<()> {
        match value {
            Some(text) => {
                self.push(text)?;
                self.end(row);
                Ok(())
            }
            None => self.null(row),
        }
    }

    /// Say that a row is null.
    pub fn null(&mut self, row: usize) -> Result<()> {
        self.end(row);
        self.valid.clear(row)
    }

    /// Add to the row that comes next.
    #[inline]
    pub fn push(&mut self, text: &str) -> Result<()> {
        self.push_bytes(text.as_bytes())
    }

    /// Add to the row that comes next, in a binary column, or what is known to be UTF-8 as a whole.
    #[inline]
    pub fn push_bytes(&mut self, bytes: &[u8]) -> Result<()> {
        if self.room - self.used < bytes.len() {
            self.grow(bytes.len())?;
        }
        unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), self.bytes.add(self.used), bytes.len()) };
        self.used += bytes.len();
        Ok(())
    }

    /// End a row with what was added to it.
    #[inline]
    pub fn end(&mut self, row: usize) {
        self.ends[row + 1] = self.used as u32;
    }

    #[cold]
    fn grow(&mut self, more: usize) -> Result<()> {
        let room = (self.used + more).max(self.room * 2);
        let larger = take::<u8>(room)?.as_mut_ptr();
        unsafe { core::ptr::copy_nonoverlapping(self.bytes, larger, self.used) };
        self.bytes = larger;
        self.room = room;
        Ok(())
    }
}

impl Output for TextOut<'_> {
    fn parts(&self) -> Parts<'_> {
        let bits = self.valid.bits.map_or(core::ptr::null(), |bits| bits as *const u8);
        let buffers = [bits, self.ends.as_ptr() as *const u8, self.bytes as *const u8];
        Parts { name: self.name, format: self.format, rows: self.valid.rows, nulls: self.valid.nulls, buffers, count: 3 }
    }
}

/// What goes back to the host.
pub struct Answer(i32);

static ANSWER: Single<Slice> = Single::new(Slice { ptr: 0, len: 0, format: 0, flags: 0 });
static ANSWER_BATCH: Single<Batch> = Single::new(Batch { schema: core::ptr::null(), array: core::ptr::null() });

/// Return columns.
pub fn answer(outs: &[&dyn Output]) -> Result<Answer> {
    let width = outs.len();
    let schemas = take::<Schema>(width + 1)?;
    let arrays = take::<Array>(width + 1)?;
    let schema_list = take::<*const Schema>(width)?;
    let array_list = take::<*const Array>(width)?;
    let buffers = take::<*const u8>(1 + 3 * width)?;
    let rows = outs.first().map_or(0, |out| out.parts().rows);
    let flat = |format, name, flags| Schema {
        format,
        name,
        metadata: 0,
        flags,
        n_children: 0,
        children: core::ptr::null(),
        dictionary: 0,
        release: 0,
        private_data: 0,
    };
    let column = |length: usize, null_count, n_buffers: usize, buffers| Array {
        length: length as i64,
        null_count,
        offset: 0,
        n_buffers: n_buffers as i64,
        n_children: 0,
        buffers,
        children: core::ptr::null(),
        dictionary: 0,
        release: 0,
        private_data: 0,
    };
    for (i, out) in outs.iter().enumerate() {
        let parts = out.parts();
        let list = &mut buffers[1 + 3 * i..][..3];
        list.copy_from_slice(&parts.buffers);
        if parts.nulls == 0 {
            list[0] = core::ptr::null();
        }
        schemas[i + 1] = flat(terminated(parts.format)?, terminated(parts.name)?, 2);
        arrays[i + 1] = column(parts.rows, parts.nulls, parts.count, list.as_ptr());
        schema_list[i] = &schemas[i + 1];
        array_list[i] = &arrays[i + 1];
    }
    let (children, n_children) = (schema_list.as_ptr(), width as i64);
    schemas[0] = Schema { n_children, children, ..flat(terminated("+s")?, terminated("")?, 0) };
    arrays[0] = Array { n_children, children: array_list.as_ptr(), ..column(rows, 0, 1, buffers.as_ptr()) };
    unsafe { *ANSWER_BATCH.at() = Batch { schema: &schemas[0], array: &arrays[0] } };
    Ok(Answer(slice_of(ANSWER_BATCH.at() as u32, core::mem::size_of::<Batch>() as u32, 3)))
}

fn terminated(text: &str) -> Result<*const u8> {
    let copy = take::<u8>(text.len() + 1)?;
    copy[..text.len()].copy_from_slice(text.as_bytes());
    Ok(copy.as_ptr())
}

fn slice_of(ptr: u32, len: u32, format: u32) -> i32 {
    unsafe { *ANSWER.at() = Slice { ptr, len, format, flags: 0 } };
    ANSWER.at() as i32
}

// ---- configuration: the JSON of plugin.json's `config` ----

/// The settings of a plugin.
pub struct Config<'a>(&'a [u8]);

impl<'a> Config<'a> {
    /// The text of a setting. Escapes other than \" and \\ are kept as they are written.
    pub fn text(&self, key: &str) -> Result<Option<&'static str>> {
        self.raw(key).map(unquoted).transpose()
    }

    /// The number of a setting: right to the last bit up to 15 digits and a power of ten up to 22.
    pub fn number(&self, key: &str) -> Option<f64> {
        self.raw(key).and_then(number)
    }

    /// Whether a setting is true.
    pub fn flag(&self, key: &str) -> Option<bool> {
        match self.raw(key)? {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        }
    }

    /// The n-th text of a list of texts.
    pub fn item(&self, key: &str, nth: usize) -> Result<Option<&'static str>> {
        let list = match self.raw(key) {
            Some(list) if list.first() == Some(&b'[') => list,
            _ => return Ok(None),
        };
        let mut at = skip(list, 1);
        for _ in 0..nth {
            at = skip(list, after(list, at));
            if list.get(at) != Some(&b',') {
                return Ok(None);
            }
            at = skip(list, at + 1);
        }
        match list.get(at) {
            Some(b'"') => unquoted(&list[at..after(list, at)]).map(Some),
            _ => Ok(None),
        }
    }

    /// The JSON of a setting.
    pub fn raw(&self, key: &str) -> Option<&'a [u8]> {
        let json = self.0;
        let mut at = skip(json, 1);
        while json.get(at) == Some(&b'"') {
            let end = after(json, at);
            let found = json.get(at + 1..end - 1) == Some(key.as_bytes());
            at = skip(json, skip(json, end) + 1);
            let end = after(json, at);
            if found {
                return json.get(at..end);
            }
            at = skip(json, skip(json, end) + 1);
        }
        None
    }
}

fn skip(json: &[u8], at: usize) -> usize {
    json[at.min(json.len())..].iter().position(|c| !b" \n\r\t".contains(c)).map_or(json.len(), |n| at + n)
}

/// The place after the value at a place.
fn after(json: &[u8], mut at: usize) -> usize {
    let mut depth = 0;
    while at < json.len() {
        match json[at] {
            b'"' => {
                at += 1;
                while at < json.len() && json[at] != b'"' {
                    at += if json[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth == 0 => return at,
            b'}' | b']' => {
                depth -= 1;
                at += 1;
            }
            b',' | b' ' | b'\n' | b'\r' | b'\t' if depth == 0 => return at,
            _ => {
                at += 1;
                continue;
            }
        }
        if depth == 0 {
            return at.min(json.len());
        }
    }
    json.len()
}

fn unquoted(json: &[u8]) -> Result<&'static str> {
    if json.len() < 2 || json[0] != b'"' {
        return fail(E_CONFIG, &["a setting must be text"]);
    }
    let copy = take::<u8>(json.len())?;
    let (mut length, mut at) = (0, 1);
    while at < json.len() - 1 {
        if json[at] == b'\\' && matches!(json[at + 1], b'"' | b'\\') {
            at += 1;
        }
        copy[length] = json[at];
        length += 1;
        at += 1;
    }
    core::str::from_utf8(&copy[..length]).or_else(|_| fail(E_CONFIG, &["a setting is no UTF-8"]))
}

fn number(json: &[u8]) -> Option<f64> {
    let (negative, json) = match json {
        [b'-', rest @ ..] => (true, rest),
        _ => (false, json),
    };
    let (mut value, mut tens, mut point, mut at) = (0.0, 0i32, false, 0);
    while at < json.len() {
        match json[at] {
            digit @ b'0'..=b'9' => {
                value = value * 10.0 + f64::from(digit - b'0');
                tens -= i32::from(point);
            }
            b'.' => point = true,
            b'e' | b'E' => {
                let rest = &json[at + 1..];
                tens += number(if rest.first() == Some(&b'+') { &rest[1..] } else { rest })? as i32;
                break;
            }
            _ => return None,
        }
        at += 1;
    }
    if json.first().map_or(true, |first| !first.is_ascii_digit()) {
        return None;
    }
    let scale = (0..tens.unsigned_abs().min(400)).fold(1.0, |scale, _| scale * 10.0);
    let value = if tens < 0 { value / scale } else { value * scale };
    Some(if negative { -value } else { value })
}

// ---- the exports ----

#[doc(hidden)]
pub mod glue {
    use super::*;

    pub fn code(result: Result<()>) -> i32 {
        result.map_or_else(|error| error.0, |()| 0)
    }

    pub fn given(result: Result<Answer>) -> i32 {
        result.map_or_else(|error| error.0, |answer| answer.0)
    }

    pub fn bytes(bytes: &[u8]) -> i32 {
        slice_of(bytes.as_ptr() as u32, bytes.len() as u32, 0)
    }

    /// # Safety
    /// The host passes what it wrote.
    pub unsafe fn lent<'a>(at: *const u8, length: usize) -> &'a [u8] {
        slice::from_raw_parts(at, length)
    }

    /// # Safety
    /// The host passes what it wrote.
    pub unsafe fn init(at: *const u8, length: usize, work: impl FnOnce(&Config) -> Result<()>) -> i32 {
        let code = code(work(&Config(lent(at, length))));
        let arena = arena();
        arena.floor = arena.here;
        code
    }

    static GROUPS: Single<usize> = Single::new(0);

    pub fn groups() -> usize {
        unsafe { *GROUPS.at() }
    }

    pub fn set_groups(count: usize) {
        unsafe { *GROUPS.at() = count }
    }
}

/// Export what a plugin has: `plugin! { init: configure, process: work }`.
#[macro_export]
macro_rules! plugin {
    ($($kind:ident : $work:expr),+ $(,)?) => { $($crate::plugin!(@ $kind $work);)+ };
    (@ init $work:expr) => {
        #[no_mangle]
        unsafe extern "C" fn plugin_init(at: *const u8, length: usize) -> i32 {
            $crate::glue::init(at, length, $work)
        }
    };
    (@ process $work:expr) => { $crate::plugin!(= process_data $work); };
    (@ transform $work:expr) => { $crate::plugin!(= transform_data $work); };
    (@ filter $work:expr) => { $crate::plugin!(= filter_data $work); };
    (@ finish $work:expr) => { $crate::plugin!(= df_final $work); };
    (= $name:ident $work:expr) => {
        #[no_mangle]
        unsafe extern "C" fn $name(at: *const $crate::Batch, _: usize) -> i32 {
            $crate::glue::given($work(&*at))
        }
    };
    (@ read $work:expr) => {
        #[no_mangle]
        extern "C" fn read_data() -> i32 {
            match $work() {
                Ok(Some(answer)) => $crate::glue::given(Ok(answer)),
                Ok(None) => 0,
                Err(error) => error.0,
            }
        }
    };
    (@ position $state:expr) => {
        #[no_mangle]
        extern "C" fn df_offset() -> i32 {
            $state.offset()
        }
        #[no_mangle]
        unsafe extern "C" fn df_seek(at: *const u8, length: usize) -> i32 {
            $state.seek($crate::glue::lent(at, length))
        }
    };
    (@ write $work:expr) => {
        #[no_mangle]
        unsafe extern "C" fn write_data(at: *const $crate::Batch, _: usize) -> i32 {
            $crate::glue::code($work(&*at))
        }
    };
    (@ prepare $work:expr) => {
        #[no_mangle]
        extern "C" fn df_prepare(epoch: i64) -> i32 {
            match $work(epoch) {
                Ok(token) if token.is_empty() => 0,
                Ok(token) => $crate::glue::bytes(token),
                Err(error) => error.0,
            }
        }
    };
    (@ commit $work:expr) => {
        #[no_mangle]
        unsafe extern "C" fn df_commit(epoch: i64, at: *const u8, length: usize) -> i32 {
            $crate::glue::code($work(epoch, $crate::glue::lent(at, length)))
        }
    };
    (@ abort $work:expr) => {
        #[no_mangle]
        extern "C" fn df_abort() -> i32 {
            $work();
            0
        }
    };
    (@ aggregate $work:expr) => {
        #[no_mangle]
        extern "C" fn df_groups(count: usize) {
            $crate::glue::set_groups(count)
        }
        $crate::plugin!(% aggregate_data $work);
    };
    (@ merge $work:expr) => { $crate::plugin!(% df_merge $work); };
    (% $name:ident $work:expr) => {
        #[no_mangle]
        unsafe extern "C" fn $name(at: *const $crate::Batch, _: usize) -> i32 {
            $crate::glue::given($work(&*at, $crate::glue::groups()))
        }
    };
}

/// What a plugin without `std` needs: a panic ends the guest.
#[macro_export]
macro_rules! no_std {
    () => {
        #[panic_handler]
        fn panic(_: &core::panic::PanicInfo) -> ! {
            core::arch::wasm32::unreachable()
        }
    };
}
