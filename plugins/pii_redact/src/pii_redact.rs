//! pii_redact: put e-mail addresses, card numbers and phone numbers out of texts.
//!
//! What is looked for, left to right, is told exactly in the README. A card number is one that Luhn's sum (US patent
//! 2950048, 1960; ISO/IEC 7812-1) says is one, so that of ten order numbers nine stay.
#![no_std]

use dataflare::*;

dataflare::no_std! {}
plugin! { init: configure, process: redact }

#[derive(Clone, Copy)]
struct Settings {
    email: Option<&'static str>,
    card: Option<&'static str>,
    phone: Option<&'static str>,
}

static SETTINGS: Global<Settings> = Global::new();
const MOST_COLUMNS: usize = 32;

fn configure(config: &Config) -> Result<()> {
    SETTINGS.set(Settings {
        email: replacement(config, "email", "[EMAIL]")?,
        card: replacement(config, "card", "[CARD]")?,
        phone: replacement(config, "phone", "[PHONE]")?,
    });
    Ok(())
}

/// What to write instead; false leaves a kind alone.
fn replacement(config: &Config, key: &str, otherwise: &'static str) -> Result<Option<&'static str>> {
    match config.flag(key) {
        Some(false) => Ok(None),
        Some(true) => Ok(Some(otherwise)),
        None => Ok(Some(config.text(key)?.unwrap_or(otherwise))),
    }
}

#[derive(Default)]
struct Counts {
    email: i64,
    card: i64,
    phone: i64,
}

fn redact(batch: &Batch) -> Result<Answer> {
    let settings = match SETTINGS.get() {
        Some(settings) => *settings,
        None => return fail(E_INTERNAL, &["it was not started"]),
    };
    if batch.width() > MOST_COLUMNS {
        return fail(E_INPUT, &["it takes at most 32 columns at once"]);
    }
    let mut counts = Counts::default();
    let mut outs: [Option<TextOut>; MOST_COLUMNS] = [const { None }; MOST_COLUMNS];
    for (place, slot) in outs.iter_mut().enumerate().take(batch.width()) {
        let text = batch.text(place)?;
        let mut out = TextOut::new(batch.name(place), batch, text.size())?;
        for row in 0..batch.rows() {
            match text.bytes(row) {
                None => out.null(row)?,
                Some(bytes) => {
                    clean(bytes, &settings, &mut out, &mut counts)?;
                    out.end(row);
                }
            }
        }
        *slot = Some(out);
    }
    tell("emails", counts.email);
    tell("cards", counts.card);
    tell("phones", counts.phone);
    let mut columns: [&dyn Output; MOST_COLUMNS] = [&Nothing; MOST_COLUMNS];
    for (column, out) in columns.iter_mut().zip(outs.iter().flatten()) {
        *column = out;
    }
    answer(&columns[..batch.width()])
}

fn tell(name: &str, by: i64) {
    if by > 0 {
        count(name, by);
    }
}

/// Write a text without what is to go.
fn clean(text: &[u8], settings: &Settings, out: &mut TextOut, counts: &mut Counts) -> Result<()> {
    let mut done = 0;
    let mut at = 0;
    while let Some(next) = interesting(text, at) {
        at = next;
        let (found, instead, counter) = match text[at] {
            b'@' => (settings.email.and_then(|_| email(text, done, at)), settings.email, &mut counts.email),
            _ => match settings.card.and_then(|_| card(text, done, at)) {
                Some(span) => (Some(span), settings.card, &mut counts.card),
                None => (settings.phone.and_then(|_| phone(text, done, at)), settings.phone, &mut counts.phone),
            },
        };
        match (found, instead) {
            (Some((start, end)), Some(instead)) => {
                out.push_bytes(&text[done..start])?;
                out.push(instead)?;
                *counter += 1;
                done = end;
                at = end;
            }
            _ => at = passed(text, at),
        }
    }
    out.push_bytes(&text[done..])
}

/// The next place where something may be: an @, a plus, a bracket or the first of some digits.
fn interesting(text: &[u8], from: usize) -> Option<usize> {
    use core::arch::wasm32::*;
    let mut at = from;
    while at + 16 <= text.len() {
        let block = unsafe { v128_load(text.as_ptr().add(at) as *const v128) };
        let digit = u8x16_le(i8x16_sub(block, i8x16_splat(b'0' as i8)), i8x16_splat(9));
        let signs = v128_or(i8x16_eq(block, i8x16_splat(b'@' as i8)), i8x16_eq(block, i8x16_splat(b'+' as i8)));
        let hits = i8x16_bitmask(v128_or(v128_or(digit, signs), i8x16_eq(block, i8x16_splat(b'(' as i8))));
        if hits != 0 {
            return Some(at + hits.trailing_zeros() as usize);
        }
        at += 16;
    }
    (at..text.len()).find(|&i| text[i].is_ascii_digit() || matches!(text[i], b'@' | b'+' | b'('))
}

/// The place after what was looked at in vain: digits are looked at once, from the first of them.
fn passed(text: &[u8], at: usize) -> usize {
    if !text[at].is_ascii_digit() {
        return at + 1;
    }
    at + text[at..].iter().take_while(|c| c.is_ascii_digit()).count()
}

fn before(text: &[u8], done: usize, at: usize) -> Option<u8> {
    (at > done).then(|| text[at - 1])
}

// ---- [A-Za-z0-9._%+-]+@([A-Za-z0-9-]+\.)+[A-Za-z]{2,} ----

fn email(text: &[u8], done: usize, at: usize) -> Option<(usize, usize)> {
    let local = |c: &u8| c.is_ascii_alphanumeric() || matches!(c, b'.' | b'_' | b'%' | b'+' | b'-');
    let start = at - text[done..at].iter().rev().take_while(|c| local(c)).count();
    if start == at {
        return None;
    }
    let mut end = None;
    let mut label = at + 1;
    let mut labels = 0;
    loop {
        let length = text[label..].iter().take_while(|c| c.is_ascii_alphanumeric() || **c == b'-').count();
        if length == 0 {
            break;
        }
        let letters = text[label..].iter().take_while(|c| c.is_ascii_alphabetic()).count();
        if labels > 0 && letters >= 2 {
            end = Some(label + letters);
        }
        if text.get(label + length) != Some(&b'.') {
            break;
        }
        label += length + 1;
        labels += 1;
    }
    end.map(|end| (start, end))
}

// ---- 13 to 19 digits in groups with one space or - between, beginning with 2 to 6, and Luhn's sum is right ----

fn card(text: &[u8], done: usize, at: usize) -> Option<(usize, usize)> {
    if !(b'2'..=b'6').contains(&text[at]) || before(text, done, at).is_some_and(|c| c.is_ascii_digit()) {
        return None;
    }
    let (mut digits, mut end, mut best) = ([0u8; 19], at, None);
    let mut length = 0;
    loop {
        while end < text.len() && text[end].is_ascii_digit() {
            if length == digits.len() {
                return best;
            }
            digits[length] = text[end] - b'0';
            length += 1;
            end += 1;
        }
        if length >= 13 && luhn(&digits[..length]) {
            best = Some((at, end));
        }
        match text.get(end..end + 2) {
            Some([b' ' | b'-', next]) if next.is_ascii_digit() => end += 1,
            _ => return best,
        }
    }
}

fn luhn(digits: &[u8]) -> bool {
    let sum: u32 = digits.iter().rev().enumerate().map(|(i, &digit)| {
        let value = u32::from(digit) << (i & 1);
        if value > 9 { value - 9 } else { value }
    }).sum();
    sum % 10 == 0
}

// ---- +, then 7 to 15 digits; or the ten digits of North America in three groups ----

fn phone(text: &[u8], done: usize, at: usize) -> Option<(usize, usize)> {
    if before(text, done, at).is_some_and(|c| c.is_ascii_alphanumeric() || c == b'+') {
        return None;
    }
    if text[at] == b'+' { international(text, at) } else { national(text, at) }
}

/// A plus and a digit from 1 to 9, then digits with at most two of space, dot, bracket and - between.
fn international(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let (mut digits, mut end, mut i, mut between) = (0, at, at + 1, 0);
    if !matches!(text.get(i), Some(b'1'..=b'9')) {
        return None;
    }
    while let Some(&c) = text.get(i) {
        i += 1;
        if c.is_ascii_digit() {
            digits += 1;
            between = 0;
            end = i;
        } else if matches!(c, b' ' | b'.' | b'-' | b'(' | b')') && between < 2 {
            between += 1;
        } else {
            break;
        }
    }
    (7..=15).contains(&digits).then_some((at, end))
}

/// `(212) 555-0100`, `212-555-0100`, `212.555.0100`, `212 555 0100`, and with a 1 before.
fn national(text: &[u8], at: usize) -> Option<(usize, usize)> {
    let sign = |i: usize| matches!(text.get(i), Some(b' ' | b'.' | b'-'));
    let mut i = at;
    if text[i] == b'1' {
        i += 1;
        if sign(i) {
            i += 1;
        }
    }
    if text.get(i) == Some(&b'(') {
        i = group(text, i + 1, 3, true)?;
        if text.get(i) != Some(&b')') {
            return None;
        }
        i += 1;
        if text.get(i) == Some(&b' ') {
            i += 1;
        }
    } else {
        i = group(text, i, 3, true)?;
        if !sign(i) {
            return None;
        }
        i += 1;
    }
    i = group(text, i, 3, true)?;
    if !sign(i) {
        return None;
    }
    let end = group(text, i + 1, 4, false)?;
    let more = text.get(end).is_some_and(|c| c.is_ascii_alphanumeric());
    (!more).then_some((at, end))
}

/// The place after so many digits; the first is 2 to 9 where a number has to begin so.
fn group(text: &[u8], at: usize, size: usize, area: bool) -> Option<usize> {
    let digits = text.get(at..at + size)?;
    let fine = digits.iter().all(u8::is_ascii_digit) && (!area || digits[0] >= b'2');
    fine.then_some(at + size)
}
