//! Rewrites JSON text while reading it: every string becomes its keyed hash, everything else stays as it is.
//!
//! The reader is strict (RFC 8259), bounded in depth, and builds no tree: keys keep their order, repeated keys stay
//! repeated, numbers keep their digits, white space is dropped. What is not valid JSON is hashed as a whole, so that
//! no byte of it reaches the log and no line can be forged.

use clock::Timestamp;
use secret::Zeroizing;

use crate::{
    entry::{Body, Data},
    hashing::Hasher,
    json::{write_number, write_tag, write_text},
};

/// How a body is rewritten.
pub(crate) struct Rules<'a> {
    /// `None` leaves everything in clear.
    pub(crate) hasher: Option<&'a Hasher>,
    /// Whether `keys` and `key_info` are replaced by how many they hold.
    pub(crate) elide: bool,
}

/// Writes the body of `data` as one JSON value. Returns whether there was anything to write.
pub(crate) fn write_data(data: &Data<'_>, rules: &Rules<'_>, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let whole = match data.body {
        Body::None => return false,
        Body::Raw(bytes) => bytes,
        Body::Json(bytes) => {
            let done = std::str::from_utf8(bytes).ok().and_then(|text| Scan::new(text, data, rules, out).run().ok());
            if done.is_some() {
                return keep_unless_empty(start, out);
            }
            out.truncate(start);
            bytes
        }
    };
    if whole.is_empty() {
        return false;
    }
    match rules.hasher {
        Some(hasher) => write_tag(out, &hasher.tag(whole)),
        None => write_text(out, &String::from_utf8_lossy(whole)),
    }
    true
}

fn keep_unless_empty(start: usize, out: &mut Vec<u8>) -> bool {
    let empty = matches!(out.get(start..), Some(b"{}" | b"null" | b""));
    if empty {
        out.truncate(start);
    }
    !empty
}

/// What happens to the strings of a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Leaf {
    /// All stay in clear.
    Clear,
    /// The value itself stays in clear if it is a string; below, all are hashed.
    ClearHere,
    /// All are hashed.
    Hash,
    /// Nothing is written: the value is only counted.
    Skip,
}

/// The text is not valid JSON, or nested too deep.
struct Invalid;

struct Scan<'s> {
    text: &'s str,
    at: usize,
    data: &'s Data<'s>,
    rules: &'s Rules<'s>,
    out: &'s mut Vec<u8>,
}

impl<'s> Scan<'s> {
    fn new(text: &'s str, data: &'s Data<'s>, rules: &'s Rules<'s>, out: &'s mut Vec<u8>) -> Self {
        Self { text, at: 0, data, rules, out }
    }

    fn run(mut self) -> Result<(), Invalid> {
        let leaf = if self.rules.hasher.is_some() { Leaf::Hash } else { Leaf::Clear };
        self.space();
        self.value(0, leaf)?;
        self.space();
        if self.at == self.text.len() { Ok(()) } else { Err(Invalid) }
    }

    fn value(&mut self, depth: usize, leaf: Leaf) -> Result<(), Invalid> {
        let below = if leaf == Leaf::ClearHere { Leaf::Hash } else { leaf };
        match self.peek() {
            Some(b'{') => self.object(depth + 1, below),
            Some(b'[') => self.array(depth + 1, below).map(drop),
            Some(b'"') => self.string_leaf(leaf),
            Some(b't') => self.word("true", leaf),
            Some(b'f') => self.word("false", leaf),
            Some(b'n') => self.word("null", leaf),
            _ => self.number(leaf),
        }
    }

    fn object(&mut self, depth: usize, leaf: Leaf) -> Result<(), Invalid> {
        self.open(depth, leaf, b'{')?;
        let mut count = 0_u64;
        while self.item(&mut count, b'}', leaf)? {
            let key = self.string()?;
            self.emit(leaf, key.raw);
            self.space();
            self.expect(b':')?;
            self.emit(leaf, ":");
            self.space();
            if depth == 1 && leaf != Leaf::Skip {
                self.top_value(key.plain(), leaf)?;
            } else {
                self.value(depth, leaf)?;
            }
        }
        self.emit(leaf, "}");
        Ok(())
    }

    /// The value of a top-level key, where the rules by key apply.
    fn top_value(&mut self, key: Option<&str>, leaf: Leaf) -> Result<(), Invalid> {
        if self.rules.elide {
            match (key, self.peek()) {
                (Some("keys"), Some(b'[')) | (Some("key_info"), Some(b'{')) => return self.count(),
                _ => {}
            }
        }
        let leaf = match key {
            _ if leaf == Leaf::Clear => leaf,
            Some(key) if self.data.unhashed.iter().any(|open| open == key) => Leaf::Clear,
            Some(key) if self.data.clear.contains(&key) => Leaf::ClearHere,
            _ => leaf,
        };
        self.value(1, leaf)
    }

    /// Replaces a list or a map by the number of its items.
    fn count(&mut self) -> Result<(), Invalid> {
        let count = match self.peek() {
            Some(b'[') => self.array(2, Leaf::Skip)?,
            _ => {
                self.open(2, Leaf::Skip, b'{')?;
                let mut count = 0;
                while self.item(&mut count, b'}', Leaf::Skip)? {
                    self.string()?;
                    self.space();
                    self.expect(b':')?;
                    self.space();
                    self.value(2, Leaf::Skip)?;
                }
                count
            }
        };
        write_number(self.out, count);
        Ok(())
    }

    fn array(&mut self, depth: usize, leaf: Leaf) -> Result<u64, Invalid> {
        self.open(depth, leaf, b'[')?;
        let mut count = 0;
        while self.item(&mut count, b']', leaf)? {
            self.value(depth, leaf)?;
        }
        self.emit(leaf, "]");
        Ok(count)
    }

    fn open(&mut self, depth: usize, leaf: Leaf, bracket: u8) -> Result<(), Invalid> {
        if depth > DEPTH {
            return Err(Invalid);
        }
        self.expect(bracket)?;
        self.emit(leaf, if bracket == b'{' { "{" } else { "[" });
        Ok(())
    }

    /// Moves on to the next item of a list or map; `false` behind the closing bracket.
    fn item(&mut self, count: &mut u64, close: u8, leaf: Leaf) -> Result<bool, Invalid> {
        self.space();
        if self.skip(close) {
            return Ok(false);
        }
        if *count > 0 {
            self.expect(b',')?;
            self.emit(leaf, ",");
            self.space();
        }
        *count += 1;
        Ok(true)
    }

    fn string_leaf(&mut self, leaf: Leaf) -> Result<(), Invalid> {
        let string = self.string()?;
        let hasher = match (leaf, self.rules.hasher) {
            (Leaf::Skip, _) => return Ok(()),
            (Leaf::Hash, Some(hasher)) => hasher,
            _ => {
                self.emit(leaf, string.raw);
                return Ok(());
            }
        };
        match string.plain() {
            Some(plain) if is_timestamp(plain) => self.emit(leaf, string.raw),
            Some(plain) => write_tag(self.out, &hasher.tag(plain.as_bytes())),
            None => {
                let value = unescape(string.inner())?;
                write_tag(self.out, &hasher.tag(value.as_bytes()));
            }
        }
        Ok(())
    }

    fn string(&mut self) -> Result<Quoted<'s>, Invalid> {
        let start = self.at;
        self.expect(b'"')?;
        let mut escaped = false;
        loop {
            let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
            let stop = memchr::memchr2(b'"', b'\\', rest).ok_or(Invalid)?;
            let (plain, special) = rest.split_at(stop);
            if plain.iter().fold(false, |found, byte| found | (*byte < 0x20)) {
                return Err(Invalid);
            }
            self.at += stop + 1;
            if special.first() == Some(&b'"') {
                break;
            }
            escaped = true;
            self.escape()?;
        }
        let raw = self.text.get(start..self.at).ok_or(Invalid)?;
        let quoted = Quoted { raw, escaped };
        if escaped {
            // Lone surrogates have no text that could be hashed or searched for.
            unescape(quoted.inner())?;
        }
        Ok(quoted)
    }

    /// Behind a backslash.
    fn escape(&mut self) -> Result<(), Invalid> {
        let kind = self.peek().ok_or(Invalid)?;
        self.at += 1;
        match kind {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(()),
            b'u' => {
                hex4(self.text.as_bytes().get(self.at..).unwrap_or_default()).ok_or(Invalid)?;
                self.at += 4;
                Ok(())
            }
            _ => Err(Invalid),
        }
    }

    fn word(&mut self, word: &'static str, leaf: Leaf) -> Result<(), Invalid> {
        if !self.text.get(self.at..).is_some_and(|rest| rest.starts_with(word)) {
            return Err(Invalid);
        }
        self.at += word.len();
        self.emit(leaf, word);
        Ok(())
    }

    fn number(&mut self, leaf: Leaf) -> Result<(), Invalid> {
        let start = self.at;
        self.skip(b'-');
        let first = self.at;
        let digits = self.digits()?;
        if digits > 1 && self.text.as_bytes().get(first) == Some(&b'0') {
            return Err(Invalid);
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            if !self.skip(b'+') {
                self.skip(b'-');
            }
            self.digits()?;
        }
        let number = self.text.get(start..self.at).ok_or(Invalid)?;
        self.emit(leaf, number);
        Ok(())
    }

    fn digits(&mut self) -> Result<usize, Invalid> {
        let start = self.at;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.at += 1;
        }
        if self.at == start { Err(Invalid) } else { Ok(self.at - start) }
    }

    fn skip(&mut self, byte: u8) -> bool {
        let there = self.peek() == Some(byte);
        self.at += usize::from(there);
        there
    }

    fn expect(&mut self, byte: u8) -> Result<(), Invalid> {
        if self.skip(byte) { Ok(()) } else { Err(Invalid) }
    }

    fn space(&mut self) {
        while self.peek().is_some_and(|byte| SPACE.contains(&char::from(byte))) {
            self.at += 1;
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn emit(&mut self, leaf: Leaf, text: &str) {
        if leaf != Leaf::Skip {
            self.out.extend_from_slice(text.as_bytes());
        }
    }
}

/// A string as it stands in the text, with its quotes.
#[derive(Clone, Copy)]
struct Quoted<'s> {
    raw: &'s str,
    escaped: bool,
}

impl<'s> Quoted<'s> {
    fn inner(&self) -> &'s str {
        self.raw.get(1..self.raw.len().saturating_sub(1)).unwrap_or_default()
    }

    /// The text itself, if it needs no unescaping.
    fn plain(&self) -> Option<&'s str> {
        (!self.escaped).then(|| self.inner())
    }
}

/// The text that `inner` stands for; wiped when dropped.
fn unescape(inner: &str) -> Result<Zeroizing<String>, Invalid> {
    // Unescaping never lengthens, so the buffer is not moved and no copy stays behind.
    let mut text = Zeroizing::new(String::with_capacity(inner.len()));
    let mut rest = inner;
    while let Some((plain, special)) = rest.split_once('\\') {
        text.push_str(plain);
        let kind = special.bytes().next().ok_or(Invalid)?;
        rest = special.get(1..).ok_or(Invalid)?;
        match kind {
            b'b' => text.push('\u{8}'),
            b'f' => text.push('\u{c}'),
            b'n' => text.push('\n'),
            b'r' => text.push('\r'),
            b't' => text.push('\t'),
            b'u' => {
                let (letter, used) = unicode(rest)?;
                text.push(letter);
                rest = rest.get(used..).ok_or(Invalid)?;
            }
            other => text.push(char::from(other)),
        }
    }
    text.push_str(rest);
    Ok(text)
}

/// The character behind `\u`, and how many bytes it took: a pair of surrogates takes two escapes.
fn unicode(text: &str) -> Result<(char, usize), Invalid> {
    let first = hex4(text.as_bytes()).ok_or(Invalid)?;
    if !(0xd800..0xe000).contains(&first) {
        return Ok((char::from_u32(first).ok_or(Invalid)?, 4));
    }
    let second = text.get(4..).and_then(|rest| rest.strip_prefix("\\u")).ok_or(Invalid)?;
    let second = hex4(second.as_bytes()).ok_or(Invalid)?;
    if first >= 0xdc00 || !(0xdc00..0xe000).contains(&second) {
        return Err(Invalid);
    }
    let code = 0x1_0000 + ((first - 0xd800) << 10) + (second - 0xdc00);
    Ok((char::from_u32(code).ok_or(Invalid)?, 10))
}

fn hex4(bytes: &[u8]) -> Option<u32> {
    bytes.get(..4)?.iter().try_fold(0, |code, byte| Some(code * 16 + char::from(*byte).to_digit(16)?))
}

/// Whether `text` is a moment in RFC 3339: those stay in clear, for they say when and not what.
fn is_timestamp(text: &str) -> bool {
    let bytes = text.as_bytes();
    let shaped = (20..=35).contains(&bytes.len())
        && bytes.get(4) == Some(&b'-')
        && bytes.get(10) == Some(&b'T')
        && bytes.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'-' | b':' | b'.' | b'+' | b'T' | b'Z'));
    shaped && text.parse::<Timestamp>().is_ok()
}

const DEPTH: usize = 128;
const SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

#[cfg(test)]
mod tests;
