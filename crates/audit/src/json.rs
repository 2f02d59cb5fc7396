//! Writes JSON text straight into a buffer, leaving out what is empty. Keys come in the order of the calls.

use std::cell::RefCell;

use clock::Timestamp;

use crate::{
    entry::{Pairs, Texts},
    hashing::Tag,
    split::Place,
};

/// An object in the making; [`Object::end`] closes it.
pub(crate) struct Object<'b> {
    out: &'b mut Vec<u8>,
    empty: bool,
}

impl<'b> Object<'b> {
    pub(crate) fn begin(out: &'b mut Vec<u8>) -> Self {
        out.push(b'{');
        Self { out, empty: true }
    }

    /// Goes on with an object that has members already; whoever began it ends it.
    pub(crate) fn go_on(out: &'b mut Vec<u8>) -> Self {
        Self { out, empty: false }
    }

    /// Members that will be all that is written into `out`: nothing separates the first from what stands there.
    pub(crate) fn first(out: &'b mut Vec<u8>) -> Self {
        Self { out, empty: true }
    }

    /// The members that `write` appends by [`Object::first`], if any.
    pub(crate) fn all(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        let before = self.out.len();
        self.comma();
        let start = self.out.len();
        write(self.out);
        if self.out.len() == start {
            self.out.truncate(before);
            self.empty = before == start;
        }
    }

    /// Members that are written elsewhere, by [`Object::go_on`]. The object has members already.
    pub(crate) fn members(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(self.out);
    }

    /// Writes `name`, which needs no escapes; the caller writes the value into the buffer that is returned.
    pub(crate) fn key(&mut self, name: &'static str) -> &mut Vec<u8> {
        self.comma();
        self.out.push(b'"');
        self.out.extend_from_slice(name.as_bytes());
        self.out.extend_from_slice(b"\":");
        self.out
    }

    /// As [`Object::key`], and says where the value that `write` appends stands.
    pub(crate) fn placed(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>)) -> Place {
        let out = self.key(name);
        let start = out.len();
        write(out);
        Place { start, end: out.len() }
    }

    /// As [`Object::key`], for a name that comes from outside.
    pub(crate) fn foreign_key(&mut self, name: &str) -> &mut Vec<u8> {
        self.comma();
        write_text(self.out, name);
        self.out.push(b':');
        self.out
    }

    fn comma(&mut self) {
        if !self.empty {
            self.out.push(b',');
        }
        self.empty = false;
    }

    /// An object as a value. What it opened is taken back if nothing is written into it.
    pub(crate) fn object(&mut self, name: &'static str, fill: impl FnOnce(&mut Object<'_>)) {
        let (before, was_empty) = (self.out.len(), self.empty);
        let mut inner = Object::begin(self.key(name));
        fill(&mut inner);
        if inner.empty {
            self.out.truncate(before);
            self.empty = was_empty;
        } else {
            self.out.push(b'}');
        }
    }

    /// A value that is taken back if `write` says that there is none.
    pub(crate) fn value(&mut self, name: &'static str, write: impl FnOnce(&mut Vec<u8>) -> bool) {
        let (before, was_empty) = (self.out.len(), self.empty);
        if !write(self.key(name)) {
            self.out.truncate(before);
            self.empty = was_empty;
        }
    }

    pub(crate) fn text(&mut self, name: &'static str, text: &str) {
        if !text.is_empty() {
            write_text(self.key(name), text);
        }
    }

    pub(crate) fn tag(&mut self, name: &'static str, tag: &Tag) {
        write_tag(self.key(name), tag);
    }

    pub(crate) fn number(&mut self, name: &'static str, number: u64) {
        if number != 0 {
            write_number(self.key(name), number);
        }
    }

    /// Written only if it is set.
    pub(crate) fn flag(&mut self, name: &'static str, flag: bool) {
        if flag {
            self.key(name).extend_from_slice(b"true");
        }
    }

    pub(crate) fn time(&mut self, name: &'static str, time: Timestamp) {
        write_time(self.key(name), time);
    }

    pub(crate) fn texts(&mut self, name: &'static str, texts: Texts<'_>) {
        if texts.is_empty() {
            return;
        }
        let out = self.key(name);
        write_list(out, texts.iter(), write_text);
    }

    pub(crate) fn pairs(&mut self, name: &'static str, pairs: Pairs<'_>) {
        self.object(name, |inner| pairs.each(|key, value| write_text(inner.foreign_key(key), value)));
    }

    pub(crate) fn end(self) {
        self.out.push(b'}');
    }
}

/// Writes `items` between square brackets.
pub(crate) fn write_list<T>(out: &mut Vec<u8>, items: impl Iterator<Item = T>, mut write: impl FnMut(&mut Vec<u8>, T)) {
    out.push(b'[');
    for (at, item) in items.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        write(out, item);
    }
    out.push(b']');
}

/// Writes `text` in quotes, escaped.
pub(crate) fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    // Without an early end, so that many bytes are looked at in one step.
    if text.bytes().fold(true, |plain, byte| plain & !special(byte)) {
        out.extend_from_slice(text.as_bytes());
    } else {
        write_escaped(out, text.as_bytes());
    }
    out.push(b'"');
}

fn special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

fn write_escaped(out: &mut Vec<u8>, text: &[u8]) {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| special(*byte)) {
        let (plain, from) = rest.split_at(at);
        out.extend_from_slice(plain);
        if let Some((byte, after)) = from.split_first() {
            write_escape(out, *byte);
            rest = after;
        }
    }
    out.extend_from_slice(rest);
}

pub(crate) fn write_tag(out: &mut Vec<u8>, tag: &Tag) {
    out.push(b'"');
    out.extend_from_slice(tag.as_bytes());
    out.push(b'"');
}

pub(crate) fn write_number(out: &mut Vec<u8>, mut number: u64) {
    let start = out.len();
    loop {
        // A digit is below ten.
        out.push(b'0' + u8::try_from(number % 10).unwrap_or(0));
        number /= 10;
        if number == 0 {
            break;
        }
    }
    if let Some(digits) = out.get_mut(start..) {
        digits.reverse();
    }
}

/// Writes a moment as RFC 3339 has it. Its second is most often that of the last one, so its text is kept.
pub(crate) fn write_time(out: &mut Vec<u8>, time: Timestamp) {
    let second = time.as_second();
    let Ok(fraction) = u32::try_from(time.subsec_nanosecond()) else {
        // Before 1970 both count backwards.
        return write_text(out, &time.to_string());
    };
    out.push(b'"');
    LAST_SECOND.with_borrow_mut(|(last, text)| {
        if text.is_empty() || *last != second {
            (*last, *text) =
                (second, Timestamp::from_second(second).map(|whole| whole.to_string()).unwrap_or_default());
        }
        out.extend_from_slice(text.strip_suffix('Z').unwrap_or_default().as_bytes());
    });
    if fraction != 0 {
        write_fraction(out, fraction);
    }
    out.extend_from_slice(b"Z\"");
}

thread_local! {
    /// A second and its text.
    static LAST_SECOND: RefCell<(i64, String)> = const { RefCell::new((0, String::new())) };
}

/// Writes nanoseconds behind a point, without zeros at the end.
fn write_fraction(out: &mut Vec<u8>, nanoseconds: u32) {
    out.push(b'.');
    let start = out.len();
    let mut power = 100_000_000;
    while power > 0 {
        // A digit is below ten.
        out.push(b'0' + u8::try_from(nanoseconds / power % 10).unwrap_or(0));
        power /= 10;
    }
    while out.len() > start && out.last() == Some(&b'0') {
        out.pop();
    }
}

fn write_escape(out: &mut Vec<u8>, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    match byte {
        b'"' => out.extend_from_slice(b"\\\""),
        b'\\' => out.extend_from_slice(b"\\\\"),
        b'\n' => out.extend_from_slice(b"\\n"),
        b'\r' => out.extend_from_slice(b"\\r"),
        b'\t' => out.extend_from_slice(b"\\t"),
        _ => {
            out.extend_from_slice(b"\\u00");
            out.extend([byte >> 4, byte & 15].iter().filter_map(|digit| DIGITS.get(usize::from(*digit))));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> String {
        let mut out = Vec::new();
        write_text(&mut out, text);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn every_text_survives_the_way_through_json() {
        let mut all: Vec<String> = (0..=0x7f_u8).map(|byte| format!("a{}b", char::from(byte))).collect();
        all.extend(["".into(), "\"".into(), "é漢😀\u{2028}".into(), "\n\n\\".into()]);
        for each in all {
            assert_eq!(serde_json::from_str::<String>(&text(&each)).unwrap(), each);
        }
    }

    #[test]
    fn moments_are_written_as_their_type_writes_them() {
        for text in [
            "1970-01-01T00:00:00Z",
            "1969-12-31T23:59:59.5Z",
            "1969-12-31T23:59:59Z",
            "2026-01-02T03:04:05Z",
            "2026-01-02T03:04:05.000000001Z",
            "2026-01-02T03:04:05.12Z",
            "2026-01-02T03:04:06.999999999Z",
            "-000044-03-15T12:00:00.25Z",
            "9999-12-30T22:00:00.999999999Z",
        ] {
            let time: Timestamp = text.parse().unwrap();
            let mut out = Vec::new();
            write_time(&mut out, time);
            assert_eq!(String::from_utf8(out).unwrap(), format!("\"{time}\""));
        }
    }

    #[test]
    fn what_is_empty_is_left_out() {
        let mut out = Vec::new();
        let mut object = Object::begin(&mut out);
        object.text("a", "");
        object.number("b", 0);
        object.flag("c", false);
        object.texts("d", Texts::default());
        object.pairs("e", Pairs::default());
        object.object("f", |inner| inner.object("g", |_| {}));
        object.number("h", 1_234_567_890);
        object.object("i", |inner| inner.flag("j", true));
        object.texts("k", Texts::Borrowed(&["l", "m"]));
        object.end();
        assert_eq!(String::from_utf8(out).unwrap(), r#"{"h":1234567890,"i":{"j":true},"k":["l","m"]}"#);
    }
}
