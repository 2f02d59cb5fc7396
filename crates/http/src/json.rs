//! Checks a JSON text in one pass, before anything parses it.
//!
//! What passes is valid JSON in UTF-8 within the [`Limits`]; so no later parser can be made to run deep, or to allocate
//! for a million keys. The scan allocates nothing and its faults name a place, never a content.

/// How complex a JSON text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// How deep objects and arrays may lie in each other; at most [`Limits::DEEPEST`]. 500.
    pub depth: usize,
    /// The greatest length of a text or key in bytes, decoded. 1,048,576.
    pub string_length: usize,
    /// The greatest number of entries of one object. 10,000.
    pub object_entries: usize,
    /// The greatest number of elements of one array. 10,000.
    pub array_elements: usize,
}

impl Limits {
    /// No text may be deeper, whatever the configuration says.
    pub const DEEPEST: usize = 512;
}

impl Default for Limits {
    fn default() -> Self {
        Self { depth: 500, string_length: 1_048_576, object_entries: 10_000, array_elements: 10_000 }
    }
}

/// What the whole text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Nothing but white space.
    Empty,
    /// An object.
    Object,
    /// `null`.
    Null,
    /// An array, a text, a number or a truth value.
    Other,
}

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Fault {
    /// More than [`Limits::array_elements`].
    #[error("an array has more than {0} elements")]
    Array(usize),
    /// More than [`Limits::depth`].
    #[error("objects and arrays lie more than {0} deep in each other")]
    Depth(usize),
    /// The text ends inside a value.
    #[error("the text ends too early")]
    End,
    /// A `\` escape that does not exist, or half of a surrogate pair.
    #[error("invalid escape in a text at byte {0}")]
    Escape(usize),
    /// More than [`Limits::object_entries`].
    #[error("an object has more than {0} entries")]
    Object(usize),
    /// More than [`Limits::string_length`].
    #[error("a text is longer than {0} bytes")]
    String(usize),
    /// Something else than what has to come here.
    #[error("unexpected character at byte {0}")]
    Unexpected(usize),
    /// Not UTF-8.
    #[error("invalid UTF-8 at byte {0}")]
    Utf8(usize),
}

/// Checks `text` against the grammar of JSON and `limits`.
pub fn check(text: &[u8], limits: &Limits) -> Result<Shape, Fault> {
    if let Err(wrong) = std::str::from_utf8(text) {
        return Err(Fault::Utf8(wrong.valid_up_to()));
    }
    let mut scanner = Scanner { text, at: 0, limits, frames: [0; Limits::DEEPEST], depth: 0 };
    let shape = match scanner.next_solid() {
        None => return Ok(Shape::Empty),
        Some(b'{') => Shape::Object,
        Some(b'n') => Shape::Null,
        Some(_) => Shape::Other,
    };
    scanner.document()?;
    Ok(shape)
}

struct Scanner<'a> {
    text: &'a [u8],
    at: usize,
    limits: &'a Limits,
    /// The open objects and arrays from the outside in: how many entries each has, and with [`OBJECT`] set what it is.
    frames: [u32; Limits::DEEPEST],
    depth: usize,
}

const OBJECT: u32 = 1 << 31;

impl Scanner<'_> {
    fn document(&mut self) -> Result<(), Fault> {
        loop {
            let opened = self.value()?;
            if opened {
                continue;
            }
            if !self.after_value()? {
                return Ok(());
            }
        }
    }

    /// Reads a value, or opens one; true if an element of the opened one comes next.
    fn value(&mut self) -> Result<bool, Fault> {
        match self.next_solid().ok_or(Fault::End)? {
            b'{' => {
                self.open(OBJECT)?;
                if self.next_solid() == Some(b'}') {
                    self.close();
                    return Ok(false);
                }
                self.key()?;
                Ok(true)
            }
            b'[' => {
                self.open(0)?;
                if self.next_solid() == Some(b']') {
                    self.close();
                    return Ok(false);
                }
                self.count()?;
                Ok(true)
            }
            b'"' => self.string().map(|()| false),
            b'-' | b'0'..=b'9' => self.number().map(|()| false),
            b't' => self.word(b"true"),
            b'f' => self.word(b"false"),
            b'n' => self.word(b"null"),
            _ => Err(Fault::Unexpected(self.at)),
        }
    }

    /// What follows a value: true if another value comes next, false at the end of the text.
    fn after_value(&mut self) -> Result<bool, Fault> {
        loop {
            let next = self.next_solid();
            let Some(frame) = self.depth.checked_sub(1).and_then(|top| self.frames.get(top)) else {
                return if next.is_none() { Ok(false) } else { Err(Fault::Unexpected(self.at)) };
            };
            let object = frame & OBJECT != 0;
            match next.ok_or(Fault::End)? {
                b',' => {
                    self.at += 1;
                    if object {
                        self.key()?
                    } else {
                        self.count()?
                    }
                    return Ok(true);
                }
                b'}' if object => self.close(),
                b']' if !object => self.close(),
                _ => return Err(Fault::Unexpected(self.at)),
            }
        }
    }

    fn open(&mut self, kind: u32) -> Result<(), Fault> {
        let most = self.limits.depth.min(Limits::DEEPEST);
        match self.frames.get_mut(self.depth) {
            Some(frame) if self.depth < most => *frame = kind,
            _ => return Err(Fault::Depth(most)),
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.at += 1;
    }

    /// Counts an entry of the innermost object or array.
    fn count(&mut self) -> Result<(), Fault> {
        let Some(frame) = self.depth.checked_sub(1).and_then(|top| self.frames.get_mut(top)) else { return Ok(()) };
        *frame += 1;
        let (entries, object) = ((*frame & !OBJECT) as usize, *frame & OBJECT != 0);
        match object {
            true if entries > self.limits.object_entries => Err(Fault::Object(self.limits.object_entries)),
            false if entries > self.limits.array_elements => Err(Fault::Array(self.limits.array_elements)),
            _ => Ok(()),
        }
    }

    /// A key and its colon.
    fn key(&mut self) -> Result<(), Fault> {
        self.count()?;
        match self.next_solid().ok_or(Fault::End)? {
            b'"' => self.string()?,
            _ => return Err(Fault::Unexpected(self.at)),
        }
        match self.next_solid().ok_or(Fault::End)? {
            b':' => self.at += 1,
            _ => return Err(Fault::Unexpected(self.at)),
        }
        Ok(())
    }

    fn string(&mut self) -> Result<(), Fault> {
        self.at += 1;
        let mut length = 0;
        loop {
            let rest = self.text.get(self.at..).unwrap_or_default();
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20)).ok_or(Fault::End)?;
            self.at += plain;
            length += plain;
            match self.peek() {
                Some(b'"') => {
                    self.at += 1;
                    break;
                }
                Some(b'\\') => length += self.escape()?,
                _ => return Err(Fault::Unexpected(self.at)),
            }
        }
        if length > self.limits.string_length { Err(Fault::String(self.limits.string_length)) } else { Ok(()) }
    }

    /// Reads an escape; gives how many bytes it stands for.
    fn escape(&mut self) -> Result<usize, Fault> {
        let start = self.at;
        self.at += 2;
        match self.text.get(start + 1).ok_or(Fault::End)? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Ok(1),
            b'u' => match self.four_digits(start)? {
                0..0x80 => Ok(1),
                0x80..0x800 => Ok(2),
                0xD800..0xDC00 => {
                    if self.text.get(self.at..self.at + 2).ok_or(Fault::Escape(start))? != b"\\u" {
                        return Err(Fault::Escape(start));
                    }
                    self.at += 2;
                    match self.four_digits(start)? {
                        0xDC00..0xE000 => Ok(4),
                        _ => Err(Fault::Escape(start)),
                    }
                }
                0xDC00..0xE000 => Err(Fault::Escape(start)),
                _ => Ok(3),
            },
            _ => Err(Fault::Escape(start)),
        }
    }

    fn four_digits(&mut self, start: usize) -> Result<u32, Fault> {
        let digits = self.text.get(self.at..self.at + 4).ok_or(Fault::End)?;
        self.at += 4;
        digits.iter().try_fold(0, |value, digit| {
            char::from(*digit).to_digit(16).map(|digit| value * 16 + digit).ok_or(Fault::Escape(start))
        })
    }

    fn number(&mut self) -> Result<(), Fault> {
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.at += 1;
            if matches!(self.peek(), Some(b'+' | b'-')) {
                self.at += 1;
            }
            self.digits()?;
        }
        Ok(())
    }

    /// One digit or more.
    fn digits(&mut self) -> Result<(), Fault> {
        let start = self.at;
        while matches!(self.peek(), Some(b'0'..=b'9')) {
            self.at += 1;
        }
        match self.peek() {
            _ if self.at > start => Ok(()),
            None => Err(Fault::End),
            Some(_) => Err(Fault::Unexpected(self.at)),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<bool, Fault> {
        for letter in word {
            match self.peek() {
                Some(next) if next == *letter => self.at += 1,
                Some(_) => return Err(Fault::Unexpected(self.at)),
                None => return Err(Fault::End),
            }
        }
        Ok(false)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    /// The next byte that is no white space.
    fn next_solid(&mut self) -> Option<u8> {
        loop {
            match self.peek()? {
                b' ' | b'\n' | b'\r' | b'\t' => self.at += 1,
                solid => return Some(solid),
            }
        }
    }
}

#[cfg(test)]
mod tests;
