//! user_agent: which browser, system and device a User-Agent header speaks of.
//!
//! A header is a list of products, `Name/1.2` (RFC 9110, section 10.1.5), with remarks in brackets. Browsers claim to be
//! others, so of all that are named the one that stands first in the tables below counts: Edge says it is Chrome, Chrome
//! says it is Safari. Names are compared at the beginning of a word, robots anywhere and whatever their case.
#![no_std]

use dataflare::*;

dataflare::no_std! {}
plugin! { init: configure, process: read }

struct Known {
    word: &'static str,
    family: &'static str,
}

const fn known(word: &'static str, family: &'static str) -> Known {
    Known { word, family }
}

const BROWSERS: [Known; 27] = [
    known("Edg/", "Edge"),
    known("EdgA/", "Edge"),
    known("EdgiOS/", "Edge"),
    known("Edge/", "Edge"),
    known("OPR/", "Opera"),
    known("OPT/", "Opera"),
    known("Opera/", "Opera"),
    known("SamsungBrowser/", "Samsung Internet"),
    known("YaBrowser/", "Yandex"),
    known("Vivaldi/", "Vivaldi"),
    known("DuckDuckGo/", "DuckDuckGo"),
    known("UCBrowser/", "UC Browser"),
    known("Seamonkey/", "SeaMonkey"),
    known("FxiOS/", "Firefox"),
    known("Firefox/", "Firefox"),
    known("CriOS/", "Chrome"),
    known("HeadlessChrome/", "Chrome"),
    known("Chromium/", "Chromium"),
    known("Chrome/", "Chrome"),
    known("MSIE ", "Internet Explorer"),
    known("Trident/", "Internet Explorer"),
    known("curl/", "curl"),
    known("Wget/", "Wget"),
    known("python-requests/", "python-requests"),
    known("okhttp/", "OkHttp"),
    known("Go-http-client/", "Go"),
    // The version of Safari stands in a product of its own.
    known("Safari/", "Safari"),
];
const SAFARI: usize = BROWSERS.len() - 1;
const TOOLS: core::ops::Range<usize> = 21..26;

const SYSTEMS: [Known; 14] = [
    known("Windows Phone", "Windows Phone"),
    known("Windows", "Windows"),
    known("Android", "Android"),
    known("iPhone", "iOS"),
    known("iPad", "iPadOS"),
    known("iPod", "iOS"),
    known("CrOS", "ChromeOS"),
    known("Macintosh", "macOS"),
    known("Tizen", "Tizen"),
    known("KAIOS", "KaiOS"),
    known("FreeBSD", "FreeBSD"),
    known("OpenBSD", "OpenBSD"),
    known("Linux", "Linux"),
    known("X11", "Unix"),
];
const ANDROID: usize = 2;

/// What makes a word with "bot" in it that is none, as the telephones of Cubot.
const NO_ROBOT: [&str; 1] = ["cu"];

static PREFIX: Global<[&'static str; 4]> = Global::new();

fn configure(config: &Config) -> Result<()> {
    let prefix = config.text("prefix")?.unwrap_or("");
    let mut names = [""; 4];
    for (name, own) in names.iter_mut().zip(["browser", "version", "system", "device"]) {
        *name = joined(&[prefix, own])?;
    }
    PREFIX.set(names);
    Ok(())
}

fn read(batch: &Batch) -> Result<Answer> {
    let names = match PREFIX.get() {
        Some(names) => names,
        None => return fail(E_INTERNAL, &["it was not started"]),
    };
    let headers = batch.text(0)?;
    let rows = batch.rows();
    let mut browser = TextOut::new(names[0], batch, rows * 8)?;
    let mut version = Out::<u16>::new(names[1], batch)?;
    let mut system = TextOut::new(names[2], batch, rows * 8)?;
    let mut device = TextOut::new(names[3], batch, rows * 8)?;
    for row in 0..rows {
        let found = headers.bytes(row).map(Found::of).unwrap_or_default();
        browser.put(row, found.browser)?;
        version.put(row, found.version)?;
        system.put(row, found.system)?;
        device.put(row, found.device)?;
    }
    answer(&[&browser, &version, &system, &device])
}

#[derive(Default)]
struct Found {
    browser: Option<&'static str>,
    version: Option<u16>,
    system: Option<&'static str>,
    device: Option<&'static str>,
}

impl Found {
    fn of(header: &[u8]) -> Found {
        let (mut browser, mut system) = (BROWSERS.len(), SYSTEMS.len());
        let (mut version, mut own_version) = (None, None);
        let (mut mobile, mut tablet) = (false, false);
        let mut at = 0;
        while at < header.len() {
            let word = &header[at..];
            let end = at + word.iter().position(|&c| ENDS_WORD[c as usize]).unwrap_or(word.len());
            if !BEGINS_NAME[word[0] as usize] {
                at = end + 1;
                continue;
            }
            if let Some(i) = first(&BROWSERS[..browser], word) {
                browser = i;
                version = leading_number(&word[BROWSERS[i].word.len()..]);
            }
            if let Some(i) = first(&SYSTEMS[..system], word) {
                system = i;
            }
            if word.starts_with(b"Version/") {
                own_version = leading_number(&word[8..]);
            } else if word.starts_with(b"rv:") && own_version.is_none() {
                own_version = leading_number(&word[3..]);
            }
            mobile |= word.starts_with(b"Mobile");
            tablet |= word.starts_with(b"Tablet") || word.starts_with(b"iPad");
            at = end + 1;
        }
        let family = BROWSERS.get(browser).map(|known| known.family);
        if browser == SAFARI || matches!(family, Some("Internet Explorer" | "Opera")) && own_version.is_some() {
            version = own_version;
        }
        let device = match () {
            _ if TOOLS.contains(&browser) || is_robot(header) => Some("robot"),
            _ if tablet || system == ANDROID && !mobile => Some("tablet"),
            _ if mobile || matches!(system, 0 | 2 | 3 | 5 | 9) => Some("mobile"),
            _ if family.is_some() || system < SYSTEMS.len() => Some("desktop"),
            _ => None,
        };
        Found { browser: family, version, system: SYSTEMS.get(system).map(|known| known.family), device }
    }
}

const fn table_of(letters: &[u8]) -> [bool; 256] {
    let mut table = [false; 256];
    let mut i = 0;
    while i < letters.len() {
        table[letters[i] as usize] = true;
        i += 1;
    }
    table
}

static ENDS_WORD: [bool; 256] = table_of(b" ();,+");
/// With what the names above begin, and Version, rv, Mobile and Tablet.
static BEGINS_NAME: [bool; 256] = table_of(b"EOSYVDUFCHMTcWpoGAiLKXrB");

/// The first of a table that a word begins with.
fn first(table: &[Known], word: &[u8]) -> Option<usize> {
    table.iter().position(|known| known.word.as_bytes()[0] == word[0] && word.starts_with(known.word.as_bytes()))
}

fn leading_number(text: &[u8]) -> Option<u16> {
    let mut value: Option<u16> = None;
    for digit in text.iter().take_while(|c| c.is_ascii_digit()) {
        value = Some(value.unwrap_or(0).checked_mul(10)?.checked_add(u16::from(digit - b'0'))?);
    }
    value
}

fn is_robot(header: &[u8]) -> bool {
    (0..header.len()).any(|at| {
        let rest = &header[at..];
        match rest[0] | 32 {
            b'b' => starts(rest, "bot") && !NO_ROBOT.iter().any(|small| ends(&header[..at], small)),
            b'c' => starts(rest, "crawl"),
            b's' => starts(rest, "spider") || starts(rest, "slurp"),
            b'm' => starts(rest, "mediapartners"),
            b'f' => starts(rest, "facebookexternalhit"),
            _ => false,
        }
    })
}

fn starts(text: &[u8], small: &str) -> bool {
    text.len() >= small.len() && text[..small.len()].eq_ignore_ascii_case(small.as_bytes())
}

fn ends(text: &[u8], small: &str) -> bool {
    text.len() >= small.len() && text[text.len() - small.len()..].eq_ignore_ascii_case(small.as_bytes())
}
